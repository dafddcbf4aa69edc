"""What can be wrong when an organisation joins, in one line each."""

from clients.errors import ClientError

SUSPENDED = "is suspended"
"""In whatever the desk says to a member that was shut out by a quorum."""


class BadInvite(ClientError):
    """The text or file is no invite, not a whole one, or cannot be used any more."""


class BadConsortium(ClientError):
    """A `consortium.toml`, or what the desk says of the consortium, is not what the invite names."""


class NotConfirmed(ClientError):
    """Nobody has confirmed whom this home is about to trust."""


class OtherConsortium(ClientError):
    """What answers is not the consortium of the invite: someone may be between, or the invite is another's."""

    exit_code = 1


class NotAdmitted(ClientError):
    """The desk says no."""

    exit_code = 1


class NoSuchProposal(ClientError):
    """A proposal was named that is not there; the line says which are."""


class DeskUnreachable(ClientError):
    """The join desk cannot be reached, or cannot answer now."""

    exit_code = 3


class OlderDesk(DeskUnreachable):
    """The desk is of an older release, which does not know the question."""


class StillWaiting(ClientError):
    """The request is at the desk, and it is not this organisation's turn to do anything."""

    exit_code = 1
