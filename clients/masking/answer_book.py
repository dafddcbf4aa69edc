"""The sessions a firm has entered and what it answered in each: written durably before anything is sent.

A firm protects one update for a round id, answers one closed set for a session and votes once in a round, whatever it
is asked after a restart. These rules would fail open if they lived in memory only.
"""

from __future__ import annotations

import os
import sqlite3
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from clients.masking.errors import AlreadyAnswered, MaskingError, SessionMismatch, SessionReused
from clients.masking.session import Session

_SCHEMA = """
CREATE TABLE IF NOT EXISTS sessions (
    sid BLOB PRIMARY KEY,
    cid TEXT NOT NULL,
    round BLOB NOT NULL,
    header BLOB NOT NULL,
    closed_set BLOB,
    reply BLOB,
    UNIQUE (cid, round)
) STRICT
"""
_BALLOTS = """
CREATE TABLE IF NOT EXISTS ballots (
    cid TEXT NOT NULL,
    round BLOB NOT NULL,
    offer BLOB NOT NULL,
    division BLOB NOT NULL,
    groups BLOB,
    vote BLOB,
    PRIMARY KEY (cid, round)
) STRICT
"""


class AnswerBook:
    """One firm's book, in a SQLite file (mode 0600), or in memory where `path` is None.

    In memory it protects nothing across a restart: for simulations and tests.
    """

    def __init__(self, path: Path | None = None) -> None:
        if path is not None:
            os.close(os.open(path, os.O_RDWR | os.O_CREAT, 0o600))
        self._lock = threading.Lock()
        try:
            self._database = sqlite3.connect(
                path if path is not None else ":memory:",
                isolation_level=None,
                check_same_thread=False,
                timeout=30,
            )
            self._database.execute("PRAGMA journal_mode = WAL")
            self._database.execute("PRAGMA synchronous = FULL")
            self._database.execute(_SCHEMA)
            self._database.execute(_BALLOTS)
        except sqlite3.DatabaseError as error:
            raise MaskingError(f"{path}: not an answer book ({error}); restore it, do not start a new one") from None

    def close(self) -> None:
        """Closes the file."""
        self._database.close()

    def enter(self, session: Session, header_hash: bytes) -> None:
        """Notes that this firm protects an update in `session`, before that update leaves.

        Raises:
            SessionReused: it has protected an update in this session, or in this round with other terms.
        """
        row = (session.sid, session.cid, session.round_id, header_hash)
        with self._transaction() as database:
            try:
                database.execute("INSERT INTO sessions (sid, cid, round, header) VALUES (?, ?, ?, ?)", row)
            except sqlite3.IntegrityError:
                raise SessionReused(
                    f"round {session.round_id.hex()}: this firm has already protected an update in it; "
                    "open a new round and train again"
                ) from None

    def entered(self, cid: str, round_id: bytes) -> tuple[bytes, bytes] | None:
        """The session id that this firm has protected an update under in a round, and its header's hash; or None."""
        with self._transaction() as database:
            query = "SELECT sid, header FROM sessions WHERE cid = ? AND round = ?"
            row: tuple[bytes, bytes] | None = database.execute(query, (cid, round_id)).fetchone()
            return row

    def answer(self, sid: bytes, closed_set: bytes, reply: bytes) -> bytes:
        """Keeps `reply` as the one answer in session `sid`, and returns what may be sent.

        Asked again for the same closed set, it returns the answer kept before.

        Raises:
            SessionMismatch: this firm never entered the session.
            AlreadyAnswered: it has answered for another closed set.
        """
        with self._transaction() as database:
            row = database.execute("SELECT closed_set, reply FROM sessions WHERE sid = ?", (sid,)).fetchone()
            if row is None:
                raise SessionMismatch(f"session {sid.hex()}: this firm has not entered it")
            if row[0] is None:
                database.execute(
                    "UPDATE sessions SET closed_set = ?, reply = ? WHERE sid = ?", (closed_set, reply, sid)
                )
                return reply
            if row[0] != closed_set:
                raise AlreadyAnswered(f"session {sid.hex()}: already answered for another set of contributions")
            kept: bytes = row[1]
            return kept

    def may_vote(self, cid: str, round_id: bytes, offer: bytes, division: bytes) -> None:
        """Notes that this firm has paid for a round and contributes to it, so that it may vote in it, once.

        Args:
            offer: the hash of the round's terms, 32 bytes.
            division: the hash of the firm's examples as they are divided between the sum and the vote, 32 bytes.
        """
        row = (cid, round_id, offer, division)
        with self._transaction() as database:
            database.execute("INSERT OR IGNORE INTO ballots (cid, round, offer, division) VALUES (?, ?, ?, ?)", row)

    def vote(self, cid: str, round_id: bytes, offer: bytes, groups: bytes, make: Callable[[bytes], bytes]) -> bytes:
        """Keeps what `make` gives as the one vote in a round, and returns what may be sent.

        Asked again about the same groups, it returns the vote kept before: a second one would be paid for by nobody.

        Args:
            make: is given the hash of the division that was noted, and refuses where that is no longer the firm's.

        Raises:
            SessionMismatch: this firm has not contributed to the round, or has on other terms.
            AlreadyAnswered: it has voted on other groups.
        """
        with self._transaction() as database:
            where = "WHERE cid = ? AND round = ?"
            found = database.execute(f"SELECT offer, division, groups, vote FROM ballots {where}", (cid, round_id))
            row: tuple[bytes, bytes, bytes | None, bytes] | None = found.fetchone()
            if row is None:
                raise SessionMismatch(f"round {round_id.hex()}: this firm has not contributed to it, so it has no vote")
            noted, division, voted_on, kept = row
            if noted != offer:
                raise SessionMismatch(f"round {round_id.hex()}: this firm has contributed to it on other terms")
            if voted_on is None:
                vote = make(division)
                database.execute(f"UPDATE ballots SET groups = ?, vote = ? {where}", (groups, vote, cid, round_id))
                return vote
            if voted_on != groups:
                raise AlreadyAnswered(f"round {round_id.hex()}: this firm has voted already, on other groups")
            return kept

    def kept(self, sid: bytes, closed_set: bytes) -> bytes | None:
        """The answer that was kept in session `sid` for this closed set; None where there is none yet.

        Raises:
            AlreadyAnswered: it has answered for another closed set.
        """
        with self._transaction() as database:
            row = database.execute("SELECT closed_set, reply FROM sessions WHERE sid = ?", (sid,)).fetchone()
        if row is None or row[0] is None:
            return None
        if row[0] != closed_set:
            raise AlreadyAnswered(f"session {sid.hex()}: already answered for another set of contributions")
        kept: bytes = row[1]
        return kept

    @contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        with self._lock:
            self._database.execute("BEGIN IMMEDIATE")
            try:
                yield self._database
                self._database.execute("COMMIT")  # on disk when this returns: synchronous = FULL
            except BaseException:
                if self._database.in_transaction:
                    self._database.execute("ROLLBACK")
                raise
