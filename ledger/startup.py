"""How a stored ledger is taken up again: from its newest sealed snapshot, on a tree that is recomputed from its tiles.

Every start hashes all tiles up to the snapshot's root, replays what came after it, and holds both against the log's
checkpoints. That costs about a second for a million entries. Reading each entry again costs more, and is done by
`ledger.entry_audit` in slices. Without a snapshot that holds, everything is replayed from the first byte.
"""

from collections.abc import Callable

from ledger.errors import Damaged
from ledger.keys import PublicKey
from ledger.merkle import leaf_hash
from ledger.note import Vkey
from ledger.replay import Replayed, replay
from ledger.snapshot import Snapshot, newest_snapshot
from ledger.store import Store
from ledger.tiles import TILE_BYTES, TILE_HASHES, RightEdge, tile_root

AUDITED_WHOLE = 50_000
"""Ledgers with fewer entries are read whole at every start."""


def resume(
    store: Store,
    cid: str,
    log: Vkey,
    key: PublicKey | None,
    *,
    at_snapshot: Callable[[Snapshot, RightEdge], None],
    at_entry: Callable[[Replayed], None],
    at_checkpoint: Callable[[Replayed], None],
) -> Replayed:
    """Where the ledger in `store` stands.

    Args:
        log: the key that the log was founded with.
        key: that seals this owner's snapshots; None for a checksum.
        at_snapshot: called with the snapshot and the tree's right edge there, when the replay starts from one.
        at_entry, at_checkpoint: as `ledger.replay.replay`, for what the replay passes.

    Raises:
        Damaged: names what is not what was written.
    """
    snapshot = newest_snapshot(store, log.name, key)
    if snapshot is None or snapshot.state.cid != cid:
        return replay(store, cid, log, verify_all=False, at_checkpoint=at_checkpoint, at_entry=at_entry)
    try:
        edge = edge_at(store, snapshot.state.size)
        if edge.root() != snapshot.root:
            raise Damaged(
                f"{store.name}: the first {edge.size} entries do not have the root under which they were closed; "
                "an entry was changed; restore the database from a mirror"
            )
        at_snapshot(snapshot, edge)
        start = Replayed(snapshot.state, edge)
        return replay(store, cid, log, verify_all=False, at_checkpoint=at_checkpoint, at_entry=at_entry, start=start)
    except Damaged:
        if store.size() < AUDITED_WHOLE:  # few enough to find out which entry it is
            replay(store, cid, log, verify_all=True, at_checkpoint=lambda _: None)
        raise


def edge_at(store: Store, size: int) -> RightEdge:
    """The right edge of the tree over the first `size` entries; every stored tile under it is recomputed.

    Raises:
        Damaged: names the tile that does not fit those below it.
    """
    roots = b"".join([tile_root(tile) for tile in store.tiles(0, 0, size // TILE_HASHES)])
    tail = [leaf_hash(raw) for raw in store.entries(size - size % TILE_HASHES, size)]
    partial, level = [b"".join(tail)] if size else [], 1
    while roots:
        full = len(roots) // TILE_BYTES
        for index, stored in enumerate(store.tiles(level, 0, full)):
            if stored != roots[index * TILE_BYTES : (index + 1) * TILE_BYTES]:
                raise Damaged(f"{store.name}: tile {level}/{index} does not fit those below it; restore from a mirror")
        partial.append(roots[full * TILE_BYTES :])
        above = [tile_root(roots[at : at + TILE_BYTES]) for at in range(0, full * TILE_BYTES, TILE_BYTES)]
        roots, level = b"".join(above), level + 1
    return RightEdge.of(tuple(partial))
