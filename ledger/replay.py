"""Read a stored log from its first byte, and trust nothing that was not recomputed."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from ledger.checkpoint import SignedCheckpoint
from ledger.errors import Damaged, LedgerError
from ledger.finality import log_vkey
from ledger.merkle import leaf_hash
from ledger.note import Vkey
from ledger.rules import Refused, State, admit, apply, initial
from ledger.statement import NewerRecord, Statement, StatementError, decode_statement
from ledger.store import EntryRow, Store
from ledger.tiles import RightEdge, Tile

_CHUNK = 1024


@dataclass(frozen=True)
class Replayed:
    """Where a log stands after so many entries.

    Attributes:
        state: what the rules make of the entries.
        frontier: the right edge of the Merkle tree.
    """

    state: State
    frontier: RightEdge

    @classmethod
    def nothing(cls, cid: str) -> "Replayed":
        """Where the log of the consortium `cid` stands before its first entry."""
        return cls(initial(cid), RightEdge())


def step(at: Replayed, statement: Statement, *, verify: bool) -> tuple[Replayed, list[Tile]]:
    """Take one more entry: its rules, its place in the tree, and, if `verify`, its signature.

    Returns:
        The position after it, and the tiles that it filled.

    Raises:
        Refused: it breaks a rule.
    """
    index = at.state.size
    state = (admit if verify else apply)(at.state, statement, index)
    if statement.payload["t"] == "handover":
        require_base(statement, index, at.frontier.root())
    frontier, tiles = at.frontier.append(leaf_hash(statement.raw))
    return Replayed(state, frontier), tiles


def require_base(handover: Statement, index: int, root: bytes) -> None:
    """Refuse by the rule `base` a handover as entry `index` unless it names the root of the entries before it."""
    if handover.payload["root"] != root:
        raise Refused("base", index, f"its root is not that of the {index} entries before it")


def replay(
    store: Store,
    cid: str,
    log: Vkey | str,
    *,
    verify_all: bool,
    at_checkpoint: Callable[[Replayed], None],
    at_entry: Callable[[Replayed], None] = lambda at: None,
    start: Replayed | None = None,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> Replayed:
    """Recompute the tree and the state of everything in `store`, and hold its checkpoints against them.

    Args:
        log: the key that the log was founded with, or only its origin where what follows vouches for the key.
            Each checkpoint is held against the key that the entries name for its moment.
        verify_all: check every signature; otherwise only those of entries that no checkpoint of the log
            covers yet, because a checkpoint is only ever signed over checked entries.
        at_checkpoint: called with the position at each checkpoint, in order.
        at_entry: called with the position after each entry, before `at_checkpoint`.
        start: a position that is known to be sound, instead of the empty log.
        progress: called now and then with how many of the entries have been read, and how many there are.

    Raises:
        Damaged: names the first entry, tile or checkpoint that is not what was written.
        NewerRecord: a newer release has taken an entry that this one cannot judge.
    """
    begin = start or Replayed.nothing(cid)
    notes = store.checkpoints(begin.state.size)
    walk = _Walk(store, log, notes, at_checkpoint, at_entry, progress)
    covered = 0 if verify_all else max(notes, default=0)
    try:
        end = walk.run(begin, verify_from=covered)
    except _RootDiffers as error:
        if not verify_all:  # the whole tree was changed to fit: only a signature can tell which entry it was
            _Walk(store, log, {}, lambda _: None, lambda _: None, progress).run(begin, verify_from=0)
        raise Damaged(str(error)) from None
    beyond = [size for size in notes if size > end.state.size]
    if beyond:
        raise Damaged(
            f"{store.name}: checkpoint {beyond[-1]} covers entries that are missing; "
            f"entry {end.state.size} is the first; restore the database from a mirror"
        )
    return end


def check_note(store: Store, note: str, log: Vkey, size: int, root: bytes) -> None:
    """Raise `Damaged` unless `note` is the checkpoint over `size` entries with this root, signed by `log`."""
    try:
        signed = SignedCheckpoint.parse(note)
        signed.verify_log(log)
    except LedgerError as error:
        raise Damaged(f"{store.name}: checkpoint {size} is not what was written: {error}") from None
    if signed.checkpoint.size != size:
        raise Damaged(f"{store.name}: checkpoint {size} is for {signed.checkpoint.size} entries")
    if signed.checkpoint.root != root:
        raise _RootDiffers(
            f"{store.name}: the first {size} entries do not have the root of their checkpoint; "
            "an entry was changed; restore the database from a mirror"
        )


class _RootDiffers(Damaged):
    pass


@dataclass(frozen=True)
class _Walk:
    store: Store
    log: Vkey | str
    notes: dict[int, str]
    at_checkpoint: Callable[[Replayed], None]
    at_entry: Callable[[Replayed], None]
    progress: Callable[[int, int], None]

    def run(self, at: Replayed, *, verify_from: int) -> Replayed:
        self._check(at)
        for row in self._rows(at.state.size):
            at = self._take(at, row, verify=row.idx >= verify_from)
            self.at_entry(at)
            self._check(at)
        return at

    def _take(self, at: Replayed, row: EntryRow, *, verify: bool) -> Replayed:
        index, name = at.state.size, self.store.name
        try:
            statement = decode_statement(row.raw)
        except NewerRecord as error:
            raise NewerRecord(f"{name}: entry {index} cannot be judged: {error}") from None
        except StatementError as error:
            raise Damaged(f"{name}: entry {index} is not what was written: {error}") from None
        if statement.digest != row.digest:
            raise Damaged(
                f"{name}: entry {index} is not what was written, or stands under a digest that is not its own; "
                "restore it from a mirror"
            )
        try:
            at, tiles = step(at, statement, verify=verify)
        except Refused as error:
            raise Damaged(f"{name}: entry {index} cannot have been accepted: {error}") from None
        for (level, place), hashes in tiles:
            self._check_tile(level, place, hashes)
        return at

    def _check_tile(self, level: int, place: int, hashes: bytes) -> None:
        stored, name = self.store.tile(level, place), self.store.name
        if stored == hashes:
            return
        differing = next(at for at in range(256) if stored[32 * at : 32 * at + 32] != hashes[32 * at : 32 * at + 32])
        where = f"{256 * place + differing}"
        what = f"entry {where} is not what was written" if level == 0 else f"hash {where} of level {level}"
        raise Damaged(f"{name}: tile {level}/{place} does not fit the entries under it: {what}; restore from a mirror")

    def _check(self, at: Replayed) -> None:
        size = at.state.size
        note = self.notes.get(size)
        if note is None:
            return
        check_note(self.store, note, self._key(at.state), size, at.frontier.root())
        self.at_checkpoint(at)

    def _key(self, state: State) -> Vkey:
        if isinstance(self.log, str):
            return log_vkey(self.log, state)
        if state.log is not None and state.log.since == 0 and state.log.key != self.log.key:
            raise Damaged(f"{self.store.name}: its entries name another key for {self.log.name!r} than was expected")
        return log_vkey(self.log.name, state)

    def _rows(self, start: int) -> Iterator[EntryRow]:
        size = self.store.size()
        for first in range(start, size, _CHUNK):
            self.progress(first, size)
            yield from self.store.entry_rows(first, min(first + _CHUNK, size))
        self.progress(size, size)
