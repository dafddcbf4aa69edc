"""The coordinator's own tables: what it must remember across restarts beside the ledger, in one SQL database.

A file `state.db` in the home, or the PostgreSQL database that `ledger.toml` names for the ledger: SQLAlchemy Core, one
code path. Any number of the coordinator's processes may use it at once; a transaction that has returned is durable.

Each part of the coordinator (`Part`) owns tables of its own and says which version of them it reads. The table
`coordinator_schema_version` has a row for each part that has tables here; with a release that reads a later version,
the part's migrations are carried out in order, in one transaction with the new number, when the part is first used.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

import sqlalchemy as sa
from sqlalchemy.exc import DBAPIError

from ledger import postgresql, sqlite
from ledger.errors import Damaged, LedgerError
from ledger.errors import Unreachable as ServerUnreachable
from ledger.homes import Settings
from server.errors import ServerError

STATE_FILE = "state.db"
PREFIX = "coordinator_"
"""What the names of all tables here begin with: on PostgreSQL they stand beside the ledger's."""
_WRITER = 0x41525447  # the ledger's locks are the two numbers before

Migration = Callable[[sa.Connection], None]
"""Changes a part's tables from the version before to its own; in the transaction of the new version's number."""


class StateUnusable(ServerError):
    """The database with the coordinator's tables cannot be used; says what to do."""


class StateUnreachable(StateUnusable):
    """Its server does not answer, or the connection was lost: whether the last transaction was done is not known."""

    exit_code = 3


class StateDamaged(StateUnusable):
    """What is stored is not what was written."""

    exit_code = 1


class StateOfLaterRelease(StateUnusable):
    """A later release has changed the tables; nothing of them was touched."""


@dataclass(frozen=True)
class Part:
    """Tables that one part of the coordinator owns.

    Attributes:
        name: of the part, as `schema_version` has it.
        metadata: its tables as of the present version; their names begin with `PREFIX`.
        version: the present version, 1 at first.
        migrations: by the version that they lead to: one for each from 2 to `version`.
    """

    name: str
    metadata: sa.MetaData
    version: int = 1
    migrations: Mapping[int, Migration] = field(default_factory=dict)

    def __post_init__(self) -> None:
        assert all(name.startswith(PREFIX) for name in self.metadata.tables)
        assert set(self.migrations) == set(range(2, self.version + 1))


_VERSIONS = sa.Table(
    f"{PREFIX}schema_version",
    sa.MetaData(),
    sa.Column("part", sa.Text, primary_key=True),
    sa.Column("version", sa.Integer, nullable=False),
)


class StateStore:
    """The database; parts are made ready when they are first used. Threads may share it.

    Attributes:
        name: what errors call it.
    """

    def __init__(self, location: str | os.PathLike[str] | None) -> None:
        """Open the database.

        Args:
            location: path of an SQLite file, a `postgresql://` URL, or None for memory.

        Raises:
            StateUnusable: it cannot be opened.
        """
        text = "" if location is None else os.fspath(location)
        self._on_server = postgresql.is_url(text)
        try:
            self.name = postgresql.public_name(text) if self._on_server else text or "memory"
            if self._on_server:
                self._engine = postgresql.open_engine(text, writer=_WRITER)
            else:
                self._engine = sqlite.open_engine(Path(text) if text else None, "rwc")
        except LedgerError as error:
            raise StateUnusable(str(error)) from None
        self._ready: set[str] = set()

    @classmethod
    def of_home(cls, home: Path) -> Self:
        """The coordinator's: in the PostgreSQL database that `ledger.toml` names, else in the home's `state.db`.

        Raises:
            StateUnusable: it cannot be opened.
            HomeError: `ledger.toml` cannot be read.
        """
        named = Settings.load(home).database
        return cls(named if postgresql.is_url(named) else home / STATE_FILE)

    def close(self) -> None:
        """Give the connections back."""
        self._engine.dispose()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @contextmanager
    def read(self, part: Part) -> Iterator[sa.Connection]:
        """A consistent view of a part's tables.

        Raises:
            StateUnusable: it cannot be read; says why.
        """
        self._make_ready(part)
        with self._errors(), self._engine.connect() as connection:
            yield connection

    @contextmanager
    def write(self, part: Part) -> Iterator[sa.Connection]:
        """One transaction, durable when the block ends without an error, undone otherwise; one at a time, so be short.

        Raises:
            StateUnusable: nothing was written.
            StateUnreachable: it may have been written; repeat what is safe to repeat.
        """
        self._make_ready(part)
        with self._errors(), self._writing() as connection:
            yield connection

    def _make_ready(self, part: Part) -> None:
        if part.name in self._ready:
            return
        with self._errors(), self._writing() as connection:
            self._migrate(connection, part)
        self._ready.add(part.name)

    def _migrate(self, connection: sa.Connection, part: Part) -> None:
        _VERSIONS.create(connection, checkfirst=True)
        row = _VERSIONS.c.part == part.name
        found = connection.scalar(sa.select(_VERSIONS.c.version).where(row))
        if found is None:
            part.metadata.create_all(connection)
            connection.execute(sa.insert(_VERSIONS).values(part=part.name, version=part.version))
            return
        if found > part.version:
            raise StateOfLaterRelease(
                f"{self.name}: a later release has made version {found} of the tables of {part.name!r}, and this one "
                f"reads {part.version}; go on with the later release"
            )
        for version in range(found + 1, part.version + 1):
            part.migrations[version](connection)
        if found < part.version:
            connection.execute(sa.update(_VERSIONS).where(row).values(version=part.version))

    @contextmanager
    def _writing(self) -> Iterator[sa.Connection]:
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
            found = (postgresql if self._on_server else sqlite).explain(self.name, error)
            line = (str(error.orig).splitlines() or ["no message"])[0]
            if isinstance(found, ServerUnreachable):
                raise StateUnreachable(f"{self.name}: {line}; check that its server runs, then go on") from None
            if isinstance(found, Damaged):
                raise StateDamaged(f"{self.name}: {line}; restore the coordinator's home from its backup") from None
            raise StateUnusable(f"{self.name}: {line}; check its rights, free space and other processes") from None
