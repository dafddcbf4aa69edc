"""What a stored log holds, read back: nothing is handed out that is visibly not what was written."""

from collections.abc import Iterator, Sequence
from contextlib import suppress
from typing import Any, TypeAlias

import sqlalchemy as sa

from ledger.database import Database
from ledger.errors import Damaged, NoSuchEntry
from ledger.kept_bodies import Kept
from ledger.schema import (
    AUDITS,
    BODIES,
    CHECKPOINTS,
    COSIGNATURES,
    ENTRIES,
    EVIDENCE,
    META,
    SNAPSHOTS,
    TILES,
    is_intact,
)
from ledger.tiles import TILE_BYTES
from ledger.transaction import count_entries

_MAX_VARIABLES = 400
_TILES_AT_ONCE = 256
_NEWEST_LINES = 2_000

_STANDING = sa.select(
    sa.select(sa.func.max(ENTRIES.c.idx)).scalar_subquery(),
    sa.select(CHECKPOINTS.c.note).order_by(CHECKPOINTS.c.size.desc()).limit(1).scalar_subquery(),
    sa.select(sa.func.count()).select_from(META).scalar_subquery(),
)

EntryRow: TypeAlias = "sa.Row[Any]"
"""A row of the table of entries: `idx`, `digest`, `raw`, `accepted_s`, `crc32`."""


class Store(Database):
    """The tables of one log, or of one member's mirror of it."""

    def size(self) -> int:
        """Number of entries."""
        with self.read() as connection:
            return count_entries(connection)

    def entries(self, start: int, end: int) -> list[bytes]:
        """Entries `start` to `end - 1`.

        Raises:
            Damaged: one of them is missing.
        """
        return [row.raw for row in self.entry_rows(start, end)]

    def entry_rows(self, start: int, end: int) -> Sequence[EntryRow]:
        """Entries `start` to `end - 1` with all that stands beside them, as `entries`."""
        query = sa.select(ENTRIES).where(ENTRIES.c.idx >= start, ENTRIES.c.idx < end).order_by(ENTRIES.c.idx)
        with self.read() as connection:
            rows = connection.execute(query).all()
        place = start
        for row in rows:
            if row.idx != place or type(row.raw) is not bytes:
                break
            place += 1
        if place != end:
            raise Damaged(f"{self.name}: entry {place} is missing; restore the database from a mirror")
        return rows

    def indices(self, digests: Sequence[bytes]) -> dict[bytes, int]:
        """The entries that statements with these digests became."""
        found: dict[bytes, int] = {}
        with self.read() as connection:
            for start in range(0, len(digests), _MAX_VARIABLES):
                batch = digests[start : start + _MAX_VARIABLES]
                query = sa.select(ENTRIES.c.digest, ENTRIES.c.idx).where(ENTRIES.c.digest.in_(batch))
                found.update(connection.execute(query).all())
        return found

    def accepted(self, indices: Sequence[int]) -> dict[int, int]:
        """When the sequencer took these entries, in seconds since the epoch; 0 in a mirror.

        Raises:
            NoSuchEntry: one of them is not there.
            Damaged: a time is not what was written.
        """
        times: dict[int, int] = {}
        columns = ENTRIES.c.idx, ENTRIES.c.accepted_s, ENTRIES.c.crc32
        with self.read() as connection:
            for start in range(0, len(indices), _MAX_VARIABLES):
                wanted = ENTRIES.c.idx.in_(indices[start : start + _MAX_VARIABLES])
                for row in connection.execute(sa.select(*columns).where(wanted)):
                    self._require_intact(ENTRIES, row, f"the time of entry {row.idx}")
                    times[row.idx] = row.accepted_s
        for index in indices:
            if index not in times:
                raise NoSuchEntry(f"{self.name}: there is no entry {index}")
        return times

    def tile(self, level: int, index: int) -> bytes:
        """The full tile `(level, index)`, 8192 bytes.

        Raises:
            Damaged: it is missing.
        """
        return next(self.tiles(level, index, index + 1))

    def tiles(self, level: int, start: int, end: int) -> Iterator[bytes]:
        """Full tiles `start` to `end - 1` of a level, as `tile`."""
        for first in range(start, end, _TILES_AT_ONCE):
            last = min(first + _TILES_AT_ONCE, end)
            query = sa.select(TILES.c.idx, TILES.c.hashes).where(
                TILES.c.level == level, TILES.c.idx >= first, TILES.c.idx < last
            )
            with self.read() as connection:
                found = dict(connection.execute(query).all())
            for index in range(first, last):
                hashes = found.get(index)
                if not isinstance(hashes, bytes) or len(hashes) != TILE_BYTES:
                    raise Damaged(f"{self.name}: tile {level}/{index} is missing; restore the database from a mirror")
                yield hashes

    def checkpoints(self, start: int = 0, end: int | None = None) -> dict[int, str]:
        """The log's own signed notes over `start` to `end` entries, by size, smallest first.

        Raises:
            Damaged: one is not what was written.
        """
        query = sa.select(CHECKPOINTS).where(CHECKPOINTS.c.size >= start).order_by(CHECKPOINTS.c.size)
        with self.read() as connection:
            rows = connection.execute(query if end is None else query.where(CHECKPOINTS.c.size <= end)).all()
        for row in rows:
            self._require_intact(CHECKPOINTS, row, f"checkpoint {row.size}")
        return {row.size: row.note for row in rows}

    def cosigned(self, start: int, most: int) -> list[int]:
        """The sizes of the first `most` checkpoints over at least `start` entries that somebody has cosigned."""
        sizes = sa.select(COSIGNATURES.c.size).where(COSIGNATURES.c.size >= start).distinct()
        with self.read() as connection:
            return list(connection.scalars(sizes.order_by(COSIGNATURES.c.size).limit(most)))

    def newest_cosigners(self) -> dict[str, int]:
        """By key name, the size of the newest checkpoint with a line of it, as far as the last lines go back."""
        lines = sa.select(COSIGNATURES.c.name, COSIGNATURES.c.size).order_by(COSIGNATURES.c.size.desc())
        found: dict[str, int] = {}
        with self.read() as connection:
            for name, size in connection.execute(lines.limit(_NEWEST_LINES)):
                found.setdefault(name, size)
        return found

    def checkpoint_at(self, size: int) -> str | None:
        """The log's own signed note over `size` entries, or None."""
        return self.checkpoints(size, size).get(size)

    def latest_checkpoint(self) -> int:
        """The size of the newest checkpoint, or 0."""
        with self.read() as connection:
            return connection.scalar(sa.select(sa.func.max(CHECKPOINTS.c.size))) or 0

    def standing(self) -> tuple[int, str, int]:
        """How far it reaches: the number of entries, the newest checkpoint ("" before the first), the number of facts.

        One question instead of three: a mirror that wakes asks it. Whether all is what was written is not checked.
        """
        with self.read() as connection:
            row = connection.execute(_STANDING).one()
        return (0 if row[0] is None else row[0] + 1), row[1] or "", row[2]

    def count_checkpoints(self) -> int:
        """How many checkpoints there are."""
        with self.read() as connection:
            return connection.scalar(sa.select(sa.func.count()).select_from(CHECKPOINTS)) or 0

    def cosignatures(self, size: int) -> dict[str, str]:
        """Cosignature lines on the checkpoint at `size`, by key name.

        Raises:
            Damaged: one is not what was written.
        """
        query = sa.select(COSIGNATURES).where(COSIGNATURES.c.size == size)
        with self.read() as connection:
            rows = connection.execute(query.order_by(COSIGNATURES.c.name)).all()
        for row in rows:
            self._require_intact(COSIGNATURES, row, f"a cosignature on checkpoint {size}")
        return {row.name: row.line for row in rows}

    def evidence(self) -> list[tuple[str, str, str]]:
        """Kept signs of misbehaviour: `(kind, known note, offered note)`, oldest first."""
        return [(row.kind, row.known, row.offered) for row in self._evidence()]

    def evidence_files(self) -> list[bytes]:
        """The files of those that prove it to others, oldest first."""
        return [row.raw for row in self._evidence() if row.raw]

    def snapshots(self) -> Iterator[tuple[int, bytes, bytes]]:
        """`(size, content, seal)` of the kept snapshots, newest first; nothing vouches for them but the seal."""
        with self.read() as connection:
            sizes = list(connection.scalars(sa.select(SNAPSHOTS.c.size).order_by(SNAPSHOTS.c.size.desc())))
        for size in sizes:
            row = None
            with suppress(Damaged), self.read() as connection:  # one that cannot be read is as good as none
                row = connection.execute(sa.select(SNAPSHOTS).where(SNAPSHOTS.c.size == size)).one_or_none()
            if row is not None and type(row.content) is type(row.seal) is bytes:
                yield row.size, row.content, row.seal

    def audited(self) -> int:
        """How many entries the audit that was left unfinished has found sound; 0 if none was or if it is not known."""
        with self.read() as connection:
            rows = connection.execute(sa.select(AUDITS)).all()
        return max((row.entries for row in rows if is_intact(AUDITS, row)), default=0)

    def put_body(self, digest: bytes, envelope: bytes, owner: str = "") -> bool:
        """Keep the encrypted body of a statement; see `ledger.transaction.Transaction.put_body`."""
        with self.write() as transaction:
            return transaction.put_body(digest, envelope, owner)

    def body(self, digest: bytes) -> bytes | None:
        """The encrypted body of the statement with this digest; None if it is missing or was erased.

        Raises:
            Damaged: it is not what was written.
        """
        with self.read() as connection:
            row = connection.execute(sa.select(BODIES).where(BODIES.c.digest == digest)).one_or_none()
        if row is None:
            return None
        self._require_intact(BODIES, row, f"the body of statement {digest.hex()}")
        return bytes(row.envelope) or None

    def kept(self, digests: Sequence[bytes]) -> dict[bytes, Kept]:
        """What is kept of the bodies of the statements with these digests; of those that are missing, nothing.

        Raises:
            Damaged: a body is said to be erased by what is not what was written.
        """
        found: dict[bytes, Kept] = {}
        size = sa.func.length(BODIES.c.envelope)
        with self.read() as connection:
            for start in range(0, len(digests), _MAX_VARIABLES):
                wanted = BODIES.c.digest.in_(digests[start : start + _MAX_VARIABLES])
                for row in connection.execute(sa.select(BODIES.c.digest, size, BODIES.c.owner).where(wanted)):
                    found[row[0]] = Kept(row[1], row[2])
                for row in connection.execute(sa.select(BODIES).where(wanted, size == 0)):
                    self._require_intact(BODIES, row, f"that the body of statement {row.digest.hex()} was erased")
        return found

    def bodies(self) -> Iterator[tuple[bytes, bytes, str]]:
        """All rows of bodies, erased ones too, as `ledger.transaction.Transaction.put_body` takes them.

        Raises:
            Damaged: one is not what was written.
        """
        with self.read() as connection:
            for row in connection.execute(sa.select(BODIES).execution_options(yield_per=16)):
                self._require_intact(BODIES, row, f"the body of statement {row.digest!r}")
                yield row.digest, row.envelope, row.owner

    def body_bytes(self, owner: str | None = None) -> int:
        """How many bytes the bodies have, all together or those of one owner."""
        query = sa.select(sa.func.sum(sa.func.length(BODIES.c.envelope)))
        with self.read() as connection:
            return connection.scalar(query if owner is None else query.where(BODIES.c.owner == owner)) or 0

    def delete_body(self, digest: bytes, by: str = "") -> None:
        """Forget the body of a statement for good; see `ledger.transaction.Transaction.delete_body`."""
        with self.write() as transaction:
            transaction.delete_body(digest, by)
        self.forget_deleted()

    def check_rows(self, table: sa.Table) -> None:
        """Hold every row of a table against its check sum.

        Raises:
            Damaged: names the first that is not what was written.
        """
        with self.read() as connection:
            for row in connection.execute(sa.select(table).execution_options(yield_per=1000)):
                self._require_intact(table, row, f"a row of the table {table.name} ({row[0]!r})")

    def _evidence(self) -> Sequence["sa.Row[Any]"]:
        with self.read() as connection:
            rows = connection.execute(sa.select(EVIDENCE).order_by(EVIDENCE.c.number)).all()
        for row in rows:
            self._require_intact(EVIDENCE, row, f"evidence {row.number}")
        return rows

    def _require_intact(self, table: sa.Table, row: Any, what: str) -> None:
        if not is_intact(table, row):
            raise Damaged(f"{self.name}: {what} is not what was written; restore the database from a mirror")
