"""SQLite as a ledger's database: how a file of it is opened, what its errors mean, and how it is copied while in use.

It runs in WAL mode with `synchronous=FULL`: a commit that returned survives a power cut.
"""

import os
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Literal, TypeAlias, cast
from urllib.parse import quote

import sqlalchemy as sa
from sqlalchemy.exc import DBAPIError, IntegrityError, OperationalError

from ledger.errors import Conflict, Damaged, LedgerError, NoDatabase, StoreError, StoreFull
from ledger.folder_sync import sync_folder

Mode: TypeAlias = Literal["ro", "rw", "rwc"]
"""Of a file: read only, also write, also create."""


def open_engine(path: Path | None, mode: Mode) -> sa.Engine:
    """The database at `path`, or in memory without one."""
    if path is None:
        engine = sa.create_engine("sqlite://", poolclass=sa.pool.StaticPool, connect_args={"check_same_thread": False})
    elif mode == "ro":
        engine = sa.create_engine("sqlite://", creator=lambda: _connect_reader(path), poolclass=sa.pool.NullPool)
    else:
        url = f"sqlite:///file:{quote(path.absolute().as_posix())}?mode={mode}&uri=true"
        engine = sa.create_engine(url, connect_args={"timeout": 10})
        if mode == "rwc":
            sa.event.listen(engine, "do_connect", lambda *_: _make_private(path))
    sa.event.listen(engine, "connect", _on_connect_read_only if mode == "ro" else _on_connect)
    sa.event.listen(engine, "begin", _on_begin)
    return engine


def explain(name: str, error: DBAPIError) -> LedgerError:
    """What an error of the database called `name` means, and how to mend it."""
    code = getattr(error.orig, "sqlite_errorcode", 0) & 0xFF
    line = (str(error.orig).splitlines() or ["no message"])[0]
    if isinstance(error, IntegrityError):
        return Conflict(f"{name}: another process has written here; open the ledger again")
    if code == sqlite3.SQLITE_NOTADB:
        return NoDatabase(
            f"{name}: this is no ledger's database; give another path, or if it was one, take a copy of it"
        )
    if code == sqlite3.SQLITE_FULL:
        return StoreFull(f"{name}: {line}; make free space, then go on")
    if isinstance(error, OperationalError) and "decode" in line:
        return Damaged(f"{name}: a text in it is not text; restore it from a mirror")
    if isinstance(error, OperationalError):
        return StoreError(f"{name}: {line}; check the path, its rights and free space")
    return Damaged(f"{name}: {line}; restore the database from a mirror")


def check_pages(connection: sa.Connection, tables: list[str] | None) -> str | None:
    """What SQLite itself finds wrong with the pages of `tables` (of all when None), or None."""
    wanted = [""] if tables is None else [f"({table})" for table in tables]
    found = [connection.exec_driver_sql(f"PRAGMA integrity_check{table}").scalar() for table in wanted]
    return next((str(line).splitlines()[0] for line in found if line != "ok"), None)


@contextmanager
def erasing(connection: sa.Connection) -> Iterator[None]:
    """A span in which what is deleted is overwritten, in an SQLite database; `forget` follows the transaction."""
    if connection.dialect.name != "sqlite":
        yield
        return
    connection.exec_driver_sql("PRAGMA secure_delete=ON")
    yield
    connection.exec_driver_sql("PRAGMA secure_delete=FAST")


def forget(engine: sa.Engine) -> None:
    """Empty the write-ahead log into the database, so that no older page is left in it; later if readers are there."""
    with engine.connect() as connection:
        raw = connection.connection.driver_connection
        cast(sqlite3.Connection, raw).execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()


def copy(source: sqlite3.Connection, target: Path) -> None:
    """Copy a database that may be in use to a new file `target`: whole, or not at all.

    Raises:
        StoreError: there is a file already, or it cannot be written.
    """
    unfinished = target.with_name(f".{target.name}.unfinished")
    try:
        unfinished.unlink(missing_ok=True)
        _make_private(unfinished)
        made = sqlite3.connect(unfinished)
        try:
            source.backup(made)  # in one step: copying in steps starts over whenever the log writes between two
        finally:
            made.close()
        with unfinished.open("rb") as file:
            os.fsync(file.fileno())
        os.link(unfinished, target)  # unlike a rename, fails when the name is taken
        sync_folder(target.parent)
    except FileExistsError:
        raise StoreError(f"{target}: a file is already there; choose another name") from None
    except (OSError, sqlite3.Error) as error:
        raise StoreError(f"{target}: cannot write the copy: {error}") from None
    finally:
        with suppress(OSError):
            unfinished.unlink(missing_ok=True)


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


def _make_private(path: Path) -> None:
    """Make a new file that only its owner can read: what is for members is in it. SQLite's other files follow it."""
    with suppress(OSError):  # SQLite says it better
        os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600))


def _connect_reader(path: Path) -> sqlite3.Connection:
    # `immutable` keeps SQLite from making files of its own beside the database, which may be in a place that
    # cannot be written to. It also skips all locks, so it is only for a file that nobody is writing.
    immutable = "" if _unopened_since(path) is None else "&immutable=1"
    url = f"file:{quote(path.resolve().as_posix())}?mode=ro{immutable}"
    return sqlite3.connect(url, uri=True, timeout=10, check_same_thread=False)


def _on_connect_read_only(connection: Any, _record: Any) -> None:
    connection.isolation_level = None  # transactions are opened by `_on_begin`, not by the driver
    # A file that somebody sent must not run anything: a view may compute for ever, a trigger change what is written.
    if connection.execute("SELECT 1 FROM sqlite_master WHERE type NOT IN ('table', 'index')").fetchone():
        raise sqlite3.DatabaseError("it has views or triggers, which no ledger has")


def _on_connect(connection: Any, record: Any) -> None:
    _on_connect_read_only(connection, record)
    connection.execute("PRAGMA journal_mode=WAL")
    connection.execute("PRAGMA synchronous=FULL")
    connection.execute("PRAGMA secure_delete=FAST")


def _on_begin(connection: sa.Connection) -> None:
    immediate = connection.get_execution_options().get("artesian_immediate", False)
    connection.exec_driver_sql("BEGIN IMMEDIATE" if immediate else "BEGIN")
