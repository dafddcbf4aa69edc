"""A copy of a log, opened: its position, recomputed from its bytes, and everything that can be read from it.

It is itself a source, as an exported directory or the service is: members bring each other up to date without the
sequencer.
"""

import os
import time
from collections.abc import Iterator
from contextlib import suppress
from typing import Self

from ledger.checkpoint import Policy, SignedCheckpoint
from ledger.checkpoint_book import CheckpointBook
from ledger.electorate import Electorate, Membership
from ledger.errors import LedgerError, Locked, NoSuchEntry
from ledger.intake import Intake
from ledger.keys import SigningKey
from ledger.log import Clock
from ledger.merkle import consistency_proof, inclusion_proof, root_at, root_of
from ledger.note import SignatureLine, Vkey
from ledger.replay import Replayed, step
from ledger.rules import State
from ledger.snapshot import Snapshot, put_snapshot
from ledger.source import WitnessRefusal
from ledger.startup import resume
from ledger.statement import decode_statement
from ledger.store import Store
from ledger.tiles import RightEdge, TileReader
from ledger.turns import Turns

_CHUNK = 1024


class Mirrored:
    """What is kept of one log.

    Attributes:
        origin: the log's name.
        turns: the processes that wait for it.
    """

    _rested: tuple[int, str, int] | None

    def __init__(
        self,
        location: str | os.PathLike[str] | None,
        log: Vkey,
        cid: str,
        clock: Clock = time.time,
        *,
        founding: str | None = None,
        member: str = "",
        seal: SigningKey | None = None,
    ) -> None:
        """Open the mirror, or start an empty one; an existing one is recomputed before it is used.

        Args:
            location: path of the mirror's own SQLite file, or None for memory.
            log: the key that the log was founded with; later ones are learnt from the entries.
            cid: the consortium's id.
            founding: the founding fingerprint (`ledger.founding`), compared out of band; another log is refused.
            member: whose witness this mirror serves; empty for none.
            seal: the member's key, under which the mirror trusts its own snapshots.

        Raises:
            StoreError: the file cannot be used, or is in use by another process.
            Damaged: the mirror is not what was written.
            WitnessRefusal: the file is the mirror of another log or of another member, or of another founding.
        """
        self.origin = log.name
        self._log = log
        self._cid = cid
        self._clock = clock
        self._founding = founding
        self._seal = seal
        self._identity = {"origin": log.name, "cid": cid, "vkey": str(log), "member": member}
        self._store = Store(location)
        self.turns = Turns(self._store.path)
        self._blank()
        try:
            self._open()
        except BaseException:
            self._store.close()
            raise

    def close(self) -> None:
        """Give the mirror's file back."""
        self._put_snapshot()
        self._store.close()

    def rest(self) -> None:
        """Let another process use the mirror until `wake`; in memory nothing changes."""
        self._rested = None  # as long as it is not known, `wake` says that something was done
        with suppress(LedgerError):
            self._rested = self._store.standing()
        self._store.unlock()

    def wake(self) -> bool:
        """Take the mirror back after `rest`, with what another process has mirrored in between; say if it did anything.

        Raises:
            StoreError: another process is using it.
            Damaged: it is not what was written.
        """
        self._lock()
        try:
            found = self._store.standing()
            if found[:2] != (self.size, self._note):
                self._read()
        except BaseException:
            self._store.unlock()  # so that it can be tried again
            raise
        return found != self._rested

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def size(self) -> int:
        """Number of entries mirrored."""
        return self._at.state.size

    @property
    def root(self) -> bytes:
        """Root over them, 32 bytes."""
        return self._at.frontier.root()

    @property
    def state(self) -> State:
        """What the rules make of them. Immutable."""
        return self._at.state

    @property
    def note(self) -> str:
        """The newest checkpoint, as the log signed it; empty before the first."""
        return self._note

    @property
    def policy(self) -> Policy:
        """The policy under which a checkpoint over all that is mirrored is final."""
        return self._book.electorate.policy(self.size)

    @property
    def settled(self) -> Membership:
        """Who belongs by what is final; see `ledger.checkpoint_book.CheckpointBook.settled`."""
        return self._book.settled

    @property
    def settled_policy(self) -> Policy:
        """The policy of those members: the one to give to offline verifiers."""
        return self.settled.policy(self.origin)

    @property
    def final_size(self) -> int:
        """How many entries are known to be final."""
        return self._book.final_size

    @property
    def facts(self) -> dict[str, str]:
        """What the mirror has noted about itself: whose it is, the founding, and what its witness promised."""
        return self._store.meta()

    def remember(self, fact: str, value: str) -> None:
        """Note a fact, durably and for good.

        Raises:
            Conflict: the fact is noted already.
        """
        with self._store.write() as transaction:
            transaction.put_meta({fact: value})

    def checkpoint(self) -> str:
        """The newest checkpoint with the cosignatures that are known.

        Raises:
            NoSuchEntry: nothing is mirrored yet.
        """
        if not self._note:
            raise NoSuchEntry(f"{self._store.name}: nothing is mirrored yet; follow the log first")
        return self._with_lines(self.size)

    def final(self) -> str | None:
        """The largest checkpoint known to be final, with its cosignatures; None if there is none."""
        return self._with_lines(self.final_size) if self.final_size else None

    def notes(self, start: int = 0) -> Iterator[str]:
        """The checkpoints over at least `start` entries with the cosignatures that are known, smallest first."""
        return (self._with_lines(size) for size in self._store.checkpoints(start))

    def entry(self, index: int) -> bytes:
        """Entry `index`.

        Raises:
            WitnessRefusal: the mirror does not reach it.
        """
        if not 0 <= index < self.size:
            raise WitnessRefusal(f"{self._whose} has mirrored {self.size} entries, not entry {index}; advance first")
        return self._store.entries(index, index + 1)[0]

    def entries(self, start: int, end: int) -> list[bytes]:
        """Entries `start` to `end - 1`.

        Raises:
            NoSuchEntry: not that many entries.
        """
        if not 0 <= start <= end <= self.size:
            raise NoSuchEntry(f"no entries {start} to {end}: {self._whose} has mirrored {self.size}")
        return self._store.entries(start, end)

    def index_of(self, digest: bytes) -> int | None:
        """The place of the statement with this digest, or None."""
        return self._store.indices([digest]).get(digest)

    def consistency(self, old: int, new: int) -> list[bytes]:
        """Proof that the tree of `new` entries extends that of `old`; empty when `old` is 0."""
        if not 0 <= old <= new <= self.size:
            raise NoSuchEntry(f"no proof from {old} to {new}: {self._whose} has mirrored {self.size}")
        return consistency_proof(old, new, self._tiles.fetch(self._at.frontier)) if old else []

    def inclusion(self, index: int, size: int) -> list[bytes]:
        """Proof that entry `index` is in the tree of `size` entries (RFC 9162)."""
        if not 0 <= index < size <= self.size:
            raise NoSuchEntry(f"no entry {index} in a tree of {size}: {self._whose} has mirrored {self.size}")
        return inclusion_proof(index, size, self._tiles.fetch(self._at.frontier))

    def root_at(self, size: int) -> bytes:
        """Root over the first `size` entries."""
        if not 0 <= size <= self.size:
            raise NoSuchEntry(f"no tree of {size} entries: {self._whose} has mirrored {self.size}")
        return root_at(size, self._tiles.fetch(self._at.frontier)) if size else root_of(())

    def state_at(self, size: int) -> State:
        """What the rules make of the first `size` entries: replayed, so slow for a long log."""
        return self.state if size == self.size else self._replayed_to(size).at.state

    def evidence(self) -> list[tuple[str, str, str]]:
        """Kept signs of the log's misbehaviour: `(kind, known note, offered note)`, oldest first."""
        return self._store.evidence()

    def evidence_files(self) -> list[bytes]:
        """The same as files for others: `ledger.evidence.verify_evidence` reads them."""
        return self._store.evidence_files()

    def _open(self) -> None:
        self._lock()
        if self._store.is_empty():
            self._store.create({**self._identity, **({"founding": self._founding} if self._founding else {})})
            return
        facts = self._store.meta()
        for fact, value in self._identity.items():
            if facts.get(fact) != value:
                raise WitnessRefusal(f"{self._store.name}: this mirror's {fact} is {facts.get(fact)!r}, not {value!r}")
        self._read()
        noted = facts.get("founding")
        if noted is not None and self._founding not in (None, noted):
            raise WitnessRefusal(
                f"{self._store.name}: the log was founded with the fingerprint {noted}, not {self._founding}"
            )
        self._founding = noted or self._founding

    def _lock(self) -> None:
        try:
            self._store.lock()
        except Locked:
            raise Locked(
                f"{self._store.name}: another process is using this mirror; try again when it is done"
            ) from None

    def _blank(self) -> None:
        self._at = Replayed.nothing(self._cid)
        self._tiles = TileReader(self._store.tile)
        self._book = CheckpointBook(self._store, self.origin)
        self._note = ""
        self._closed_at = 0
        self._rested = None

    def _read(self) -> None:
        """Recompute where the mirror stands."""
        self._blank()
        self._at = resume(
            self._store,
            self._cid,
            self._log,
            None if self._seal is None else self._seal.public.ed25519,
            at_snapshot=self._take_snapshot,
            at_entry=lambda at: self._book.pass_entry(at.state),
            at_checkpoint=lambda at: self._book.pass_checkpoint(at.state.size),
        )
        self._book.settle()
        self._note = self._newest_note()

    def _take_snapshot(self, snapshot: Snapshot, edge: RightEdge) -> None:
        fetch = self._tiles.fetch(edge)
        self._book.restore(snapshot.notes, lambda size: root_at(size, fetch))
        self._closed_at = edge.size

    def _put_snapshot(self) -> None:
        """So that the next start need not replay everything; it follows from the rest, so a failure is no loss."""
        if self.size > self._closed_at and not self.state.founding:
            snapshot = Snapshot(self.origin, self.root, self.state, self._book.to_value())
            with suppress(LedgerError):
                put_snapshot(self._store, snapshot, self._seal)
                self._closed_at = self.size

    def _with_lines(self, size: int) -> str:
        lines = [SignatureLine.parse(line) for line in self._store.cosignatures(size).values()]
        return SignedCheckpoint.parse(self._book.note(size)).with_lines(lines)

    def _newest_note(self) -> str:
        return self._store.checkpoint_at(self._store.latest_checkpoint()) or ""

    def _replayed_to(self, size: int) -> Intake:
        """Where the mirror stood after `size` entries."""
        at, electorate = Replayed.nothing(self._cid), Electorate(self.origin)
        for first in range(0, size, _CHUNK):
            for raw in self._store.entries(first, min(first + _CHUNK, size)):
                at, _ = step(at, decode_statement(raw), verify=False)
                electorate = electorate.after(at.state)
        settled = self.final_size if self.final_size <= size else 0
        return Intake(at, electorate.final_at(settled) if settled else electorate)

    @property
    def _whose(self) -> str:
        return self._identity["member"] or "the mirror"
