"""A firm's tables as rounds need them: read again when they may have changed, the same all through a stream."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from clients.data import Table
from clients.firm_tasks import DeclaredTask, PrivateTask
from clients.kept_records import KeptRecords, Records, records_of
from clients.table_source import Mark, source_of

Encode = Callable[[DeclaredTask, Table], PrivateTask]


@dataclass(frozen=True)
class Stream:
    """A stream of correlated noise, every row of which needs the records of its first.

    Attributes:
        name: 32 bytes, see `clients.offer.Offer.stream`.
        begins: whether this is the first row.
    """

    name: bytes
    begins: bool


@dataclass(frozen=True)
class _Read:
    """A table that was read and encoded: in which state, and of which records, where a stream began with them."""

    mark: Mark | None
    private: PrivateTask
    records: Records | None


class PrivateTables:
    """The tables of a firm's tasks.

    What a process has read it keeps while the file stays as it is. Nothing of a table is copied to a disk: what keeps
    a stream to its records are hashes.
    """

    def __init__(
        self,
        home: Path,
        kept: Callable[[str], Path | None],
        secret: Callable[[], bytes],
        encode: Encode,
        before: Callable[[], None],
    ) -> None:
        """Read nothing yet.

        Args:
            kept: the file for a task's kept records; None to keep them in memory.
            secret: the key of their hashes.
            encode: makes a task's examples of its table.
            before: called before a table is read, which may take long.
        """
        self._home, self._kept_at, self._secret, self._encode, self._before = home, kept, secret, encode, before
        self._read: dict[str, _Read] = {}
        self._fitting: dict[str, Mark] = {}
        self._kept: dict[str, KeptRecords] = {}
        self._held: dict[str, tuple[bytes, Mark, PrivateTask]] = {}

    def require_fits(self, declared: DeclaredTask) -> None:
        """Insist that a table fits its spec; one that has not changed since it did is not read again.

        Raises:
            TableInvalid, TableUnreadable: it does not.
        """
        mark, known = self._mark(declared), self._read.get(declared.name)
        if mark is not None and mark in (known and known.mark, self._fitting.get(declared.name)):
            return
        self._table(declared)
        if mark is not None:
            self._fitting[declared.name] = mark

    def task(self, declared: DeclaredTask, stream: Stream | None = None) -> PrivateTask:
        """A task with its table: as it is now, or with the records with which a stream began.

        Raises:
            TableInvalid, TableUnreadable: what is wrong with it.
            DealtOtherwise: some of the stream's records are no more in it.
        """
        if stream is None:
            return self._newest(declared).private
        kept = self._kept.setdefault(declared.name, KeptRecords(self._kept_at(declared.name), self._secret))
        if stream.begins:
            read = self._newest(declared, with_records=True)
            assert read.records is not None
            kept.begin(stream.name, read.records)
            self._hold(declared, stream, read.mark, read.private)
            return read.private
        mark, held = self._mark(declared), self._held.get(declared.name)
        if held is not None and mark is not None and held[:2] == (stream.name, mark):
            return held[2]
        table = self._table(declared)
        order = kept.order(stream.name, records_of(table))
        private = self._encode(declared, table if order is None else table.take(order))
        self._hold(declared, stream, mark, private)
        return private

    def _newest(self, declared: DeclaredTask, with_records: bool = False) -> _Read:
        mark, known = self._mark(declared), self._read.get(declared.name)
        if known is None or mark is None or known.mark != mark or (with_records and known.records is None):
            table = self._table(declared)
            records = records_of(table) if with_records else None
            known = self._read[declared.name] = _Read(mark, self._encode(declared, table), records)
        return known

    def _hold(self, declared: DeclaredTask, stream: Stream, mark: Mark | None, private: PrivateTask) -> None:
        if mark is not None:
            self._held[declared.name] = stream.name, mark, private

    def _mark(self, declared: DeclaredTask) -> Mark | None:
        return source_of(self._home, declared.settings).mark()

    def _table(self, declared: DeclaredTask) -> Table:
        self._before()
        # What one record alone decides about, a table without a default in it, is no reason to refuse: it would tell.
        return source_of(self._home, declared.settings).table(declared.spec, alone=False)
