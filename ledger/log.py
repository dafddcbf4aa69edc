"""The sequencer: takes signed statements, gives each its place, and commits to the whole in checkpoints.

Order of work: the entries are durable before a checkpoint over them is signed, and the checkpoint is durable
before anyone sees it. A crash loses nothing that was acknowledged; what is sent again finds its place.
"""

import os
import time
from collections.abc import Callable, Iterable, Sequence
from typing import Self, TypeAlias

from ledger.checkpoint import (
    Checkpoint,
    CheckpointError,
    NotFinal,
    Policy,
    SignedCheckpoint,
    is_final,
    require_timely,
    sign_checkpoint,
    verify_cosignature,
)
from ledger.errors import Damaged
from ledger.errors import NoSuchEntry as NoSuchEntry
from ledger.finality import consortium_policy
from ledger.keys import SigningKey
from ledger.merkle import Frontier, consistency_proof, inclusion_proof
from ledger.note import SignatureLine, Vkey, check_name
from ledger.receipt import make_receipt
from ledger.replay import Replayed, replay, step
from ledger.rules import State, initial
from ledger.statement import decode_statement
from ledger.store import Store

Clock: TypeAlias = Callable[[], float]
"""Seconds since the epoch."""


class Log:
    """A log that this process sequences. One process at a time may.

    Attributes:
        origin: the log's name.
        cid: the consortium's id.
        vkey: the key that checks the log's checkpoints.
    """

    def __init__(self, store: Store, origin: str, cid: str, key: SigningKey, clock: Clock) -> None:
        """Use `create` or `open`."""
        self.origin = origin
        self.cid = cid
        self.vkey = Vkey.of_log(origin, key.public)
        self._store = store
        self._key = key
        self._clock = clock
        self._at = Replayed(initial(cid), Frontier())
        self._notes: dict[int, str] = {}
        self._policies: dict[int, Policy] = {}
        self._final: tuple[int, str] | None = None

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
            location: path of an SQLite file, an SQLAlchemy URL, or None for memory.
            origin: the log's name: no spaces, no plus sign; by custom a URL without a scheme.
            key: signs checkpoints and receipts.
            cid: the consortium's id; by default `origin`.

        Raises:
            StoreError: a log is already there, or it cannot be written.
        """
        log = cls(Store(location), check_name(origin), cid or origin, key, clock)
        log._store.lock()
        try:
            log._store.create({"origin": origin, "cid": log.cid, "vkey": str(log.vkey)})
        except BaseException:
            log.close()
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
    ) -> Self:
        """Continue a log, after auditing its tree against its checkpoints.

        Args:
            at_least: the largest size that any witness is known to have cosigned; a smaller log is an old
                copy, and going on from it would fork the history.

        Raises:
            StoreError: no log there, or another sequencer is running on it.
            Damaged: names what is not as it was written.
        """
        store = Store(location, existing=True)
        try:
            store.lock()
            meta = store.meta()
            log = cls(store, meta["origin"], meta["cid"], key, clock)
            if str(log.vkey) != meta["vkey"]:
                raise CheckpointError(f"{store.name}: this is not the key of the log {log.origin!r}")
            log._restore()
        except BaseException:
            store.close()
            raise
        if log.size < at_least:
            log.close()
            raise Damaged(f"{store.name}: {log.size} entries, not {at_least}; restore the newest copy")
        return log

    def close(self) -> None:
        """Give the database back. The log must not be used afterwards."""
        self._store.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def size(self) -> int:
        """Number of entries."""
        return self._at.state.size

    @property
    def state(self) -> State:
        """What the rules make of the entries. Immutable."""
        return self._at.state

    @property
    def root(self) -> bytes:
        """Root of the tree over all entries, 32 bytes."""
        return self._at.frontier.root()

    def append(self, statements: Sequence[bytes]) -> list[int]:
        """Put statements on the ledger, all of them or none, and return their places.

        A statement that is there already (same digest) keeps its place.

        Raises:
            StatementError: one cannot be read.
            Refused: one breaks a rule or is not signed by its issuer; says which rule and entry.
            StoreError: nothing was written.
        """
        decoded = [decode_statement(raw) for raw in statements]
        places = self._store.indices([statement.digest for statement in decoded])
        at, rows, nodes = self._at, [], []
        for statement in decoded:
            if statement.digest in places:
                continue
            places[statement.digest] = at.state.size
            rows.append((at.state.size, statement.digest, statement.raw))
            at, complete = step(at, statement, verify=True)
            nodes += complete
        if rows:
            with self._store.write() as transaction:
                transaction.put_entries(rows, nodes)
            self._at = at
        return [places[statement.digest] for statement in decoded]

    def checkpoint(self) -> str:
        """Sign the present size and root; the same note again while nothing was appended.

        Raises:
            CheckpointError: the log is empty, or has no members yet.
        """
        size = self.size
        if size == 0 or self.state.voters == 0:
            raise CheckpointError("the ledger has no members yet; append the genesis statements first")
        if size not in self._notes:
            note = sign_checkpoint(Checkpoint(self.origin, size, self.root), self._key)
            with self._store.write() as transaction:
                transaction.put_checkpoint(size, note)
            self._remember(self._at, note)
        return self._notes[size]

    def add_cosignatures(self, lines: Iterable[str], size: int | None = None) -> bool:
        """Keep cosignature lines on the checkpoint at `size` (the latest); say whether it is final now.

        Raises:
            NoteError: not a signature line.
            CheckpointError: not of a member at that size, wrong, or from the future; nothing is kept.
        """
        at = max(self._notes, default=0) if size is None else size
        if at not in self._notes:
            raise NoSuchEntry(f"there is no checkpoint at size {at}; make one first")
        policy, body = self._policies[at], SignedCheckpoint.parse(self._notes[at]).body
        keys = {vkey.name: vkey for vkey in policy.witnesses.values()}
        kept: dict[str, str] = {}
        for text in lines:
            line = SignatureLine.parse(text)
            if line.name not in keys:
                raise CheckpointError(f"{line.name!r} is no witness of checkpoint {at}")
            timestamp_s = verify_cosignature(body, line, keys[line.name])
            require_timely(timestamp_s, self._clock(), line.name)
            kept[line.name] = str(line)
        with self._store.write() as transaction:
            transaction.put_cosignatures(at, kept)
        return self._consider(at)

    def final(self) -> str | None:
        """The largest checkpoint that a quorum cosigned, with its cosignatures; None if there is none."""
        return None if self._final is None else self._final[1]

    @property
    def final_size(self) -> int:
        """How many entries are final."""
        return 0 if self._final is None else self._final[0]

    @property
    def checkpoints(self) -> int:
        """How many checkpoints have been signed."""
        return len(self._notes)

    @property
    def policy(self) -> Policy:
        """The trust policy of the present members, for offline verifiers."""
        return consortium_policy(self.state, self.vkey)

    def entries(self, start: int, end: int) -> list[bytes]:
        """Entries `start` to `end - 1` as they were appended.

        Raises:
            NoSuchEntry: not that many entries.
        """
        if not 0 <= start <= end <= self.size:
            raise NoSuchEntry(f"no entries {start} to {end}: the ledger has {self.size}")
        return self._store.entries(start, end)

    def index_of(self, digest: bytes) -> int | None:
        """The place of the statement with this digest, or None."""
        return self._store.indices([digest]).get(digest)

    def inclusion(self, index: int, size: int) -> list[bytes]:
        """Proof that entry `index` is in the tree of `size` entries (RFC 9162)."""
        if not 0 <= index < size <= self.size:
            raise NoSuchEntry(f"no entry {index} in a tree of {size}: the ledger has {self.size}")
        return inclusion_proof(index, size, self._store.nodes)

    def consistency(self, old: int, new: int) -> list[bytes]:
        """Proof that the tree of `new` entries extends that of `old`; empty when `old` is 0."""
        if not 0 <= old <= new <= self.size:
            raise NoSuchEntry(f"no proof from {old} to {new}: the ledger has {self.size}")
        return consistency_proof(old, new, self._store.nodes) if old else []

    def receipt(self, index: int) -> bytes:
        """Proof, checkable offline, that entry `index` is on the ledger and final.

        Raises:
            NotFinal: no final checkpoint covers it yet.
        """
        if not 0 <= index < self.size:
            raise NoSuchEntry(f"no entry {index}: the ledger has {self.size}")
        if self._final is None or index >= self._final[0]:
            raise NotFinal(f"entry {index} is not final yet; let the members' witnesses cosign a checkpoint")
        size, note = self._final
        return make_receipt(index, inclusion_proof(index, size, self._store.nodes), note, self._key)

    def _restore(self) -> None:
        notes = self._store.checkpoints()
        self._at = replay(
            self._store,
            self.cid,
            self.vkey,
            verify_all=False,
            at_checkpoint=lambda at: self._remember(at, notes[at.state.size]),
        )
        for size in notes:
            self._consider(size)

    def _remember(self, at: Replayed, note: str) -> None:
        """Keep a checkpoint and the policy of its moment."""
        self._notes[at.state.size] = note
        self._policies[at.state.size] = consortium_policy(at.state, self.vkey)

    def _consider(self, size: int) -> bool:
        lines = [SignatureLine.parse(line) for line in self._store.cosignatures(size).values()]
        note = SignedCheckpoint.parse(self._notes[size]).with_lines(lines)
        final = is_final(note, self._policies[size], now_s=self._clock())
        if final and size >= self.final_size:
            self._final = (size, note)
        return final
