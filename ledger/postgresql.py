"""PostgreSQL as a ledger's database: its sessions, who alone may write, and what its errors mean.

The sequencer holds an advisory lock, and all it writes goes through the session that holds the lock. When that
session is gone, whoever ended it, the lock is free and the sequencer's writes fail: it cannot go on beside a new one.
"""

from functools import partial
from typing import Any

import sqlalchemy as sa
from sqlalchemy.exc import DBAPIError

from ledger.errors import Conflict, Damaged, LedgerError, Locked, StoreError, StoreFull, Unreachable

_NAMES = ("postgresql", "postgres")
_SEQUENCER = 0x41525445
_WRITER = 0x41525446
_CONNECT_TIMEOUT_S = 10
_WRITER_WAIT_S = 10
# The server learns of a killed sequencer as soon as it has done what it was doing for it; a new one waits so long.
_SUCCESSION_S = 1

_SESSION = """
    SELECT set_config('synchronous_commit', 'on', false) WHERE current_setting('synchronous_commit') = 'off'
    UNION ALL SELECT set_config('tcp_keepalives_idle', '10', false)
    UNION ALL SELECT set_config('tcp_keepalives_interval', '5', false)
    UNION ALL SELECT set_config('tcp_keepalives_count', '3', false)
"""
_BEGIN_READING = "SET TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY"
# One writer at a time, as on SQLite: what it reads, after the lock, is all that those before it have written.
_BEGIN_WRITING = f"""
    SET TRANSACTION ISOLATION LEVEL READ COMMITTED READ WRITE;
    SET LOCAL lock_timeout = '{_WRITER_WAIT_S}s';
    SELECT pg_advisory_xact_lock({{writer}})
"""
_KEEPALIVES = {"keepalives_idle": 10, "keepalives_interval": 5, "keepalives_count": 3, "tcp_user_timeout": 30_000}

# By the first characters of the SQLSTATE (PostgreSQL's Appendix A): which error, and how to mend it.
_STATES: dict[str, tuple[type[LedgerError], str]] = {
    "08": (Unreachable, "open the ledger again and submit again what was not acknowledged"),
    "57": (Unreachable, "open the ledger again and submit again what was not acknowledged"),
    "": (Unreachable, "check the URL and that the server runs"),
    "23": (Conflict, "another process has written here; open the ledger again"),
    "40": (Conflict, "another process has written here; open the ledger again"),
    "55P03": (Conflict, "another process is writing here; try again"),
    "25": (StoreError, "this server takes no writes; give the URL of the primary"),
    "28": (StoreError, "check the role and its password"),
    "3D": (StoreError, "create the database first"),
    "42P01": (StoreError, "this is not a ledger; give the URL of its database"),
    "42": (StoreError, "check the rights of the role"),
    "53100": (StoreFull, "make room on the server's disk and try again"),
    "53": (StoreError, "check the server's free space and connections"),
    "54": (StoreError, "check the server's limits"),
}
_UNKNOWN = (Damaged, "restore the database from a mirror")


def is_url(location: str) -> bool:
    """Whether this names a database on a server rather than a file."""
    return "://" in location


def open_engine(location: str, *, writer: int = _WRITER) -> sa.Engine:
    """The database at a `postgresql://` URL; nothing is connected yet.

    Args:
        writer: number of the advisory lock that those who write hold for the length of a transaction, one at a time.

    Raises:
        StoreError: it is no such URL, or the driver is not installed.
    """
    url = _url(location)
    if url.get_backend_name() not in _NAMES:
        raise StoreError(f"{public_name(location)}: give a path (SQLite) or a postgresql:// URL")
    wishes: dict[str, object] = {"connect_timeout": _CONNECT_TIMEOUT_S, **_KEEPALIVES}
    wishes = {key: value for key, value in wishes.items() if key not in url.query}
    try:
        engine = sa.create_engine(url.set(drivername="postgresql+psycopg"), pool_pre_ping=True, connect_args=wishes)
    except ImportError:
        raise StoreError(
            f"{public_name(location)}: PostgreSQL's driver is missing; install it: pip install 'artesian[postgresql]'"
        ) from None
    sa.event.listen(engine, "connect", _on_connect)
    sa.event.listen(engine, "begin", partial(_on_begin, writer))
    return engine


def public_name(location: str) -> str:
    """The URL without its password."""
    return _url(location).render_as_string(hide_password=True)


class Session:
    """The one session that may write as the sequencer."""

    def __init__(self, engine: sa.Engine, name: str) -> None:
        """Take the lock.

        Raises:
            Locked: another process holds it.
            StoreError: the server promises no durability.
        """
        self._name = name
        self._connection = engine.connect()
        try:
            self._take()
        except BaseException:
            self.close()
            raise

    @property
    def connection(self) -> sa.Connection:
        """The connection to write through.

        Raises:
            Unreachable: it was lost, and the lock with it.
        """
        # SQLAlchemy would connect anew without a word, but not with our lock.
        if self._connection.closed or self._connection.invalidated:
            raise Unreachable(
                f"{self._name}: the connection that held the sequencer's lock was lost; open the ledger again"
            )
        return self._connection

    def close(self) -> None:
        """End the session, and the lock with it."""
        if not self._connection.invalidated:
            self._connection.detach()  # back in the pool it would keep the lock
        self._connection.close()

    def _take(self) -> None:
        with self._connection.begin():
            if self._connection.scalar(sa.text("SELECT current_setting('fsync')")) != "on":
                raise StoreError(f"{self._name}: the server runs with fsync off and may lose entries; turn it on")
            self._connection.exec_driver_sql(f"SET LOCAL lock_timeout = '{_SUCCESSION_S}s'")
            try:
                self._connection.execute(sa.select(sa.func.pg_advisory_lock(_SEQUENCER)))
            except DBAPIError as error:
                if _state(error) != "55P03":
                    raise
                raise Locked(f"{self._name}: another sequencer is running on this ledger; stop it first") from None


def explain(name: str, error: DBAPIError) -> LedgerError:
    """What an error of the server means for the ledger called `name`, and how to mend it."""
    state = _state(error)
    if error.connection_invalidated:
        state = "08006"
    kind, advice = _STATES.get(state) or _STATES.get(state[:2]) or _UNKNOWN
    lines = str(error.orig).splitlines() or ["no message"]
    return kind(f"{name}: {lines[0]}; {advice}")


def _url(location: str) -> sa.URL:
    try:
        return sa.make_url(location)
    except (sa.exc.ArgumentError, ValueError):
        raise StoreError("the ledger's URL cannot be read; write postgresql://USER@HOST/DATABASE") from None


def _state(error: DBAPIError) -> str:
    return getattr(error.orig, "sqlstate", None) or ""


def _on_connect(connection: Any, _record: Any) -> None:
    connection.execute(_SESSION)
    connection.commit()


def _on_begin(writer: int, connection: sa.Connection) -> None:
    writes = connection.get_execution_options().get("artesian_immediate", False)
    connection.exec_driver_sql(_BEGIN_WRITING.format(writer=writer) if writes else _BEGIN_READING)
