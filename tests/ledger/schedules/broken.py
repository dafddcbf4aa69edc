"""Parts of the ledger broken on purpose, each in one way that matters: what the schedules must find."""

import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import Any
from unittest.mock import ANY, patch

from ledger.electorate import Electorate, joint_policy
from ledger.errors import LedgerError
from ledger.keys import SigningKey
from ledger.log import Log
from ledger.merkle import leaf_hash
from ledger.note import SignatureLine, Vkey
from ledger.policy import Policy
from ledger.receipt import make_receipt
from ledger.replay import Replayed, step
from ledger.rules import LOG, Refused
from ledger.statement import Statement
from ledger.tiles import Tile
from ledger.witness import Witness

from .cast import key_of, log_generation
from .disk import Disk
from .memory_store import MemoryStore, MemoryTransaction
from .observer import Violation
from .runner import Cast, run
from .storage import InMemory


class AcknowledgesFirst(Log):
    """Tells the places of statements before they are written; they are when the next ones come."""

    def append(self, statements: Sequence[bytes]) -> list[int]:
        pending: list[bytes] = self.__dict__.setdefault("pending", [])
        if self.size == 0 or len(statements) != 1:
            return super().append(statements)
        before, pending[:] = list(pending), statements
        super().append(before)
        return [self.size]


class GivesReceiptsEarly(Log):
    """Gives a receipt as soon as a checkpoint covers the entry."""

    def receipt(self, index: int) -> bytes:
        note = self.checkpoint()
        return make_receipt(index, self.inclusion(index, self.size), note, key_of(LOG, log_generation(self.state)))


class TakesAnyCopy(Log):
    """Goes on from an old copy of itself."""

    @classmethod
    def open(cls, location: Any, key: SigningKey, *rest: Any, at_least: int = 0, **more: Any) -> "TakesAnyCopy":
        return super().open(location, key, *rest, **more)


class Forgets(Witness):
    """Begins with an empty mirror each time that it starts."""

    def __init__(self, location: Any, *rest: Any, **more: Any) -> None:
        super().__init__(Disk(), *rest, **more)  # type: ignore[arg-type]


class UnsafeStore(MemoryStore):
    """A database that says that it has written before it has: power loss takes the last transaction."""

    _late: Any = None

    @property
    def _tables(self) -> Any:
        return self._late or self._disk.tables

    @contextmanager
    def write(self) -> Iterator[MemoryTransaction]:
        if self._late is not None:
            self._disk.tables = self._late
        with self._disk.writing():
            tables = self._tables.copy()
            yield MemoryTransaction(tables)
        self._late = tables
        self._disk.written()


class CheckpointsFirst(MemoryStore):
    """A database in which a checkpoint is durable before the entries under it are."""

    _seen: Any = None

    @property
    def _tables(self) -> Any:
        return self._seen or self._disk.tables

    @contextmanager
    def write(self) -> Iterator[MemoryTransaction]:
        with self._disk.writing():
            before, after = self._tables, self._tables.copy()
            yield MemoryTransaction(after)
        durable, late = after.copy(), len(after.rows) > len(before.rows) > 0
        if late:  # only what came before is on the disk
            durable.rows, durable.places = before.rows, before.places
        elif self._seen is not None:
            durable.rows, durable.places = self._disk.tables.rows, self._disk.tables.places
        self._disk.tables, self._seen = durable, after
        self._disk.written()


class Overwrites(MemoryTransaction):
    """A transaction that neither compares nor refuses: whoever writes last wins."""

    def put_entries(self, rows: Any, tiles: Any, accepted_s: int = 0) -> None:
        if rows:
            self.set_aside(rows[0][0])
        super().put_entries(rows, tiles, accepted_s)

    def size(self) -> Any:
        return ANY


class LastWriterWins(MemoryStore):
    """A mirror whose processes do not compare what they read with what is there."""

    @contextmanager
    def write(self) -> Iterator[MemoryTransaction]:
        with self._disk.writing():
            tables = self._disk.tables.copy()
            yield Overwrites(tables)
        self._disk.tables = tables
        self._disk.written()


class FindsNothing(MemoryStore):
    """A database whose index of digests is empty."""

    def indices(self, digests: Sequence[bytes]) -> dict[bytes, int]:
        return {}


class KeepsNoEvidence(MemoryStore):
    """A database that drops evidence."""

    @contextmanager
    def write(self) -> Iterator[MemoryTransaction]:
        with super().write() as transaction, patch.object(transaction, "put_evidence", lambda *_: None):
            yield transaction


def without_rules(at: Replayed, statement: Statement, *, verify: bool) -> tuple[Replayed, list[Tile]]:
    """Takes every statement; what the rules refuse changes nothing."""
    try:
        return step(at, statement, verify=verify)
    except Refused:
        frontier, tiles = at.frontier.append(leaf_hash(statement.raw))
        return Replayed(at.state.having(size=at.state.size + 1), frontier), tiles


def of_the_moment(electorate: Electorate, size: int) -> Policy:
    """Asks only the members of the moment for their cosignatures."""
    held = [one for one in electorate.memberships if one.since <= size]
    return _joint(Electorate(electorate.origin, tuple(held[-1:])), size)


_joint = Electorate.policy


def unverified(body: str, line: SignatureLine, vkey: Vkey) -> int:
    """Takes every signature line for what it says."""
    return int.from_bytes(line.signature[:8], "big")


@dataclass(frozen=True)
class Mutation:
    """One way to break the ledger.

    Attributes:
        found: what a schedule says that finds it, a regular expression.
        honest: whether it is looked for with an honest log, or with a malicious one.
    """

    found: str
    honest: bool
    cast: Cast = field(default_factory=Cast)
    storage: type[InMemory] = InMemory
    patches: Mapping[str, Any] = field(default_factory=dict)

    def find(self, most: int) -> int:
        """The first schedule that finds it.

        Raises:
            AssertionError: none of so many does.
        """
        for number in range(0 if self.honest else 1, most, 2):
            with ExitStack() as stack:
                joint_policy.cache_clear()  # what was remembered whole is not the broken one's, and the other way round
                stack.callback(joint_policy.cache_clear)
                for name, broken in self.patches.items():
                    stack.enter_context(patch(name, broken))
                try:
                    run(number, self.cast, storage=self.storage())
                except (LedgerError, Violation) as failure:
                    if re.search(self.found, str(failure)):
                        return number
                    raise
        raise AssertionError(f"no schedule up to {most} found it")


def _on(kind: type[MemoryStore]) -> type[InMemory]:
    return type("Broken", (InMemory,), {"store": kind})


TWO_FINALS, TWO_HISTORIES = "two final histories", "a witness cosigned two histories"
FORGOT = "a witness forgot what it cosigned"
LOST = "a lawful statement is not taken|acknowledged entr.* lost|found another place|the log does not start again"
QUORUM = "ledger.policy.quorum_size"
MUTATIONS: Mapping[str, Mutation] = {
    "q is 2f + 1": Mutation(TWO_FINALS, False, patches={QUORUM: lambda members: 2 * ((members - 1) // 3) + 1}),
    "q is a majority": Mutation(TWO_FINALS, False, patches={QUORUM: lambda members: members // 2 + 1}),
    "a quorum of the moment's members is enough": Mutation(
        TWO_FINALS, False, patches={"ledger.electorate.Electorate.policy": of_the_moment}
    ),
    "one approval changes the members": Mutation(
        TWO_FINALS, False, patches={"ledger.rules.approvals.quorum_size": lambda members: 1}
    ),
    "cosignatures are not verified": Mutation(
        "a receipt holds", False, patches={"ledger.checkpoint.verify_cosignature": unverified}
    ),
    "a witness replays no rules": Mutation(
        "a witness cosigned entries that break the rules", False, patches={"ledger.intake.step": without_rules}
    ),
    "a witness forgets when it stops": Mutation(f"{FORGOT}|{TWO_HISTORIES}|no evidence", False, Cast(witness=Forgets)),
    "a witness does not compare and set": Mutation(f"{TWO_HISTORIES}|{TWO_FINALS}", False, storage=_on(LastWriterWins)),
    "a witness's record is not durable when it answers": Mutation(
        f"{FORGOT}|{TWO_HISTORIES}|no evidence", False, storage=_on(UnsafeStore)
    ),
    "a witness leaves a history for one that is not final": Mutation(
        f"{TWO_HISTORIES}|{TWO_FINALS}", False, patches={"ledger.mirror.makes_final": lambda *_: True}
    ),
    "a witness keeps no evidence": Mutation("no evidence was kept", False, storage=_on(KeepsNoEvidence)),
    "entries are acknowledged before they are written": Mutation(LOST, True, Cast(log=AcknowledgesFirst)),
    "entries are not durable when they are acknowledged": Mutation(f"{LOST}|{FORGOT}", True, storage=_on(UnsafeStore)),
    "a checkpoint is durable before its entries": Mutation(
        "covers entries that are missing", True, storage=_on(CheckpointsFirst)
    ),
    "a receipt is given before it is final": Mutation(
        "a receipt from a|a receipt does not hold", True, Cast(log=GivesReceiptsEarly)
    ),
    "the log goes on from an old copy": Mutation("an old copy was gone on from", True, Cast(log=TakesAnyCopy)),
    "a statement sent again is not recognised": Mutation(
        "not found by its digest|a lawful statement", True, storage=_on(FindsNothing)
    ),
}
