"""The sequencer: takes signed statements, gives each its place, and commits to the whole in checkpoints.

Order of work: the entries are durable before a checkpoint over them is signed, and the checkpoint is durable
before anyone sees it. A crash loses nothing that was acknowledged; what is sent again finds its place.
"""

import os
import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from typing import Self, TypeAlias

from ledger.checkpoint import Checkpoint, CheckpointError, sign_checkpoint
from ledger.entry_audit import EntryAudit
from ledger.errors import Damaged, LedgerError, StoreError
from ledger.errors import NoSuchEntry as NoSuchEntry
from ledger.finality import log_vkey
from ledger.health import Health, health_of
from ledger.history import History
from ledger.keys import SigningKey
from ledger.log_key import can_be_the_key
from ledger.merkle import root_at
from ledger.note import Vkey, check_name
from ledger.replay import step
from ledger.rules import State
from ledger.snapshot import Snapshot, put_snapshot
from ledger.startup import AUDITED_WHOLE, resume
from ledger.statement import decode_statement
from ledger.store import Store
from ledger.tiles import RightEdge, Tile
from ledger.write_guard import WriteGuard

Clock: TypeAlias = Callable[[], float]
"""Seconds since the epoch."""

AUDIT_BUDGET_S = 0.5
SNAPSHOT_EVERY = 8_192
"""Entries between two snapshots: what a start after a crash replays at most."""


class Log(History):
    """A log that this process sequences. One process at a time may; one thread at a time."""

    def __init__(self, store: Store, origin: str, cid: str, key: SigningKey, clock: Clock) -> None:
        """Use `create` or `open`."""
        super().__init__(store, origin, cid, key)
        self._clock = clock
        self._audit = EntryAudit(store, 0, 0, time.monotonic)
        self._snapshot_size = 0
        self._body_bytes: dict[str, int] = {}
        self._guard = WriteGuard(store)

    @classmethod
    def create(
        cls,
        location: str | os.PathLike[str] | None,
        origin: str,
        key: SigningKey,
        clock: Clock = time.time,
        *,
        cid: str | None = None,
    ) -> Self:
        """Start an empty log.

        Args:
            location: path of an SQLite file, a `postgresql://` URL, or None for memory.
            origin: the log's name: no spaces, no plus sign; by custom a URL without a scheme.
            key: signs checkpoints and receipts; the first entry must name it.
            cid: the consortium's id; by default `origin`.

        Raises:
            StoreError: a log is already there, or it cannot be written.
        """
        log = cls(Store(location), check_name(origin), cid or origin, key, clock)
        try:
            log._store.lock()
            log._store.create({"origin": origin, "cid": log.cid, "vkey": str(log.vkey)})
        except BaseException:
            log._store.close()
            raise
        return log

    @classmethod
    def open(
        cls,
        location: str | os.PathLike[str],
        key: SigningKey,
        clock: Clock = time.time,
        *,
        at_least: int = 0,
        audit_budget_s: float = AUDIT_BUDGET_S,
        timer: Callable[[], float] = time.monotonic,
    ) -> Self:
        """Continue a log, after auditing its tree against its checkpoints.

        Args:
            key: the log's present key.
            at_least: the largest size that any witness is known to have cosigned; a smaller log is an old
                copy, and going on from it would fork the history.
            audit_budget_s: how long to read the entries of a large log one by one; `audit_some` goes on with it.
            timer: seconds from any start, for that budget.

        Raises:
            StoreError: no log there, or another sequencer is running on it.
            Damaged: names what is not as it was written.
            CheckpointError: this is not the log's key.
        """
        store = Store(location, existing=True)
        try:
            store.lock()
            meta = store.meta()
            log = cls(store, meta["origin"], meta["cid"], key, clock)
            log._restore(Vkey.parse(meta["vkey"]))
            if log.size < at_least:
                raise Damaged(f"{store.name}: {log.size} entries, not {at_least}; restore the newest copy")
            whole = log.size < AUDITED_WHOLE
            log._audit = EntryAudit(store, 0 if whole else store.audited(), log.size, timer)
            log._audit.run(log._at.frontier, None if whole else audit_budget_s)
            log._audit.keep_progress()
        except BaseException:
            store.close()
            raise
        return log

    def close(self) -> None:
        """Give the database back. The log must not be used afterwards."""
        if self._guard.in_step:
            with suppress(LedgerError):  # without it the next start takes longer
                self._put_snapshot()
        self._store.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def vkey(self) -> Vkey:
        """The key that checks the log's next checkpoint."""
        return Vkey.of_log(self.origin, self._key.public if self.state.log is None else self.state.log.key)

    @property
    def audited(self) -> int:
        """Entries 0 to `audited - 1` were found sound since this start or the last, or written since."""
        return self._audit.audited if self._audit.unfinished else self.size

    def health(self) -> Health:
        """How the log is doing now; quick however long it is."""
        return health_of(self._store, self.origin, self.state, self.final_size, self._clock(), self.audited)

    def audit_some(self, budget_s: float) -> bool:
        """Go on with the start-up audit for `budget_s` seconds; say whether there is more to do.

        Raises:
            Damaged: names what is not as it was written; from then on the log refuses to be written.
        """
        try:
            more = self._audit.run(self._at.frontier, budget_s)
        except Damaged as error:
            self._guard.refuse(error)
            raise
        self._audit.keep_progress()
        return more

    def append(self, statements: Sequence[bytes]) -> list[int]:
        """Put statements on the ledger, all of them or none, and return their places.

        A statement that is there already (same digest) keeps its place.

        Raises:
            StatementError: one cannot be read.
            Refused: one breaks a rule or is not signed by its issuer; says which rule and entry.
            Unreachable: the connection was lost: whether they were written is not known. Open the log again and
                submit them again.
            StoreError: nothing was written.
        """
        decoded = [decode_statement(raw) for raw in statements]
        self._guard.require_in_step(self.size)
        places = self._store.indices([statement.digest for statement in decoded])
        # Beyond what this log knows: by another process, or by itself in a write of which it never learnt the outcome.
        if any(place >= self.size for place in places.values()):
            raise self._guard.overtaken()
        at, rows, tiles, states = self._at, list[tuple[int, bytes, bytes]](), list[Tile](), list[State]()
        for statement in decoded:
            if statement.digest in places:
                continue
            places[statement.digest] = at.state.size
            rows.append((at.state.size, statement.digest, statement.raw))
            at, full = step(at, statement, verify=True)
            tiles += full
            states.append(at.state)
        if rows:
            if self.state.log is None:
                self._require_key(self._key, at.state)
            with self._guard.writing(), self._store.write() as transaction:
                transaction.put_entries(rows, tiles, self._accepted_s())
            self._at = at
            self._pass(states)
            if self.size - self._snapshot_size >= SNAPSHOT_EVERY:
                with suppress(StoreError):  # the entries are there; a start without it takes longer
                    self._put_snapshot()
        return [places[statement.digest] for statement in decoded]

    def use_key(self, key: SigningKey) -> None:
        """Sign with `key` from now on: after the entry that made it the log's.

        Raises:
            CheckpointError: it is not the log's present key.
        """
        self._require_key(key)
        self._key = key
        with suppress(StoreError):
            self._put_snapshot()

    def checkpoint(self) -> str:
        """Sign the present size and root; the same note again while nothing was appended.

        Raises:
            CheckpointError: the log is empty, has no members yet, or has another key now: `use_key`.
        """
        self._guard.require_in_step(self.size)
        size = self.size
        if size == 0 or self.state.voters == 0:
            raise CheckpointError("the ledger has no members yet; append the genesis statements first")
        if size == self._book.latest:
            return self._book.note(size)
        log_vkey(self.origin, self.state)
        self._require_key(self._key)
        note = sign_checkpoint(Checkpoint(self.origin, size, self.root), self._key)
        with self._guard.writing(), self._store.write() as transaction:
            transaction.put_checkpoint(size, note)
        self._book.pass_checkpoint(size)
        return note

    def add_cosignatures(self, lines: Iterable[str], size: int | None = None) -> bool:
        """Keep cosignature lines on the checkpoint at `size` (the latest); say whether it is final now.

        Raises:
            NoteError: not a signature line.
            NoSuchEntry: there is no such checkpoint.
            CheckpointError: not of a member at that size, wrong, or from the future; nothing is kept.
        """
        self._guard.require_in_step(self.size)
        with self._guard.writing():
            return self._book.add_cosignatures(lines, self._book.latest if size is None else size, self._clock())

    def put_body(self, digest: bytes, envelope: bytes, owner: str = "") -> bool:
        """Keep the encrypted body of the statement with this digest; one that is there, or was erased, stays so.

        Args:
            owner: the member that handed it in.

        Returns:
            Whether it is new.
        """
        self._guard.require_in_step(self.size)
        known = self._body_bytes.pop(owner, None)  # of a write of unknown outcome nothing is known
        new = self._store.put_body(digest, envelope, owner)
        if known is not None:
            self._body_bytes[owner] = known + new * len(envelope)
        return new

    def delete_body(self, digest: bytes, by: str = "") -> None:
        """Forget the body of the statement with this digest for good; the statement stays. `by`: who had it erased."""
        self._body_bytes.clear()
        self._store.delete_body(digest, by)

    def body_bytes(self, owner: str) -> int:
        """How many bytes the bodies have that a member handed in."""
        if owner not in self._body_bytes:
            self._body_bytes[owner] = self._store.body_bytes(owner)
        return self._body_bytes[owner]

    def _accepted_s(self) -> int:
        """The present time for what is accepted now: by the clock, but not before what a quorum has cosigned since.

        With a clock that was set back, a promise would otherwise be broken by checkpoints that are there already.
        """
        return max(int(self._clock()), self._book.witnessed_s)

    def _restore(self, founding: Vkey) -> None:
        if not can_be_the_key(self._store, self._key.public.ed25519, founding):
            raise self._not_the_key()
        self._at = resume(
            self._store,
            self.cid,
            founding,
            self._key.public.ed25519,
            at_snapshot=self._take_snapshot,
            at_entry=lambda at: self._book.pass_entry(at.state),
            at_checkpoint=lambda at: self._book.pass_checkpoint(at.state.size),
        )
        self._book.settle()
        if self.state.log is None and founding.key != self._key.public.ed25519:
            raise self._not_the_key()
        self._require_key(self._key)

    def _take_snapshot(self, snapshot: Snapshot, edge: RightEdge) -> None:
        fetch = self._tiles.fetch(edge)
        self._book.restore(snapshot.notes, lambda size: root_at(size, fetch))
        self._snapshot_size = edge.size

    def _pass(self, states: list[State]) -> None:
        """Tell the book of entries that are durable now."""
        try:
            for state in states:
                self._book.pass_entry(state)
        except LedgerError as error:  # it would not know who belongs to the quorum: only a start can tell
            self._guard.refuse(error)
            raise

    def _put_snapshot(self) -> None:
        if self.size > 0 and self.state.log is not None and self.state.log.key == self._key.public.ed25519:
            snapshot = Snapshot(self.origin, self.root, self.state, self._book.to_value())
            put_snapshot(self._store, snapshot, self._key)
            self._snapshot_size = self.size

    def _require_key(self, key: SigningKey, state: State | None = None) -> None:
        log = (state or self.state).log
        if log is not None and log.key != key.public.ed25519:
            raise self._not_the_key()

    def _not_the_key(self) -> CheckpointError:
        return CheckpointError(
            f"{self._store.name}: this is not the key of the log {self.origin!r}; give the present one"
        )
