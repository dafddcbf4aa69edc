"""A PostgreSQL server of the tests' own: the operating system's programs, a cluster in a temporary directory.

Nothing of the system is touched: the server runs as an unprivileged user, listens on a Unix socket in its directory
only, and ends with the tests. It is as durable as a real one (`fsync`, data checksums), because that is tested.
"""

import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from itertools import count
from pathlib import Path
from typing import Any

import psycopg
import pytest

ROLE = "artesian"
SETTINGS = {
    "listen_addresses": "",
    "fsync": "on",
    "full_page_writes": "on",
    "synchronous_commit": "on",
    "shared_buffers": "16MB",
    "max_connections": "40",
    "log_statement": "none",
}
PATIENCE_S = 60.0
SMALL_DISK = ["unshare", "-m", "sh", "-c", 'mount -t tmpfs -o "$0" tmpfs "$1" && shift && exec "$@"']
"""Runs a program, for root, with a disk in memory that only it sees: mount options, directory, program, arguments."""
UNPRIVILEGED = "nobody"


def programs() -> Path | None:
    """The directory of PostgreSQL's programs: the PATH's, else the newest of Debian's; None if there is none."""
    places = [Path(place) for place in os.environ.get("PATH", "").split(os.pathsep)]
    debian = Path("/usr/lib/postgresql").glob("*/bin")
    places += sorted(debian, key=lambda place: int(place.parent.name), reverse=True)
    found = (place for place in places if (place / "initdb").is_file() and (place / "postgres").is_file())
    return next(((place / "postgres").resolve().parent for place in found), None)


class PostgresServer:
    """One server; `crash` and `start` may be called again and again.

    Attributes:
        directory: holds the cluster, its socket and its log.
        pid: of the running postmaster.
        small_disk: a directory on a small disk of the server's own, if it has one.
    """

    def __init__(self, bin_directory: Path, *, small_disk_mb: int = 0) -> None:
        self.directory = Path(tempfile.mkdtemp(prefix="artesian-pg-", dir="/tmp"))  # a socket's path must be short
        self._bin = bin_directory
        self.small_disk = self.directory / "small"
        self._small_disk_mb = small_disk_mb
        self._as: dict[str, Any] = {"cwd": self.directory}
        self._numbers = count()
        self._spare: list[str] = []
        self._postmaster: subprocess.Popen[bytes] | None = None
        if os.getuid() == 0:  # PostgreSQL refuses to run as root
            user = pwd.getpwnam(UNPRIVILEGED)
            os.chown(self.directory, user.pw_uid, user.pw_gid)
            self._as |= {"user": user.pw_uid, "group": user.pw_gid, "extra_groups": []}
        options = ("--auth=trust", "--encoding=UTF8", "--locale=C", "--data-checksums", "--no-sync")
        initdb: list[str | Path] = [self._bin / "initdb", "-D", self._data, "-U", ROLE, *options]
        made = subprocess.run(initdb, capture_output=True, text=True, **self._as)
        if made.returncode:
            raise RuntimeError(f"initdb failed: {made.stderr}")
        with (self._data / "postgresql.conf").open("a") as settings:
            settings.writelines(f"{name} = '{value}'\n" for name, value in SETTINGS.items())

    @property
    def _data(self) -> Path:
        return self.directory / "data"

    @property
    def pid(self) -> int:
        assert self._postmaster is not None
        return self._postmaster.pid

    def start(self) -> None:
        """Start, recover after a crash if need be, and return when connections are taken."""
        command = [*self._before(), self._bin / "postgres", "-D", self._data, "-k", self.directory]
        caller = {"cwd": self.directory} if self._small_disk_mb else self._as
        deadline = time.monotonic() + PATIENCE_S
        while True:
            with (self.directory / "log").open("ab") as log:
                self._postmaster = postmaster = subprocess.Popen(command, stdout=log, stderr=log, **caller)
            while postmaster.poll() is None:
                if self._answers():
                    return
                if time.monotonic() > deadline:
                    raise RuntimeError(f"PostgreSQL does not answer: {self._last_words()}")
                time.sleep(0.01)
            if time.monotonic() > deadline or "still in use" not in self._last_words():
                raise RuntimeError(f"PostgreSQL ended at its start: {self._last_words()}")
            time.sleep(0.02)  # a killed postmaster's children are still going

    def _before(self) -> list[str | Path]:
        """What starts `postgres`: it ends when the tests' process does, and has its small disk if it wants one."""
        setpriv = shutil.which("setpriv")
        if not self._small_disk_mb:
            return [setpriv, "--pdeathsig", "QUIT"] if setpriv else []
        user, group = self._as["user"], self._as["group"]
        self.small_disk.mkdir(exist_ok=True)
        options = f"size={self._small_disk_mb}m,uid={user},gid={group},mode=0700"
        become = ["setpriv", f"--reuid={user}", f"--regid={group}", "--clear-groups", "--pdeathsig", "QUIT"]
        return [*SMALL_DISK, options, self.small_disk, *become]

    def crash(self, how: signal.Signals) -> None:
        """End at once without a checkpoint: `SIGQUIT` is an immediate shutdown, `SIGKILL` what it says."""
        assert self._postmaster is not None
        self._postmaster.send_signal(how)
        self._postmaster.wait(PATIENCE_S)

    def remove(self) -> None:
        """End the server, whatever it is doing, and delete all it had."""
        if self._postmaster is not None:
            with suppress(subprocess.TimeoutExpired):
                self.crash(signal.SIGQUIT)
            self._postmaster.kill()
            self._postmaster.wait()
        shutil.rmtree(self.directory, ignore_errors=True)

    def url(self, database: str) -> str:
        """What the ledger is given to find `database`."""
        return f"postgresql://{ROLE}@/{database}?host={self.directory}"

    def new_database(self) -> str:
        """The URL of an empty database: a fresh one, or one that was given back."""
        if self._spare:
            return self.url(self._spare.pop())
        name = f"ledger{next(self._numbers)}"
        self.execute(f"CREATE DATABASE {name}")
        return self.url(name)

    def give_back(self, url: str) -> None:
        """Empty a database, whoever is connected to it. That is a hundred times faster than making one."""
        name = url.removeprefix(f"postgresql://{ROLE}@/").partition("?")[0]
        self.execute(f"SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE datname = '{name}'")
        self.execute(f"ALTER DATABASE {name} RESET ALL")
        self.execute("DROP SCHEMA public CASCADE", name)
        self.execute("CREATE SCHEMA public", name)
        self._spare.append(name)

    def execute(self, statement: str, database: str = "postgres") -> list[tuple[Any, ...]]:
        """Run one SQL statement as the owner of everything, outside any transaction, and return its rows."""
        with psycopg.connect(self.url(database), autocommit=True) as connection:
            cursor = connection.execute(statement.encode())
            return cursor.fetchall() if cursor.description else []

    def _answers(self) -> bool:
        with suppress(psycopg.OperationalError):
            return bool(self.execute("SELECT 1"))
        return False

    def _last_words(self) -> str:
        return " | ".join((self.directory / "log").read_text(errors="replace").splitlines()[-5:])


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[PostgresServer]:
    """A server that lives as long as the tests of this process; of tests that do not crash it."""
    server = started_server()
    yield server
    server.remove()


@pytest.fixture
def postgres_url(postgres_server: PostgresServer) -> Iterator[str]:
    """The URL of a fresh database."""
    url = postgres_server.new_database()
    yield url
    postgres_server.give_back(url)


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.postgresql)])
def new_location(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Callable[[], Path | str]]:
    """Makes places for ledgers: once files, once PostgreSQL databases. What uses it must hold on both."""
    if request.param == "sqlite":
        numbers = count()
        yield lambda: tmp_path / f"ledger{next(numbers)}.db"
        return
    server: PostgresServer = request.getfixturevalue("postgres_server")
    urls: list[str] = []

    def new_url() -> str:
        urls.append(server.new_database())
        return urls[-1]

    yield new_url
    for url in urls:
        server.give_back(url)


@pytest.fixture
def location(new_location: Callable[[], Path | str]) -> Path | str:
    """One place of `new_location`."""
    return new_location()


def started_server(*, small_disk_mb: int = 0) -> PostgresServer:
    """A running server; the test is skipped where the operating system has none."""
    bin_directory = programs()
    if bin_directory is None:
        pytest.skip("no initdb and postgres here: as root run `make postgresql`")
    server = PostgresServer(bin_directory, small_disk_mb=small_disk_mb)
    try:
        server.start()
    except BaseException:
        server.remove()
        raise
    return server
