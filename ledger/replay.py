"""Read a stored log from its first byte, and trust nothing that was not recomputed."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from ledger.checkpoint import SignedCheckpoint
from ledger.errors import Damaged, LedgerError
from ledger.merkle import Frontier, Node, leaf_hash
from ledger.note import Vkey
from ledger.rules import Refused, State, admit, apply, initial
from ledger.statement import Statement, StatementError, decode_statement
from ledger.store import Store

_CHUNK = 1024


@dataclass(frozen=True)
class Replayed:
    """Where a log stands after so many entries.

    Attributes:
        state: what the rules make of the entries.
        frontier: the right edge of the Merkle tree.
    """

    state: State
    frontier: Frontier


def step(at: Replayed, statement: Statement, *, verify: bool) -> tuple[Replayed, list[tuple[Node, bytes]]]:
    """Take one more entry: its rules, its place in the tree, and, if `verify`, its signature.

    Returns:
        The position after it, and the tree hashes that it completed.

    Raises:
        Refused: it breaks a rule.
    """
    state = (admit if verify else apply)(at.state, statement, at.state.size)
    frontier, nodes = at.frontier.append(leaf_hash(statement.raw))
    return Replayed(state, frontier), nodes


def replay(
    store: Store, cid: str, log: Vkey, *, verify_all: bool, at_checkpoint: Callable[[Replayed], None]
) -> Replayed:
    """Recompute the tree and the state of everything in `store`, and hold its checkpoints against them.

    Args:
        verify_all: check every signature; otherwise only those of entries that no checkpoint of the log
            covers yet, because a checkpoint is only ever signed over checked entries.
        at_checkpoint: called with the position at each checkpoint, in order.

    Raises:
        Damaged: names the first entry, tree hash or checkpoint that is not what was written.
    """
    notes = store.checkpoints()
    covered = 0 if verify_all else max(notes, default=0)
    try:
        end = _walk(store, cid, log, notes, covered, at_checkpoint)
    except _RootDiffers as error:
        if not verify_all:  # the whole tree was changed to fit: only a signature can tell which entry it was
            _walk(store, cid, log, {}, store.size(), lambda _: None, verify_before=store.size())
        raise Damaged(str(error)) from None
    beyond = [size for size in notes if size > end.state.size]
    if beyond:
        raise Damaged(
            f"{store.name}: checkpoint {beyond[-1]} covers entries that are missing; "
            f"entry {end.state.size} is the first; restore the database from a mirror"
        )
    return end


class _RootDiffers(Exception):
    pass


def _walk(
    store: Store,
    cid: str,
    log: Vkey,
    notes: dict[int, str],
    covered: int,
    at_checkpoint: Callable[[Replayed], None],
    *,
    verify_before: int = 0,
) -> Replayed:
    at = Replayed(initial(cid), Frontier())
    for index, digest, raw, stored in _stored(store):
        if stored.get((0, index)) != leaf_hash(raw):
            raise Damaged(f"{store.name}: entry {index} is not what was written; restore it from a mirror")
        try:
            statement = decode_statement(raw)
            at, nodes = step(at, statement, verify=index >= covered or index < verify_before)
        except (Refused, StatementError) as error:
            raise Damaged(f"{store.name}: entry {index} cannot have been accepted: {error}") from None
        if statement.digest != digest:
            raise Damaged(f"{store.name}: entry {index} stands under a digest that is not its own")
        for (level, place), expected in nodes:
            if stored.get((level, place)) != expected:
                raise Damaged(f"{store.name}: tree hash {level}/{place} above entry {index} is not what was written")
        note = notes.get(index + 1)
        if note is not None:
            _check_note(store, note, log, index + 1, at.frontier.root())
            at_checkpoint(at)
    return at


def _stored(store: Store) -> Iterator[tuple[int, bytes, bytes, dict[Node, bytes]]]:
    size = store.size()
    for start in range(0, size, _CHUNK):
        end = min(start + _CHUNK, size)
        nodes = store.nodes_completed_by(start, end)
        for index, (digest, raw) in enumerate(store.entry_rows(start, end), start=start):
            yield index, digest, raw, nodes


def _check_note(store: Store, note: str, log: Vkey, size: int, root: bytes) -> None:
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
