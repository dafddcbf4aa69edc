"""The rows of a wallet on disk: numbered, chained by SHA-256, never changed or deleted, in one SQLite file."""

from __future__ import annotations

import hashlib
import os
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from clients.errors import ClientError

FIRST_HASH = hashlib.sha256(b"artesian wallet v1").digest()
"""What the first row is chained to."""

_SCHEMA = (
    "CREATE TABLE IF NOT EXISTS rows (seq INTEGER PRIMARY KEY, body TEXT NOT NULL, hash BLOB NOT NULL)",
    "CREATE TRIGGER IF NOT EXISTS rows_stay BEFORE UPDATE ON rows "
    "BEGIN SELECT RAISE(ABORT, 'a wallet is append-only'); END",
    "CREATE TRIGGER IF NOT EXISTS rows_keep BEFORE DELETE ON rows "
    "BEGIN SELECT RAISE(ABORT, 'a wallet is append-only'); END",
)


class WalletDamaged(ClientError):
    """The stored rows are not the rows that were written: do not train until a person has looked."""

    exit_code = 1


class WalletUnreadable(ClientError):
    """The wallet's file cannot be opened, read or written."""


class StoredRow(NamedTuple):
    """One row as it is kept: its number from 1, its JSON, and the hash (32 bytes) of it and all rows before it."""

    seq: int
    body: str
    hash: bytes

    def follows(self, seq: int, digest: bytes) -> bool:
        """Whether it is the row after number `seq` with the hash `digest`."""
        return self.seq == seq + 1 and self.hash == chain(digest, self.body)


def chain(before: bytes, body: str) -> bytes:
    """The hash of a row after one with the hash `before`."""
    return hashlib.sha256(before + body.encode()).digest()


class WalletFile:
    """The file, in WAL mode with `synchronous=FULL`: a commit that returned survives a power cut.

    Args:
        path: created with mode 0600 if missing; None keeps the rows in memory.
        busy_timeout_s: how long to wait for another process that is writing.

    Raises:
        WalletUnreadable: the file is no database or may not be opened.
    """

    def __init__(self, path: Path | None, *, busy_timeout_s: float = 30.0) -> None:
        self.name = "memory" if path is None else str(path)
        self._made = False
        with self._explained():
            if path is not None:
                os.close(os.open(path, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600))
            place = ":memory:" if path is None else path
            self.db = sqlite3.connect(place, timeout=busy_timeout_s, isolation_level=None, check_same_thread=False)

    @contextmanager
    def transaction(self, *, write: bool = False) -> Iterator[None]:
        """A span that sees one state of the file; what is written in it is on disk when it ends, or not at all."""
        with self._explained():
            if write and not self._made:
                self.db.execute("PRAGMA journal_mode=WAL")
                self.db.execute("PRAGMA synchronous=FULL")
                for statement in _SCHEMA:
                    self.db.execute(statement)
                self._made = True
            try:
                self.db.execute("BEGIN IMMEDIATE" if write else "BEGIN")
                yield
                self.db.execute("COMMIT")
            finally:
                if self.db.in_transaction:
                    self.db.execute("ROLLBACK")

    def after(self, seq: int) -> Iterator[StoredRow]:
        """The rows after number `seq`, in order of their numbers; nothing is checked."""
        with self._explained():
            for row in self.db.execute("SELECT seq, body, hash FROM rows WHERE seq > ? ORDER BY seq", (seq,)):
                yield StoredRow(*row)

    def hash_of(self, seq: int) -> bytes | None:
        """The hash of row number `seq`; of row 0 what the first is chained to; None if there is none."""
        if seq == 0:
            return FIRST_HASH
        with self._explained():
            found = self.db.execute("SELECT hash FROM rows WHERE seq = ?", (seq,)).fetchone()
        return None if found is None else found[0]

    def insert(self, row: StoredRow) -> None:
        """Write a row in the transaction that is open."""
        self.db.execute("INSERT INTO rows VALUES (?, ?, ?)", row)

    def close(self) -> None:
        """Close the file."""
        self.db.close()

    @contextmanager
    def _explained(self) -> Iterator[None]:
        try:
            yield
        except (OSError, sqlite3.Error) as error:
            # SQLite raises this very class, and none below it, for a file that is damaged or no database at all.
            mend = ": artesian firm wallet-restore puts a backup back, or the wallet's journal, and keeps this file"
            raise WalletUnreadable(
                f"wallet {self.name}: {error}{mend if type(error) is sqlite3.DatabaseError else ''}"
            ) from error
