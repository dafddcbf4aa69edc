"""What can be wrong with a personal layer."""

from __future__ import annotations

from clients.errors import ClientError


class NotPersonalised(ClientError):
    """There is no personal layer that could be used, or none can be fitted; says what to do."""

    exit_code = 1


class OtherKind(ClientError):
    """The command is for tasks of another kind; says which command is for this one."""
