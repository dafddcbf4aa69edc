"""The firm's secret by which its units draw lots and its records are recognised. It never leaves."""

from __future__ import annotations

import secrets
from pathlib import Path

from ledger.errors import LedgerError
from ledger.secret_files import read_secret_file, write_secret_file

SECRET_FILE = "held-out.key"


def unit_secret(home: Path) -> bytes:
    """The firm's secret, 32 bytes, made on first use.

    Whoever loses it divides and deals anew: what was trained on may then be held out. No unit pays for it, since a
    vote or a stream of correlated noise that has begun by the old lots does not go on by new ones: both are bound to
    the digest of theirs.
    """
    path = home / SECRET_FILE
    if not path.exists():
        try:
            write_secret_file(path, secrets.token_bytes(32), "the secret of held-out units")
        except LedgerError:
            if not path.exists():  # else another process of this firm was first
                raise
    return read_secret_file(path, "the secret of held-out units")
