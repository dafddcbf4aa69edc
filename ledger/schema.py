"""The tables of a stored log, and how a database of them is opened."""

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal, TypeAlias
from urllib.parse import quote

import sqlalchemy as sa

from ledger import postgresql
from ledger.errors import StoreError

metadata = sa.MetaData()
META = sa.Table(
    "meta",
    metadata,
    sa.Column("key", sa.Text, primary_key=True),
    sa.Column("value", sa.Text, nullable=False),
)
ENTRIES = sa.Table(
    "entries",
    metadata,
    sa.Column("idx", sa.BigInteger, primary_key=True, autoincrement=False),
    sa.Column("digest", sa.LargeBinary(32), nullable=False, unique=True),
    sa.Column("raw", sa.LargeBinary, nullable=False),
)
NODES = sa.Table(
    "nodes",
    metadata,
    sa.Column("level", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("idx", sa.BigInteger, primary_key=True, autoincrement=False),
    sa.Column("hash", sa.LargeBinary(32), nullable=False),
    sqlite_with_rowid=False,
)
CHECKPOINTS = sa.Table(
    "checkpoints",
    metadata,
    sa.Column("size", sa.BigInteger, primary_key=True, autoincrement=False),
    sa.Column("note", sa.Text, nullable=False),
)
COSIGNATURES = sa.Table(
    "cosignatures",
    metadata,
    sa.Column("size", sa.BigInteger, primary_key=True, autoincrement=False),
    sa.Column("name", sa.Text, primary_key=True),
    sa.Column("line", sa.Text, nullable=False),
)
EVIDENCE = sa.Table(
    "evidence",
    metadata,
    sa.Column("number", sa.Integer, primary_key=True),
    sa.Column("kind", sa.Text, nullable=False),
    sa.Column("known", sa.Text, nullable=False),
    sa.Column("offered", sa.Text, nullable=False),
)


Mode: TypeAlias = Literal["ro", "rw", "rwc"]
"""Of a file: read only, also write, also create."""


def open_engine(text: str, path: Path | None, mode: Mode) -> sa.Engine:
    """The database at `path` (SQLite), at the URL `text` (PostgreSQL), or in memory when both are empty."""
    if text and path is None:
        return postgresql.open_engine(text)
    if path is None:
        engine = sa.create_engine("sqlite://", poolclass=sa.pool.StaticPool, connect_args={"check_same_thread": False})
    elif mode == "ro":
        engine = sa.create_engine("sqlite://", creator=lambda: _connect_reader(path), poolclass=sa.pool.NullPool)
    else:
        url = f"sqlite:///file:{quote(path.absolute().as_posix())}?mode={mode}&uri=true"
        engine = sa.create_engine(url, connect_args={"timeout": 10})
    sa.event.listen(engine, "connect", _on_connect_read_only if mode == "ro" else _on_connect)
    sa.event.listen(engine, "begin", _on_begin)
    return engine


@contextmanager
def undisturbed(path: Path | None) -> Iterator[None]:
    """A span in which `path`, read without locks when no process had it open, must not be written.

    Raises:
        StoreError: it was, so that what was read may be half old and half new.
    """
    before = path and _unopened_since(path)
    try:
        yield
    finally:
        if path and before is not None and path.stat().st_mtime_ns != before:
            raise StoreError(f"{path}: another process wrote to it meanwhile; read it again") from None


def _unopened_since(path: Path) -> int | None:
    """When an SQLite file was last written, in ns since the epoch, if no process has it open for writing, else None.

    In WAL mode there is a `-wal` file beside the database from its first opening to its last closing.
    """
    file = path.resolve()
    return None if file.with_name(file.name + "-wal").exists() else file.stat().st_mtime_ns


def _connect_reader(path: Path) -> sqlite3.Connection:
    # `immutable` keeps SQLite from making files of its own beside the database, which may be in a place that
    # cannot be written to. It also skips all locks, so it is only for a file that nobody is writing.
    immutable = "" if _unopened_since(path) is None else "&immutable=1"
    url = f"file:{quote(path.resolve().as_posix())}?mode=ro{immutable}"
    return sqlite3.connect(url, uri=True, timeout=10, check_same_thread=False)


def _on_connect_read_only(connection: Any, _record: Any) -> None:
    connection.isolation_level = None  # transactions are opened by `_on_begin`, not by the driver


def _on_connect(connection: Any, record: Any) -> None:
    _on_connect_read_only(connection, record)
    connection.execute("PRAGMA journal_mode=WAL")
    connection.execute("PRAGMA synchronous=FULL")


def _on_begin(connection: sa.Connection) -> None:
    immediate = connection.get_execution_options().get("artesian_immediate", False)
    connection.exec_driver_sql("BEGIN IMMEDIATE" if immediate else "BEGIN")
