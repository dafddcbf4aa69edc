"""Where a schedule's databases stand: in memory, or in SQLite files through the ledger's own store."""

import itertools
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any, Protocol

from ledger.log import Log
from ledger.rules import LOG
from ledger.schema import CHECKPOINTS, COSIGNATURES, EVIDENCE, SET_ASIDE
from ledger.store import Store
from ledger.transaction import Transaction

from .cast import CID, ORIGIN, founding, key_of
from .clock import Clock, Time
from .disk import Disk, EntryRow, Tables
from .memory_store import MemoryStore

_COPIES = itertools.count()  # counting the folder's files would give a name twice: SQLite's come and go


class Storage(Protocol):
    """What makes disks, and the store that a ledger has on them.

    Attributes:
        store: takes the place of `ledger.store.Store`; its location is a disk.
    """

    store: Any

    def disk(self) -> Disk: ...
    def founded(self, members: int) -> Disk: ...


def _found(disk: Disk, members: int) -> Disk:
    """Let a log found the consortium on this disk, and close with its first checkpoint."""
    with Log.create(disk, ORIGIN, key_of(LOG), Clock(Time()), cid=CID) as log:  # type: ignore[arg-type]
        log.append(founding(members))
        log.checkpoint()
    return disk


class InMemory:
    """Disks in memory; a founding is done once and copied."""

    store = MemoryStore

    def disk(self) -> Disk:
        return Disk()

    def founded(self, members: int) -> Disk:
        return _founded(members).copy()


@cache
def _founded(members: int) -> Disk:
    return _found(Disk(), members)


class FileDisk(Disk):
    """An SQLite file."""

    def __init__(self, path: Path) -> None:
        self._path = path
        super().__init__()

    @property
    def path(self) -> Path:
        return self._path

    @property
    def tables(self) -> Tables:
        """What has been committed, as far as an observer asks for it."""
        if not self._path.exists():
            return Tables()
        store = Store(self._path)
        try:
            if store.is_empty():
                return Tables()
            with store.read() as connection:
                lines = {(row.size, row.name): row.line for row in connection.execute(COSIGNATURES.select())}
                notes = {row.size: row.note for row in connection.execute(CHECKPOINTS.select())}
                evidence = tuple((r.kind, r.known, r.offered, r.raw) for r in connection.execute(EVIDENCE.select()))
                aside = tuple(EntryRow(r.idx, r.digest, r.raw, 0, 0) for r in connection.execute(SET_ASIDE.select()))
            rows = tuple(EntryRow(*row) for row in store.entry_rows(0, store.size()))
            return Tables(meta=store.meta(), rows=rows, lines=lines, notes=notes, evidence=evidence, aside=aside)
        finally:
            store.close()

    @tables.setter
    def tables(self, tables: Tables) -> None:
        """Nothing to do: the file is written by its store."""

    def copy(self) -> Disk:
        copy = FileDisk(self._path.with_name(f"copy-{next(_COPIES)}-{self._path.name}"))
        if not self.is_blank:
            store = Store(self._path)
            store.backup(copy.path)
            store.close()
        return copy


class FileStore(Store):
    """The ledger's own store, whose process can die at each write."""

    def __init__(self, location: FileDisk, *, existing: bool = False, read_only: bool = False) -> None:
        self._disk = location
        super().__init__(location.path, existing=existing, read_only=read_only)

    def create(self, meta: Mapping[str, str]) -> None:
        with self._disk.writing():
            pass
        super().create(meta)
        self._disk.written()

    def lock(self) -> None:
        """Nobody is kept out: two processes on one database are a fault that schedules contain."""

    @contextmanager
    def write(self) -> Iterator[Transaction]:
        with super().write() as transaction, self._disk.writing():
            yield transaction
        self._disk.written()


class InFiles:
    """Disks in a directory."""

    store = FileStore

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._count = 0

    def disk(self) -> Disk:
        self._count += 1
        return FileDisk(self._directory / f"{self._count}.db")

    def founded(self, members: int) -> Disk:
        return _found(self.disk(), members)
