"""`refusals.sqlite`: what this firm has refused, when and why, for its own operator. It never leaves.

At a bank: which of its questions had no answer, and why.

Rows are only added; the oldest go when there are more than `MOST_ROWS`. The detail is what the operator may read, which
may name a file or a cell; what others are told is for `clients.disclosure`.
"""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from clients.errors import ClientError
from ledger.errors import LedgerError
from ledger.statement import decode_statement

FILE = "refusals.sqlite"
MOST_ROWS = 10_000
_MOST_DETAIL = 500
_WAIT_S = 5.0

_TABLE = """
CREATE TABLE IF NOT EXISTS refusals (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    at_s REAL NOT NULL,
    asked TEXT NOT NULL,
    round TEXT NOT NULL,
    code TEXT NOT NULL,
    detail TEXT NOT NULL
)
"""


class RefusalsUnreadable(ClientError):
    """The list of refusals cannot be read; the message says where it is."""


@dataclass(frozen=True)
class Refused:
    """One refusal.

    Attributes:
        at_s: seconds since 1970.
        asked: the kind of message that asked, e.g. `train.update`.
        round: hex id of the round, empty where it was about none.
        code: as the coordinator was told.
        detail: one line, for the firm's operator.
    """

    at_s: float
    asked: str
    round: str
    code: str
    detail: str


def round_of(request: Mapping[str, Any]) -> bytes:
    """The id of the round that a message is about; empty where it is about none, or does not say it readably."""
    known = request.get("round")
    if isinstance(known, bytes):
        return known
    try:
        return bytes(decode_statement(request["statement"]).payload["id"])
    except (LedgerError, KeyError, TypeError, ValueError):
        return b""


class RefusalLog:
    """The list in one home.

    Args:
        home: the firm's.
        now: seconds since 1970.
        most_rows: how many are kept.
    """

    def __init__(self, home: Path, now: Callable[[], float] = time.time, most_rows: int = MOST_ROWS) -> None:
        self._path, self._now, self._most_rows = home / FILE, now, most_rows

    def note(self, asked: str, round_id: bytes, code: str, detail: str) -> None:
        """Add a refusal.

        Raises:
            RefusalsUnreadable: the disk or the file refuses.
        """
        line = " ".join(detail.split())[:_MOST_DETAIL]
        with self._open() as database:
            row = database.execute(
                "INSERT INTO refusals (at_s, asked, round, code, detail) VALUES (?, ?, ?, ?, ?)",
                (self._now(), asked, round_id.hex(), code, line),
            )
            database.execute("DELETE FROM refusals WHERE id <= ?", ((row.lastrowid or 0) - self._most_rows,))

    def latest(self, most: int) -> list[Refused]:
        """The newest refusals, newest first.

        Raises:
            RefusalsUnreadable: the disk or the file refuses.
        """
        if not self._path.exists():
            return []
        with self._open() as database:
            rows = database.execute(
                "SELECT at_s, asked, round, code, detail FROM refusals ORDER BY id DESC LIMIT ?", (most,)
            ).fetchall()
        return [Refused(*row) for row in rows]

    def by_code(self) -> dict[str, int]:
        """How many of the refusals that are kept have each code.

        Raises:
            RefusalsUnreadable: the disk or the file refuses.
        """
        if not self._path.exists():
            return {}
        with self._open() as database:
            return dict(database.execute("SELECT code, count(*) FROM refusals GROUP BY code ORDER BY code").fetchall())

    @contextmanager
    def _open(self) -> Iterator[sqlite3.Connection]:
        try:
            with closing(sqlite3.connect(self._path, timeout=_WAIT_S)) as database, database:
                self._path.chmod(0o600)
                database.execute(_TABLE)
                yield database
        except (sqlite3.Error, OSError) as error:
            raise RefusalsUnreadable(f"{self._path}: cannot be used: {error}") from None
