"""Tables in databases: one query, read only, streamed in chunks into columns of text, as from a file.

That nothing is written rests on the database, not on a reading of the query: PostgreSQL opens it as a cursor, which
takes one statement that only reads, within a READ ONLY transaction that is rolled back; an SQLite file is opened
`mode=ro` with `query_only` and an authorizer that knows reading and nothing else.
"""

from __future__ import annotations

import re
import sqlite3
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

import numpy as np
import pandas as pd
import sqlalchemy as sa
from numpy.typing import NDArray

from clients.sql_settings import SQLITE, SqlTable
from clients.table_files import TableUnreadable, spelled

CHUNK = 20_000
"""Rows that are fetched at once."""
_CURSOR = "artesian"
_DECLARED = f'DECLARE "{_CURSOR}" CURSOR FOR '
_READING = {sqlite3.SQLITE_SELECT, sqlite3.SQLITE_READ, sqlite3.SQLITE_FUNCTION, sqlite3.SQLITE_RECURSIVE}
_KINDS = {
    **dict.fromkeys((20, 21, 23, 700, 701, 1700), "number"),  # PostgreSQL's pg_type.oid
    **dict.fromkeys((1082, 1114, 1184), "date"),
    16: "flag",
    17: "bytes",
}


class DatabaseUnreachable(TableUnreadable):
    """A firm's database that does not answer, or not in time."""

    exit_code = 3


class QueryRefused(TableUnreadable):
    """A query that the database does not run, or that does more than read."""


@dataclass(frozen=True)
class SqlFrame:
    """A query's result.

    Attributes:
        frame: columns of text, as `clients.table_files.read_frame` has them.
        kinds: number, date, flag or bytes, for columns whose type the database declares as such.
    """

    frame: pd.DataFrame
    kinds: Mapping[str, str]


def read_sql(
    sql: SqlTable, home: Path, environ: Mapping[str, str], clock: Callable[[], float] = time.monotonic
) -> SqlFrame:
    """Run the query and read its result.

    Args:
        home: what paths are relative to.
        environ: has the password where the settings name a variable.
        clock: seconds; the whole reading ends `timeout_s` after it has begun.

    Raises:
        DatabaseUnreachable: no answer, or none in time.
        QueryRefused: the database refuses the query, or it gives more rows than are allowed.
        TableUnreadable: no such file, no password, or no driver.
    """
    deadline = clock() + sql.timeout_s
    with _explained(sql), closing(_connected(sql, home, environ, clock, deadline)) as connection:
        cursor = connection.cursor(name=_CURSOR) if _on_server(sql) else connection.cursor()
        cursor.execute(sql.query)
        if cursor.description is None:
            raise QueryRefused(f"{_name(sql)}: the query gives no table; write one select statement")
        names = [str(column[0]) for column in cursor.description]
        twice = next((name for name in names if names.count(name) > 1), None)
        if twice is not None:
            raise QueryRefused(f"{_name(sql)}: the column {twice!r} is there twice; rename one with 'as'")
        kinds = {column[0]: _KINDS[column[1]] for column in cursor.description if column[1] in _KINDS}
        columns = _fetched(sql, cursor, len(names), clock, deadline)
        connection.rollback()
    frame = pd.DataFrame(dict(enumerate(columns))).set_axis(names, axis="columns")
    return SqlFrame(frame, kinds)


def _fetched(sql: SqlTable, cursor: Any, width: int, clock: Callable[[], float], deadline: float) -> list[NDArray[Any]]:
    chunks: list[list[NDArray[Any]]] = []
    rows = 0
    while chunk := cursor.fetchmany(CHUNK):
        rows += len(chunk)
        if rows > sql.most_rows:
            raise QueryRefused(f"{_name(sql)}: more than {sql.most_rows} rows; raise most_rows, or ask for fewer")
        if clock() > deadline:
            raise _late(sql)
        chunks.append([spelled(column) for column in zip(*chunk, strict=True)])
    empty = np.empty(0, dtype=object)
    return [np.concatenate([empty, *(chunk[place] for chunk in chunks)]) for place in range(width)]


def _on_server(sql: SqlTable) -> bool:
    return not sql.url.startswith(SQLITE)


def _name(sql: SqlTable) -> str:
    return sql.location.partition("#")[0]


def _connected(
    sql: SqlTable, home: Path, environ: Mapping[str, str], clock: Callable[[], float], deadline: float
) -> Any:
    """A DBAPI connection in which nothing can be written."""
    if not _on_server(sql):
        return _sqlite(sql, home, clock, deadline)
    url = sa.make_url(sql.url).set(drivername="postgresql+psycopg", password=_password(sql, home, environ))
    wishes = {
        "connect_timeout": max(sql.timeout_s, 2),
        "application_name": "artesian",
        # A server that is gone without a word is noticed too: statement_timeout is the server's own.
        "keepalives_idle": 30,
        "keepalives_interval": 10,
        "keepalives_count": 3,
        "tcp_user_timeout": 1000 * max(sql.timeout_s, 2),
    }
    try:
        engine = sa.create_engine(url, poolclass=sa.pool.NullPool, connect_args=wishes)
    except ModuleNotFoundError:
        missing = "PostgreSQL's driver is missing; install it: pip install 'artesian[postgresql]'"
        raise TableUnreadable(f"{_name(sql)}: {missing}") from None
    held = engine.raw_connection()
    connection: Any = held.driver_connection
    held.detach()
    connection.rollback()
    connection.read_only = True
    milliseconds = sql.timeout_s * 1000
    connection.execute(f"SET LOCAL statement_timeout = {milliseconds}")
    connection.execute(f"SET LOCAL idle_in_transaction_session_timeout = {2 * milliseconds}")
    if connection.execute("SHOW transaction_read_only").fetchone() != ("on",):
        connection.close()
        raise QueryRefused(f"{_name(sql)}: the server gives no read-only transaction, so nothing was asked")
    return connection


def _sqlite(sql: SqlTable, home: Path, clock: Callable[[], float], deadline: float) -> sqlite3.Connection:
    path = home / sql.url.removeprefix(SQLITE)
    if not path.is_file():
        raise TableUnreadable(f"{path}: cannot be read: no such file")
    address = f"file:{quote(path.resolve().as_posix())}?mode=ro"
    engine = sa.create_engine(
        "sqlite://",
        creator=lambda: sqlite3.connect(address, uri=True, timeout=sql.timeout_s),
        poolclass=sa.pool.NullPool,
    )
    held = engine.raw_connection()
    connection = held.driver_connection
    assert isinstance(connection, sqlite3.Connection)
    held.detach()
    connection.execute("PRAGMA query_only=ON")
    connection.set_authorizer(lambda action, *_: sqlite3.SQLITE_OK if action in _READING else sqlite3.SQLITE_DENY)
    connection.set_progress_handler(lambda: int(clock() > deadline), 10_000)
    return connection


def _password(sql: SqlTable, home: Path, environ: Mapping[str, str]) -> str | None:
    if sql.password_env is not None:
        if sql.password_env not in environ:
            raise TableUnreadable(f"{_name(sql)}: the environment has no {sql.password_env}, which holds the password")
        return environ[sql.password_env]
    if sql.password_file is None:
        return None
    path = home / sql.password_file
    try:
        if path.stat().st_mode & 0o077:
            raise TableUnreadable(f"{path}: others can read this password; run: chmod 600 {path}")
        return path.read_text(encoding="utf-8").rstrip("\r\n")
    except OSError as error:
        raise TableUnreadable(f"{path}: the password cannot be read: {error.strerror}") from None


# What a driver's error means.


@contextmanager
def _explained(sql: SqlTable) -> Iterator[None]:
    try:
        yield
    except (sqlite3.Error, sqlite3.Warning) as error:
        raise _of_sqlite(sql, error) from None
    except (TableUnreadable, AssertionError, MemoryError):
        raise
    except Exception as error:
        driver = getattr(error, "orig", None) or error
        if type(driver).__module__.partition(".")[0] == "psycopg":
            raise _of_postgresql(sql, driver) from None
        if isinstance(error, UnicodeDecodeError):
            raise QueryRefused(f"{_name(sql)}: a text that the query gives is not UTF-8") from None
        raise


def _late(sql: SqlTable) -> DatabaseUnreachable:
    return DatabaseUnreachable(
        f"{_name(sql)}: the query took longer than {sql.timeout_s} s; raise timeout_s, or give the tables an index"
    )


def _of_sqlite(sql: SqlTable, error: Exception) -> TableUnreadable:
    code, line = getattr(error, "sqlite_errorcode", 0) & 0xFF, _line(error)
    if code == sqlite3.SQLITE_INTERRUPT:
        return _late(sql)
    if code in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
        return DatabaseUnreachable(f"{_name(sql)}: {line}; another process is writing it, try again")
    if code in (sqlite3.SQLITE_AUTH, sqlite3.SQLITE_READONLY):
        return QueryRefused(f"{_name(sql)}: the query may only read: {line}")
    if code in (sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_IOERR):
        return TableUnreadable(f"{_name(sql)}: {line}; check the file and its rights")
    near = re.search(r'near "(.+?)"', line)
    at = sql.query.find(near[1]) if near and sql.query.count(near[1]) == 1 else -1
    return QueryRefused(f"{_name(sql)}: the query is wrong{_place(sql.query, at)}: {line}")


def _of_postgresql(sql: SqlTable, error: Any) -> TableUnreadable:
    state, line = getattr(error, "sqlstate", None) or "", _line(error)
    if state == "57014":
        return _late(sql)
    if state == "25006" or "must not contain data-modifying" in line:
        return QueryRefused(f"{_name(sql)}: the query may only read: {line}")
    if not state and "FATAL" in line and not re.search("starting up|shutting down|too many", line):
        return TableUnreadable(f"{_name(sql)}: the database lets nobody in so: {line}")
    if not state or state[:2] in ("08", "53", "57", "55"):
        return DatabaseUnreachable(f"{_name(sql)}: cannot be reached: {line}; check the url and that the server runs")
    position = getattr(error.diag, "statement_position", None)
    at = int(position) - 1 - len(_DECLARED) if position else -1
    return QueryRefused(f"{_name(sql)}: the query is wrong{_place(sql.query, at)}: {line}")


def _place(query: str, at: int) -> str:
    if not 0 <= at <= len(query):
        return ""
    before = query[:at]
    return f" at line {before.count(chr(10)) + 1}, column {at - before.rfind(chr(10))}"


def _line(error: object) -> str:
    """The first line that says something; libpq's later ones repeat the query."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return next(iter(lines), type(error).__name__)
