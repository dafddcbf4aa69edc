"""Where a log keeps its bytes: one SQL database, SQLite by default, through SQLAlchemy Core.

Append-only by construction: no statement here updates or deletes an entry, a subtree hash, a checkpoint or a
cosignature. SQLite runs in WAL mode with `synchronous=FULL`: a commit that returned survives a power cut.
"""

import fcntl
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import IO

import sqlalchemy as sa
from sqlalchemy.exc import DBAPIError, IntegrityError, OperationalError

from ledger import postgresql
from ledger.errors import Conflict, Damaged, LedgerError, StoreError
from ledger.merkle import Node
from ledger.schema import (
    CHECKPOINTS,
    COSIGNATURES,
    ENTRIES,
    EVIDENCE,
    META,
    NODES,
    metadata,
    open_engine,
    undisturbed,
)

SCHEMA_VERSION = "1"
_MAX_VARIABLES = 400


class Transaction:
    """The writes of one transaction; all of them happen, or none."""

    def __init__(self, connection: sa.Connection) -> None:
        self._connection = connection

    def put_meta(self, values: Mapping[str, str]) -> None:
        """Add facts about the log itself."""
        self._connection.execute(sa.insert(META), [{"key": key, "value": value} for key, value in values.items()])

    def put_entries(self, rows: Sequence[tuple[int, bytes, bytes]], nodes: Sequence[tuple[Node, bytes]]) -> None:
        """Add entries `(index, digest, raw)` and the hashes of the subtrees that they complete."""
        self._connection.execute(
            sa.insert(ENTRIES),
            [{"idx": index, "digest": digest, "raw": raw} for index, digest, raw in rows],
        )
        self._connection.execute(
            sa.insert(NODES),
            [{"level": level, "idx": idx, "hash": digest} for (level, idx), digest in nodes],
        )

    def put_checkpoint(self, size: int, note: str) -> None:
        """Add the log's signed checkpoint at `size`."""
        self._connection.execute(sa.insert(CHECKPOINTS), {"size": size, "note": note})

    def put_cosignatures(self, size: int, lines: Mapping[str, str]) -> None:
        """Add cosignature lines by key name; a name that has one already keeps it."""
        known = set(self._connection.scalars(sa.select(COSIGNATURES.c.name).where(COSIGNATURES.c.size == size)))
        fresh = [{"size": size, "name": name, "line": line} for name, line in lines.items() if name not in known]
        if fresh:
            self._connection.execute(sa.insert(COSIGNATURES), fresh)

    def put_evidence(self, kind: str, known: str, offered: str) -> None:
        """Keep two checkpoint notes that cannot both be honest; once for each pair."""
        pair = sa.and_(EVIDENCE.c.known == known, EVIDENCE.c.offered == offered)
        if self._connection.scalar(sa.select(sa.func.count()).select_from(EVIDENCE).where(pair)):
            return
        self._connection.execute(sa.insert(EVIDENCE), {"kind": kind, "known": known, "offered": offered})

    def size(self) -> int:
        """Number of entries, as this transaction sees it."""
        return _size(self._connection)


class Store:
    """The tables of one log, or of one witness's mirror of it."""

    def __init__(
        self, location: str | os.PathLike[str] | None, *, existing: bool = False, read_only: bool = False
    ) -> None:
        """Open the database.

        Args:
            location: a path (SQLite), a `postgresql://` URL, or None for memory.
            existing: refuse a path where there is no file, and make none.
            read_only: open an existing SQLite file without the right to change it.

        Raises:
            StoreError: it cannot be opened.
        """
        text = "" if location is None else os.fspath(location)
        self.path = None if location is None or postgresql.is_url(text) else Path(text)
        self.name = postgresql.public_name(text) if postgresql.is_url(text) else text or "memory"
        self._lock_file: IO[str] | None = None
        self._session: postgresql.Session | None = None
        self._unlocked, existing = self.path if read_only else None, existing or read_only
        if existing and self.path is not None and not self.path.is_file():
            raise StoreError(f"{self.path}: there is no ledger here; give the path of its database")
        self._engine = open_engine(text, self.path, "ro" if read_only else "rw" if existing else "rwc")

    def create(self, meta: Mapping[str, str]) -> None:
        """Make the tables of a new log.

        Raises:
            StoreError: there is a log already.
        """
        with self._writer() as connection:
            if sa.inspect(connection).has_table("meta"):
                raise StoreError(f"{self.name}: a ledger is already there; open it, or choose another place")
            metadata.create_all(connection)
            Transaction(connection).put_meta({**meta, "schema": SCHEMA_VERSION})

    def is_empty(self) -> bool:
        """Whether there are no tables of a log yet."""
        with self._errors():
            return not sa.inspect(self._engine).has_table("meta")

    def meta(self) -> dict[str, str]:
        """Facts about the log.

        Raises:
            StoreError: this is no ledger, or one of another schema version.
        """
        with self.read() as connection:
            if not sa.inspect(connection).has_table("meta"):
                raise StoreError(f"{self.name}: this is not a ledger; give the path of its database")
            facts = {row.key: row.value for row in connection.execute(sa.select(META))}
        if facts.get("schema") != SCHEMA_VERSION:
            raise StoreError(f"{self.name}: schema {facts.get('schema')!r} is unknown; use the matching release")
        return facts

    @contextmanager
    def write(self) -> Iterator[Transaction]:
        """One transaction, durable when the block ends without an error, undone otherwise."""
        with self._writer() as connection:
            yield Transaction(connection)

    @contextmanager
    def read(self) -> Iterator[sa.Connection]:
        """A consistent view."""
        with undisturbed(self._unlocked), self._errors(), self._engine.connect() as connection:
            yield connection

    def lock(self) -> None:
        """Become the one sequencer of this database, until `close`.

        Raises:
            StoreError: another process is.
        """
        refusal = StoreError(f"{self.name}: another sequencer is running on this ledger; stop it first")
        if self.path is not None:
            lock_file = self.path.with_name(self.path.name + ".lock").open("a")
            try:
                fcntl.flock(lock_file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                lock_file.close()
                raise refusal from None
            self._lock_file = lock_file
        elif self._engine.dialect.name == "postgresql":
            with self._errors():
                self._session = postgresql.Session(self._engine, self.name)

    def unlock(self) -> None:
        """Let another process have the lock; connections stay open."""
        if self._session is not None:
            self._session.close()
            self._session = None
        if self._lock_file is not None:
            self._lock_file.close()
            self._lock_file = None

    def close(self) -> None:
        """Release the lock and the connections."""
        self._engine.dispose()
        self.unlock()

    def size(self) -> int:
        """Number of entries."""
        with self.read() as connection:
            return _size(connection)

    def entries(self, start: int, end: int) -> list[bytes]:
        """Entries `start` to `end - 1`.

        Raises:
            Damaged: one of them is missing.
        """
        return [raw for _, raw in self.entry_rows(start, end)]

    def entry_rows(self, start: int, end: int) -> list[tuple[bytes, bytes]]:
        """`(digest, raw)` of entries `start` to `end - 1`, as `entries`."""
        query = sa.select(ENTRIES).where(ENTRIES.c.idx >= start, ENTRIES.c.idx < end).order_by(ENTRIES.c.idx)
        with self.read() as connection:
            rows = connection.execute(query).all()
        found = {row.idx: (row.digest, row.raw) for row in rows if isinstance(row.raw, bytes)}
        for index in range(start, end):
            if index not in found:
                raise Damaged(f"{self.name}: entry {index} is missing; restore the database from a mirror")
        return [found[index] for index in range(start, end)]

    def indices(self, digests: Sequence[bytes]) -> dict[bytes, int]:
        """The entries that statements with these digests became."""
        found: dict[bytes, int] = {}
        with self.read() as connection:
            for start in range(0, len(digests), _MAX_VARIABLES):
                batch = digests[start : start + _MAX_VARIABLES]
                query = sa.select(ENTRIES.c.digest, ENTRIES.c.idx).where(ENTRIES.c.digest.in_(batch))
                found.update({row.digest: row.idx for row in connection.execute(query)})
        return found

    def nodes(self, wanted: Iterable[Node]) -> dict[Node, bytes]:
        """Hashes of complete subtrees.

        Raises:
            Damaged: one of them is missing.
        """
        levels: dict[int, list[int]] = {}
        for level, idx in wanted:
            levels.setdefault(level, []).append(idx)
        if not levels:
            return {}
        clauses = [sa.and_(NODES.c.level == level, NODES.c.idx.in_(ids)) for level, ids in levels.items()]
        with self.read() as connection:
            found = {
                (row.level, row.idx): row.hash for row in connection.execute(sa.select(NODES).where(sa.or_(*clauses)))
            }
        for level, ids in levels.items():
            for idx in ids:
                if (level, idx) not in found:
                    raise Damaged(f"{self.name}: tree hash {level}/{idx} is missing; restore it from a mirror")
        return found

    def nodes_completed_by(self, start: int, end: int) -> dict[Node, bytes]:
        """Hashes of all complete subtrees whose last leaf is in [start, end)."""
        clauses = [
            sa.and_(
                NODES.c.level == level,
                NODES.c.idx >= start >> level,
                NODES.c.idx < end >> level,
            )
            for level in range(end.bit_length())
        ]
        with self.read() as connection:
            rows = connection.execute(sa.select(NODES).where(sa.or_(sa.false(), *clauses)))
            return {(row.level, row.idx): row.hash for row in rows}

    def checkpoints(self) -> dict[int, str]:
        """The log's own signed notes, by size, smallest first."""
        with self.read() as connection:
            rows = connection.execute(sa.select(CHECKPOINTS).order_by(CHECKPOINTS.c.size))
            return {row.size: row.note for row in rows}

    def cosignatures(self, size: int) -> dict[str, str]:
        """Cosignature lines on the checkpoint at `size`, by key name."""
        query = sa.select(COSIGNATURES.c.name, COSIGNATURES.c.line).where(COSIGNATURES.c.size == size)
        with self.read() as connection:
            return {row.name: row.line for row in connection.execute(query.order_by(COSIGNATURES.c.name))}

    def evidence(self) -> list[tuple[str, str, str]]:
        """Kept proofs of misbehaviour: `(kind, known note, offered note)`, oldest first."""
        with self.read() as connection:
            rows = connection.execute(sa.select(EVIDENCE).order_by(EVIDENCE.c.number))
            return [(row.kind, row.known, row.offered) for row in rows]

    @contextmanager
    def _writer(self) -> Iterator[sa.Connection]:
        with self._errors(), ExitStack() as stack:
            if self._session is not None:
                connection = self._session.connection
            else:
                connection = stack.enter_context(self._engine.connect().execution_options(artesian_immediate=True))
            stack.enter_context(connection.begin())
            yield connection

    @contextmanager
    def _errors(self) -> Iterator[None]:
        try:
            yield
        except DBAPIError as error:
            raise self._explain(error) from None

    def _explain(self, error: DBAPIError) -> LedgerError:
        if self._engine.dialect.name == "postgresql":
            return postgresql.explain(self.name, error)
        if isinstance(error, IntegrityError):
            return Conflict(f"{self.name}: another process has written here; open the ledger again")
        if not isinstance(error, OperationalError):
            return Damaged(f"{self.name}: {_first_line(error)}; restore the database from a mirror")
        if "decode" in str(error.orig):
            return Damaged(f"{self.name}: a text in it is not text; restore it from a mirror")
        return StoreError(f"{self.name}: {_first_line(error)}; check the path, its rights and free space")


def _first_line(error: DBAPIError) -> str:
    return str(error.orig).splitlines()[0]


def _size(connection: sa.Connection) -> int:
    last = connection.scalar(sa.select(sa.func.max(ENTRIES.c.idx)))
    return 0 if last is None else int(last) + 1
