"""One SQL database of a ledger, SQLite by default, through SQLAlchemy Core: opened, locked, read, written, copied."""

import fcntl
import os
import sqlite3
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import IO, cast

import sqlalchemy as sa
from sqlalchemy.exc import DBAPIError

from ledger import postgresql, sqlite
from ledger.errors import Damaged, Locked, StoreError
from ledger.release import other_schema, this_release
from ledger.schema import META, SCHEMA_VERSION, is_intact, metadata
from ledger.transaction import Transaction


class Database:
    """Where the tables of one log, or of one member's mirror of it, stand."""

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
        on_server = postgresql.is_url(text)
        self.path = Path(text) if text and not on_server else None
        self.name = postgresql.public_name(text) if on_server else text or "memory"
        self._lock_file: IO[str] | None = None
        self._session: postgresql.Session | None = None
        self._unlocked, existing = self.path if read_only else None, existing or read_only
        if existing and self.path is not None and not self.path.is_file():
            raise StoreError(f"{self.path}: there is no ledger here; give the path of its database")
        mode: sqlite.Mode = "ro" if read_only else "rw" if existing else "rwc"
        self._engine = postgresql.open_engine(text) if on_server else sqlite.open_engine(self.path, mode)
        self._on_server = on_server

    def create(self, meta: Mapping[str, str]) -> None:
        """Make the tables of a new log, with facts about it.

        Raises:
            StoreError: there is a log already.
        """
        with self._errors(), self._writing() as connection:
            if sa.inspect(connection).has_table("meta"):
                raise StoreError(f"{self.name}: a ledger is already there; open it, or choose another place")
            metadata.create_all(connection)
            Transaction(connection).put_meta({**meta, "schema": SCHEMA_VERSION, "release": this_release()})

    def is_empty(self) -> bool:
        """Whether there are no tables of a log yet."""
        with self.read() as connection:
            return not sa.inspect(connection).has_table("meta")

    def meta(self) -> dict[str, str]:
        """Facts about the log.

        Raises:
            StoreError: this is no ledger.
            OtherSchema: it is one of another schema version.
            Damaged: a fact is not what was written.
        """
        with self.read() as connection:
            if not sa.inspect(connection).has_table("meta"):
                raise StoreError(f"{self.name}: this is not a ledger; give the path of its database")
            named = sa.select(META.c.key, META.c.value).where(META.c.key.in_(("schema", "release")))
            by = dict(connection.execute(named).all())
            if by.get("schema") != SCHEMA_VERSION:
                raise other_schema(self.name, by.get("schema"), SCHEMA_VERSION, by.get("release"))
            rows = connection.execute(sa.select(META)).all()
        for row in rows:
            if not is_intact(META, row):
                raise Damaged(f"{self.name}: the fact {row.key!r} is not what was written; restore it from a mirror")
        facts = {row.key: row.value for row in rows}
        missing = {"origin", "cid", "vkey"} - facts.keys()
        if missing:
            raise Damaged(f"{self.name}: the fact {min(missing)!r} is missing; restore the database from a mirror")
        return facts

    @contextmanager
    def write(self) -> Iterator[Transaction]:
        """One transaction, durable when the block ends without an error, undone otherwise."""
        with self._errors(), self._writing() as connection:
            yield Transaction(connection)

    @contextmanager
    def read(self) -> Iterator[sa.Connection]:
        """A consistent view."""
        with sqlite.undisturbed(self._unlocked), self._errors(), self._engine.connect() as connection:
            yield connection

    def lock(self) -> None:
        """Become the one sequencer of this database, until `unlock` or `close`.

        Raises:
            Locked: another process is.
            StoreError: the file beside it that is locked cannot be written.
        """
        if self._on_server:
            with self._errors():
                self._session = postgresql.Session(self._engine, self.name)
        elif self.path is not None:
            try:
                lock_file = self.path.with_name(self.path.name + ".lock").open("a")
            except OSError as error:
                reason = os.strerror(error.errno or 0)
                raise StoreError(f"{self.name}: cannot be opened: {reason}; check the path and its rights") from None
            try:
                fcntl.flock(lock_file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                lock_file.close()
                place = self.path.absolute()
                raise Locked(f"{place}: another sequencer is running on this ledger; stop it first") from None
            self._lock_file = lock_file

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

    def backup(self, target: str | os.PathLike[str]) -> None:
        """Write a consistent copy to the new file `target`; the log may go on meanwhile. To restore it, open it.

        Raises:
            StoreError: on PostgreSQL, which has its own way; or the copy cannot be written.
        """
        if self._on_server:
            raise StoreError(f"{self.name}: back it up with: pg_dump --format=custom --file={target} '{self.name}'")
        with self._errors(), self._engine.connect() as connection:
            raw = connection.connection.driver_connection
            sqlite.copy(cast(sqlite3.Connection, raw), Path(target))

    def forget_deleted(self) -> None:
        """Leave nothing behind of what was deleted: at once in SQLite; PostgreSQL does so when it vacuums."""
        if not self._on_server:
            with self._errors():
                sqlite.forget(self._engine)

    def check_pages(self, *tables: str) -> None:
        """Let SQLite check the pages of these tables, of all when none is named; PostgreSQL has its own means.

        Raises:
            Damaged: names what it found.
        """
        if self._on_server:
            return
        with self.read() as connection:
            found = sqlite.check_pages(connection, list(tables) or None)
        if found is not None:
            raise Damaged(f"{self.name}: {found}; restore the database from a mirror")

    @contextmanager
    def _writing(self) -> Iterator[sa.Connection]:
        if self._session is not None:
            connection = self._session.connection.execution_options(artesian_immediate=True)
            with connection.begin():
                yield connection
            return
        with (
            self._engine.connect().execution_options(artesian_immediate=True) as connection,
            connection.begin(),
        ):
            yield connection

    @contextmanager
    def _errors(self) -> Iterator[None]:
        try:
            yield
        except DBAPIError as error:
            raise (postgresql if self._on_server else sqlite).explain(self.name, error) from None
