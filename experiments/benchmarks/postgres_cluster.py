"""A PostgreSQL server for one measurement: the operating system's programs, a cluster in a temporary directory."""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from itertools import count
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from experiments.errors import ExperimentError

_ROLE, _UNPRIVILEGED = "artesian", "nobody"
_PATIENCE_S = 60.0


@contextmanager
def running_cluster() -> Iterator[Iterator[str] | None]:
    """URLs of new, empty databases while the block runs; None where PostgreSQL or its driver is not installed.

    The server is as durable as it is by default, and listens on a socket in its directory only.

    Raises:
        ExperimentError: it is installed but does not start.
    """
    programs = _programs()
    if programs is None or find_spec("psycopg") is None:
        yield None
        return
    folder = Path(tempfile.mkdtemp(prefix="artesian-pg-", dir="/tmp"))  # a socket's path must be short
    server: subprocess.Popen[bytes] | None = None
    try:
        server = _start(programs, folder)
        yield _databases(folder)
    finally:
        if server is not None:
            server.send_signal(signal.SIGINT)
            server.wait(_PATIENCE_S)
        shutil.rmtree(folder, ignore_errors=True)


def _programs() -> Path | None:
    places = [Path(place) for place in os.environ.get("PATH", "").split(os.pathsep)]
    debian = sorted(Path("/usr/lib/postgresql").glob("*/bin"), key=lambda place: int(place.parent.name), reverse=True)
    return next((place for place in [*places, *debian] if (place / "initdb").is_file()), None)


def _start(programs: Path, folder: Path) -> subprocess.Popen[bytes]:
    owner: dict[str, Any] = {"cwd": folder}
    if os.getuid() == 0:  # PostgreSQL refuses to run as root
        user = pwd.getpwnam(_UNPRIVILEGED)
        os.chown(folder, user.pw_uid, user.pw_gid)
        owner |= {"user": user.pw_uid, "group": user.pw_gid, "extra_groups": []}
    options = ("-U", _ROLE, "--auth=trust", "--encoding=UTF8", "--locale=C", "--no-sync")
    made = subprocess.run([programs / "initdb", "-D", folder / "data", *options], capture_output=True, **owner)
    if made.returncode != 0:
        raise ExperimentError(f"initdb failed: {made.stderr.decode(errors='replace').splitlines()[-1]}")
    command: list[str | Path] = [programs / "postgres", "-D", folder / "data", "-k", folder, "-c", "listen_addresses="]
    with (folder / "log").open("wb") as log:
        server: subprocess.Popen[bytes] = subprocess.Popen(command, stdout=log, stderr=log, **owner)
    deadline = time.monotonic() + _PATIENCE_S
    while not _answers(folder):
        if server.poll() is not None or time.monotonic() > deadline:
            server.kill()
            raise ExperimentError(f"PostgreSQL did not start: {(folder / 'log').read_text(errors='replace')[-200:]}")
        time.sleep(0.05)
    return server


def _answers(folder: Path) -> bool:
    try:
        _execute(folder, "SELECT 1")
    except sa.exc.OperationalError:
        return False
    return True


def _databases(folder: Path) -> Iterator[str]:
    for number in count():
        _execute(folder, f"CREATE DATABASE ledger{number}")
        yield _url(folder, f"ledger{number}")


def _execute(folder: Path, statement: str) -> None:
    engine = sa.create_engine(_url(folder, "postgres").replace(":", "+psycopg:", 1), isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        connection.exec_driver_sql(statement)
    engine.dispose()


def _url(folder: Path, database: str) -> str:
    return f"postgresql://{_ROLE}@/{database}?host={folder}"
