"""What is written to a stored log, each write inside one transaction.

Append-only by construction: nothing here updates an entry, a tile, a checkpoint or a cosignature, and only `set_aside`
takes any out, which a log never calls. Only the newest snapshots and the newest note of an audit's progress are kept:
they follow from the rest.
"""

from collections.abc import Mapping, Sequence

import sqlalchemy as sa

from ledger import sqlite
from ledger.schema import (
    AUDITS,
    BODIES,
    CHECKPOINTS,
    COSIGNATURES,
    ENTRIES,
    EVIDENCE,
    META,
    SET_ASIDE,
    SNAPSHOTS,
    TILES,
    checked,
    row_crc32,
)
from ledger.tiles import TILE_HEIGHT, Tile

_KEPT_SNAPSHOTS = 2


class Transaction:
    """The writes of one transaction; all of them happen, or none."""

    def __init__(self, connection: sa.Connection) -> None:
        self._connection = connection

    def put_meta(self, values: Mapping[str, str]) -> None:
        """Add facts about the log itself."""
        rows = [checked(META, key=key, value=value) for key, value in values.items()]
        self._connection.execute(sa.insert(META), rows)

    def put_entries(self, rows: Sequence[tuple[int, bytes, bytes]], tiles: Sequence[Tile], accepted_s: int = 0) -> None:
        """Add entries `(index, digest, raw)` and the tiles that they fill.

        Args:
            accepted_s: when the sequencer took them, in seconds since the epoch; 0 in a mirror.
        """
        self._connection.execute(
            sa.insert(ENTRIES),
            [
                {
                    "idx": index,
                    "digest": digest,
                    "raw": raw,
                    "accepted_s": accepted_s,
                    "crc32": row_crc32(index, accepted_s),
                }
                for index, digest, raw in rows
            ],
        )
        if tiles:
            self._connection.execute(
                sa.insert(TILES),
                [{"level": level, "idx": idx, "hashes": hashes} for (level, idx), hashes in tiles],
            )

    def put_checkpoint(self, size: int, note: str) -> None:
        """Add the log's signed checkpoint at `size`."""
        self._connection.execute(sa.insert(CHECKPOINTS), checked(CHECKPOINTS, size=size, note=note))

    def put_cosignatures(self, size: int, lines: Mapping[str, str]) -> None:
        """Add cosignature lines by key name; a name that has one already keeps it."""
        known = set(self._connection.scalars(sa.select(COSIGNATURES.c.name).where(COSIGNATURES.c.size == size)))
        fresh = [checked(COSIGNATURES, size=size, name=n, line=line) for n, line in lines.items() if n not in known]
        if fresh:
            self._connection.execute(sa.insert(COSIGNATURES), fresh)

    def put_evidence(self, kind: str, known: str, offered: str, raw: bytes = b"") -> None:
        """Keep two checkpoint notes that cannot both be honest, and the file that shows it; once for each pair."""
        pair = sa.and_(EVIDENCE.c.known == known, EVIDENCE.c.offered == offered)
        if self._connection.scalar(sa.select(sa.func.count()).select_from(EVIDENCE).where(pair)):
            return
        number = self._next_number(EVIDENCE)
        row = checked(EVIDENCE, number=number, kind=kind, known=known, offered=offered, raw=raw)
        self._connection.execute(sa.insert(EVIDENCE), row)

    def set_aside(self, size: int) -> None:
        """Take all that is beyond `size` out of a mirror, whose log has gone on another way; entries are kept aside."""
        beyond = self._connection.execute(sa.select(ENTRIES).where(ENTRIES.c.idx >= size).order_by(ENTRIES.c.idx)).all()
        first = self._next_number(SET_ASIDE)
        rows = [
            checked(SET_ASIDE, number=number, idx=row.idx, digest=row.digest, raw=row.raw)
            for number, row in enumerate(beyond, start=first)
        ]
        if rows:
            self._connection.execute(sa.insert(SET_ASIDE), rows)
        self._connection.execute(sa.delete(ENTRIES).where(ENTRIES.c.idx >= size))
        for level in range(size.bit_length() // TILE_HEIGHT + 2):
            full = size >> TILE_HEIGHT * (level + 1)
            self._connection.execute(sa.delete(TILES).where(TILES.c.level == level, TILES.c.idx >= full))
        for table in (CHECKPOINTS, COSIGNATURES, SNAPSHOTS):
            self._connection.execute(sa.delete(table).where(table.c.size > size))
        self._connection.execute(sa.delete(AUDITS))

    def put_snapshot(self, size: int, content: bytes, seal: bytes) -> None:
        """Keep the state after `size` entries, and of the older ones only the newest."""
        stored = sorted(self._connection.scalars(sa.select(SNAPSHOTS.c.size)))
        if size in stored:
            self._connection.execute(sa.delete(SNAPSHOTS).where(SNAPSHOTS.c.size == size))
            stored.remove(size)
        old = stored[: max(0, len(stored) + 1 - _KEPT_SNAPSHOTS)]
        self._connection.execute(sa.delete(SNAPSHOTS).where(SNAPSHOTS.c.size.in_(old)))
        self._connection.execute(sa.insert(SNAPSHOTS), {"size": size, "content": content, "seal": seal})

    def put_audited(self, entries: int) -> None:
        """Note that the running audit has found entries 0 to `entries - 1` sound."""
        self._connection.execute(sa.delete(AUDITS))
        self._connection.execute(sa.insert(AUDITS), checked(AUDITS, entries=entries))

    def put_body(self, digest: bytes, envelope: bytes, owner: str = "") -> bool:
        """Keep the encrypted body of the statement with this digest; one that is there, or was erased, stays so.

        Args:
            owner: who handed it in.

        Returns:
            Whether it is new.
        """
        if self._connection.scalar(sa.select(BODIES.c.digest).where(BODIES.c.digest == digest)) is not None:
            return False
        self._connection.execute(sa.insert(BODIES), checked(BODIES, digest=digest, envelope=envelope, owner=owner))
        return True

    def delete_body(self, digest: bytes, by: str = "") -> None:
        """Forget the body of the statement with this digest; the statement stays, and an empty row in the body's place.

        Args:
            by: who had it erased.
        """
        with sqlite.erasing(self._connection):
            self._connection.execute(sa.delete(BODIES).where(BODIES.c.digest == digest))
        self._connection.execute(sa.insert(BODIES), checked(BODIES, digest=digest, envelope=b"", owner=by))

    def _next_number(self, table: sa.Table) -> int:
        return (self._connection.scalar(sa.select(sa.func.max(table.c.number))) or 0) + 1

    def size(self) -> int:
        """Number of entries, as this transaction sees it."""
        return count_entries(self._connection)


def count_entries(connection: sa.Connection) -> int:
    """Number of entries: one more than the last one's place."""
    last = connection.scalar(sa.select(sa.func.max(ENTRIES.c.idx)))
    return 0 if last is None else int(last) + 1
