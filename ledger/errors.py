"""Errors of the `ledger` package: what a person needs in order to act, in one line."""


class LedgerError(Exception):
    """Base of every error that `ledger` raises on purpose.

    `exit_code` is what the command line exits with: 1 the answer is no, 2 wrong input, 3 unreachable.
    """

    exit_code: int = 2
