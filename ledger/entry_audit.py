"""The part of a start-up audit that reads every entry: in slices of time, and where it stopped last time.

Each entry is hashed against the tiles, its digest is computed anew and looked up as a resubmission would, and the
checkpoints on the way are held against the tree. The tiles themselves must be known to be sound.
"""

import hashlib
from collections.abc import Callable

from ledger.checkpoint import SignedCheckpoint
from ledger.errors import Damaged
from ledger.merkle import leaf_hash, root_at
from ledger.note import NoteError
from ledger.schema import BODIES, CHECKPOINTS, COSIGNATURES, ENTRIES, EVIDENCE, is_intact
from ledger.statement import StatementError, decode_statement
from ledger.store import EntryRow, Store
from ledger.tiles import TILE_HASHES, RightEdge, TileReader

_CHUNK = 4 * TILE_HASHES
_SMALL_TABLES = (CHECKPOINTS, COSIGNATURES, EVIDENCE)
_MOST_BODY_BYTES = 1 << 28


class EntryAudit:
    """An audit of the entries of one store, from the first to the last.

    Attributes:
        audited: entries 0 to `audited - 1` have been found sound.
    """

    def __init__(self, store: Store, start: int, end: int, timer: Callable[[], float]) -> None:
        """An audit that has found `start` entries sound already, of `end` that are to be read."""
        self.audited = start
        self._end = end
        self._store = store
        self._timer = timer
        self._tiles = TileReader(store.tile)

    @property
    def unfinished(self) -> bool:
        """Whether there are entries still to be read."""
        return self.audited < self._end

    def run(self, edge: RightEdge, budget_s: float | None) -> bool:
        """Go on for `budget_s` seconds (to the end when None); say whether there is more to do.

        Args:
            edge: the right edge of the tree now.

        Raises:
            Damaged: names the first thing that is not what was written.
        """
        begun = self._timer()
        if not self.unfinished:
            return False
        while self.unfinished and (budget_s is None or self._timer() - begun < budget_s):
            end = min(self.audited - self.audited % _CHUNK + _CHUNK, self._end)
            self._check_entries(self.audited, end, edge)
            self._check_checkpoints(self.audited, end, edge)
            self.audited = end
        if not self.unfinished:
            self._check_the_rest()
        return self.unfinished

    def keep_progress(self) -> None:
        """Note durably how far it is. A finished audit leaves nothing behind: the next start begins anew."""
        reached = self.audited if self.unfinished else 0
        if reached != self._store.audited():
            with self._store.write() as transaction:
                transaction.put_audited(reached)

    def _check_entries(self, start: int, end: int, edge: RightEdge) -> None:
        rows = self._store.entry_rows(start, end)
        leaves = b"".join([leaf_hash(row.raw) for row in rows])
        stored = self._leaves(start, end, edge)
        if leaves != stored:
            place = next(at for at in range(end - start) if leaves[32 * at :][:32] != stored[32 * at :][:32])
            raise self._damaged(f"entry {start + place} is not what was written")
        places = self._store.indices([row.digest for row in rows])
        for row in rows:
            if _digest_of(row) != row.digest:
                raise self._damaged(f"entry {row.idx} stands under a digest that is not its own")
            if places.get(row.digest) != row.idx:
                raise self._damaged(f"entry {row.idx} is not found by its digest: the index of digests is broken")
            if not is_intact(ENTRIES, row):
                raise self._damaged(f"the time of entry {row.idx} is not what was written")

    def _leaves(self, start: int, end: int, edge: RightEdge) -> bytes:
        """The leaf hashes of entries `start` to `end - 1`, from the tiles."""
        first, full = start // TILE_HASHES, edge.size // TILE_HASHES
        last = -(-end // TILE_HASHES)
        joined = b"".join(self._store.tiles(0, first, min(last, full)))
        if last > full:
            joined += edge.partial[0]
        begin = 32 * (start - first * TILE_HASHES)
        return joined[begin : begin + 32 * (end - start)]

    def _check_checkpoints(self, start: int, end: int, edge: RightEdge) -> None:
        for size, note in self._store.checkpoints(start + 1, end).items():
            try:
                checkpoint = SignedCheckpoint.parse(note).checkpoint
            except NoteError as error:
                raise self._damaged(f"checkpoint {size} is not what was written: {error}") from None
            if (checkpoint.size, checkpoint.root) != (size, root_at(size, self._tiles.fetch(edge))):
                raise self._damaged(f"checkpoint {size} does not fit the first {size} entries")

    def _check_the_rest(self) -> None:
        for table in _SMALL_TABLES:
            self._store.check_rows(table)
        self._store.check_pages(*(table.name for table in _SMALL_TABLES))
        if self._store.body_bytes() <= _MOST_BODY_BYTES:  # more are held against their check sums when they are read
            self._store.check_rows(BODIES)
            self._store.check_pages(BODIES.name)

    def _damaged(self, what: str) -> Damaged:
        return Damaged(f"{self._store.name}: {what}; restore the database from a mirror")


def _digest_of(row: EntryRow) -> bytes:
    """The digest of an entry whose bytes are known to be a statement's."""
    digest = _quick_digest(row.raw)
    if digest == row.digest:
        return digest
    try:
        return decode_statement(row.raw).digest
    except StatementError:
        return b""


def _quick_digest(raw: bytes) -> bytes:
    """`Statement.digest`, cut out of the bytes: the parts of a deterministic Sig_structure stand in the message."""
    _, protected_end = _byte_string(raw, 2)
    payload_start = protected_end + 1
    content_start, payload_end = _byte_string(raw, payload_start)
    if raw[content_start : content_start + 2] == b"\xd2\x84":  # by a hybrid key: the message in it is what counts
        return _quick_digest(raw[content_start:payload_end])
    signed = b"\x84\x6aSignature1" + raw[2:protected_end] + b"\x40" + raw[payload_start:payload_end]
    return hashlib.sha256(signed).digest()


def _byte_string(raw: bytes, start: int) -> tuple[int, int]:
    """Where the content of the CBOR byte string at `start` begins, and where it ends."""
    length, content = raw[start] & 31, start + 1
    if length >= 24:
        content += 1 << (length - 24)
        length = int.from_bytes(raw[start + 1 : content], "big")
    return content, content + length
