"""Errors of supervision: one line each."""

from clients.errors import ClientError


class AlreadyUp(ClientError):
    """Another supervisor keeps this home's processes; there is one at a time."""


class NotStopped(ClientError):
    """A supervisor that was asked to stop is still there after the time it was given."""

    exit_code = 1


class NeverReady(ClientError):
    """A set that was stopped, or gave up waiting, before all of it was ready."""

    exit_code = 1


class NeedsMending(ClientError):
    """Something is wrong that keeps a set from being ready, and that only a person mends; the set goes on trying."""


class EndedEarly(ClientError):
    """A supervisor that was started in the background ended before its set was ready; the line is its own."""

    def __init__(self, line: str, code: int) -> None:
        super().__init__(line)
        self.exit_code = code if code in (1, 2, 3) else 1
