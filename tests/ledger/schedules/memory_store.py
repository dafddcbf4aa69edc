"""`ledger.store.Store` on a simulated disk: a tenth of the cost, and its process can die at each write.

`tests/ledger/test_schedules_themselves.py` holds it against the real one: the same schedules take the same course.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from ledger.errors import Conflict, Damaged, NoSuchEntry, StoreError
from ledger.kept_bodies import Kept
from ledger.schema import SCHEMA_VERSION, row_crc32
from ledger.tiles import TILE_HEIGHT, Tile

from .disk import Disk, EntryRow, Tables

_KEPT_SNAPSHOTS = 2


def _overtaken() -> Conflict:
    return Conflict("memory: another process has written here; open the ledger again")


class MemoryTransaction:
    """As `ledger.transaction.Transaction`."""

    def __init__(self, tables: Tables) -> None:
        self._tables = tables

    def put_meta(self, values: Mapping[str, str]) -> None:
        if values.keys() & self._tables.meta.keys():
            raise _overtaken()
        self._tables.meta.update(values)

    def put_entries(self, rows: Sequence[tuple[int, bytes, bytes]], tiles: Sequence[Tile], accepted_s: int = 0) -> None:
        for index, digest, raw in rows:
            if index != len(self._tables.rows) or digest in self._tables.places:
                raise _overtaken()
            row = EntryRow(index, digest, raw, accepted_s, row_crc32(index, accepted_s))
            self._tables.rows += (row,)
            self._tables.places[digest] = index
        self._tables.tiles.update(tiles)

    def put_checkpoint(self, size: int, note: str) -> None:
        if size in self._tables.notes:
            raise _overtaken()
        self._tables.notes[size] = note

    def put_cosignatures(self, size: int, lines: Mapping[str, str]) -> None:
        for name, line in lines.items():
            self._tables.lines.setdefault((size, name), line)

    def put_evidence(self, kind: str, known: str, offered: str, raw: bytes = b"") -> None:
        if all(row[1:3] != (known, offered) for row in self._tables.evidence):
            self._tables.evidence += ((kind, known, offered, raw),)

    def set_aside(self, size: int) -> None:
        tables = self._tables
        tables.aside += tables.rows[size:]
        tables.rows = tables.rows[:size]
        tables.places = {row.digest: row.idx for row in tables.rows}
        tables.tiles = {
            (level, index): hashes
            for (level, index), hashes in tables.tiles.items()
            if (index + 1) << TILE_HEIGHT * (level + 1) <= size
        }
        tables.notes = {at: note for at, note in tables.notes.items() if at <= size}
        tables.lines = {(at, name): line for (at, name), line in tables.lines.items() if at <= size}
        tables.snapshots = {at: kept for at, kept in tables.snapshots.items() if at <= size}
        tables.audited = 0

    def put_snapshot(self, size: int, content: bytes, seal: bytes) -> None:
        self._tables.snapshots[size] = (content, seal)
        for old in sorted(self._tables.snapshots)[:-_KEPT_SNAPSHOTS]:
            del self._tables.snapshots[old]

    def put_audited(self, entries: int) -> None:
        self._tables.audited = entries

    def put_body(self, digest: bytes, envelope: bytes, owner: str = "") -> bool:
        return self._tables.bodies.setdefault(digest, envelope) is envelope

    def delete_body(self, digest: bytes, by: str = "") -> None:
        self._tables.bodies[digest] = b""

    def size(self) -> int:
        return len(self._tables.rows)


class MemoryStore:
    """As `ledger.store.Store`."""

    name = "memory"
    path = None

    def __init__(self, location: Disk | None, *, existing: bool = False, read_only: bool = False) -> None:
        self._disk = Disk() if location is None else location
        if existing and self._disk.is_blank:
            raise StoreError("memory: there is no ledger here; give the path of its database")

    @property
    def _tables(self) -> Tables:
        return self._disk.tables

    def create(self, meta: Mapping[str, str]) -> None:
        if not self._disk.is_blank:
            raise StoreError("memory: a ledger is already there; open it, or choose another place")
        with self.write() as transaction:
            transaction.put_meta({**meta, "schema": SCHEMA_VERSION})

    def is_empty(self) -> bool:
        return self._disk.is_blank

    def meta(self) -> dict[str, str]:
        return dict(self._tables.meta)

    @contextmanager
    def write(self) -> Iterator[MemoryTransaction]:
        with self._disk.writing():
            tables = self._tables.copy()
            yield MemoryTransaction(tables)
        self._disk.tables = tables
        self._disk.written()

    def read(self) -> Any:
        raise NotImplementedError("there is no SQL in memory")

    def lock(self) -> None:
        """Nobody is kept out: two processes on one database are a fault that schedules contain."""

    def unlock(self) -> None: ...

    def close(self) -> None: ...

    def backup(self, target: Any) -> None:
        raise NotImplementedError("copy the disk")

    def check_pages(self, *tables: str) -> None: ...

    def check_rows(self, table: Any) -> None: ...

    def size(self) -> int:
        return len(self._tables.rows)

    def entries(self, start: int, end: int) -> list[bytes]:
        return [row.raw for row in self.entry_rows(start, end)]

    def entry_rows(self, start: int, end: int) -> Sequence[EntryRow]:
        rows = self._tables.rows[start:end]
        if len(rows) != end - start:
            raise Damaged(f"memory: entry {start + len(rows)} is missing; restore the database from a mirror")
        return rows

    def indices(self, digests: Sequence[bytes]) -> dict[bytes, int]:
        places = self._tables.places
        return {digest: places[digest] for digest in digests if digest in places}

    def accepted(self, indices: Sequence[int]) -> dict[int, int]:
        if not all(0 <= index < self.size() for index in indices):
            raise NoSuchEntry("memory: one of these entries is not there")
        return {index: self._tables.rows[index].accepted_s for index in indices}

    def tile(self, level: int, index: int) -> bytes:
        return next(self.tiles(level, index, index + 1))

    def tiles(self, level: int, start: int, end: int) -> Iterator[bytes]:
        for index in range(start, end):
            yield self._tables.tiles[level, index]

    def checkpoints(self, start: int = 0, end: int | None = None) -> dict[int, str]:
        notes = self._tables.notes
        return {size: notes[size] for size in sorted(notes) if start <= size and (end is None or size <= end)}

    def checkpoint_at(self, size: int) -> str | None:
        return self._tables.notes.get(size)

    def latest_checkpoint(self) -> int:
        return max(self._tables.notes, default=0)

    def standing(self) -> tuple[int, str, int]:
        return self.size(), self.checkpoint_at(self.latest_checkpoint()) or "", len(self._tables.meta)

    def count_checkpoints(self) -> int:
        return len(self._tables.notes)

    def cosignatures(self, size: int) -> dict[str, str]:
        return {name: line for (at, name), line in sorted(self._tables.lines.items()) if at == size}

    def evidence(self) -> list[tuple[str, str, str]]:
        return [(kind, known, offered) for kind, known, offered, _ in self._tables.evidence]

    def evidence_files(self) -> list[bytes]:
        return [raw for _, _, _, raw in self._tables.evidence if raw]

    def snapshots(self) -> Iterator[tuple[int, bytes, bytes]]:
        for size in sorted(self._tables.snapshots, reverse=True):
            yield (size, *self._tables.snapshots[size])

    def audited(self) -> int:
        return self._tables.audited

    def put_body(self, digest: bytes, envelope: bytes, owner: str = "") -> bool:
        with self.write() as transaction:
            return transaction.put_body(digest, envelope, owner)

    def body(self, digest: bytes) -> bytes | None:
        return self._tables.bodies.get(digest) or None

    def kept(self, digests: Sequence[bytes]) -> dict[bytes, Kept]:
        bodies = self._tables.bodies
        return {digest: Kept(len(bodies[digest]), "") for digest in digests if digest in bodies}

    def bodies(self) -> Iterator[tuple[bytes, bytes, str]]:
        yield from ((digest, envelope, "") for digest, envelope in self._tables.bodies.items())

    def body_bytes(self, owner: str | None = None) -> int:
        return sum(map(len, self._tables.bodies.values()))

    def delete_body(self, digest: bytes, by: str = "") -> None:
        with self.write() as transaction:
            transaction.delete_body(digest, by)
