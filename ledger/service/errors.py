"""What the service and its client raise of their own."""

from ledger.errors import LedgerError, NoSuchEntry


class BadRequest(LedgerError):
    """What was asked cannot be asked in this way, or is over a limit of the service."""

    exit_code = 2


class NoBody(NoSuchEntry):
    """The body of a statement is not at the service: it was erased, or is missing."""

    exit_code = 1


class Unreachable(LedgerError):
    """The service cannot be reached, or cannot answer now; what was submitted may be submitted again."""

    exit_code = 3
