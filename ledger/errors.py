"""Errors of the `ledger` package: what a person needs in order to act, in one line."""


class LedgerError(Exception):
    """Base of every error that `ledger` raises on purpose.

    `exit_code` is what the command line exits with: 1 the answer is no, 2 wrong input, 3 unreachable.
    """

    exit_code: int = 2


class StoreError(LedgerError):
    """The database cannot be used: missing, locked, full, or damaged."""

    exit_code = 2


class Locked(StoreError):
    """Another process sequences this ledger now."""


class Unreachable(StoreError):
    """The database's server does not answer, or the connection to it was lost."""

    exit_code = 3


class StoreFull(StoreError):
    """There is no room left for what was to be written; nothing of it was."""


class Damaged(LedgerError):
    """What is stored is not what was written."""

    exit_code = 1


class NoDatabase(Damaged):
    """The file is no database at all: another one was meant, or its beginning is lost."""

    exit_code = 2


class Conflict(StoreError):
    """Another process has written what this one was about to write."""


class NoSuchEntry(LedgerError):
    """An index or size that the log does not have."""

    exit_code = 2
