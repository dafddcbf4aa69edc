"""A disk that is really full: the sequencer says so in one line, loses nothing, and goes on when there is room."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from load_world import Acknowledged, check_to_the_end, found, statement
from postgres_world import SMALL_DISK, PostgresServer, started_server

from ledger.errors import StoreFull

pytestmark = pytest.mark.integration

FILLER = """
import sys
sys.path[:] = sys.argv[3].split("\\n")
import resource
from pathlib import Path
from load_world import Acknowledged, check_to_the_end, found, statement
from ledger.errors import StoreError

directory, how = Path(sys.argv[1]), sys.argv[2]
ballast, said = directory / "ballast", Acknowledged()
log = found(directory / "ledger.db")
if how == "disk":
    ballast.write_bytes(bytes(1_000_000))
else:
    resource.setrlimit(resource.RLIMIT_FSIZE, (1_000_000, resource.RLIM_INFINITY))
try:
    while True:
        size, numbers = log.size, range(said.next, said.next + 20)
        said.places.update(zip(numbers, log.append([statement(n) for n in numbers]), strict=True))
except StoreError as error:
    print(error.exit_code, type(error).__name__, error)
assert log.size == size > 100
for number, place in said.places.items():
    assert log.entries(place, place + 1) == [statement(number)]
ballast.unlink(missing_ok=True)
resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
assert log.append([statement(n) for n in numbers]) == list(range(size, size + 20))
log.close()
check_to_the_end(directory / "ledger.db", said)
print("all is there")
"""
ON_A_SMALL_DISK = [*SMALL_DISK, "size=2m"]
BATCH = 50
BALLAST_ROWS = 130_000  # 4.7 MB: the server's own vacuum of its catalogs may take 1 MB of it at any time


def fill(directory: Path, how: str, before: list[str | Path]) -> str:
    """What a process says that fills a disk of 2 MB, or reaches a limit of 1 MB on its files."""
    command = [*before, sys.executable, "-c", FILLER, directory, how, "\n".join(sys.path)]
    ended = subprocess.run(command, capture_output=True, text=True)
    assert ended.returncode == 0, ended.stderr
    first, last = ended.stdout.splitlines()
    assert last == "all is there"
    return first


def require_mounts(directory: Path) -> None:
    """Skip unless this user may have a disk of its own, which no other process sees."""
    if os.getuid() != 0 or shutil.which("unshare") is None:
        pytest.skip("only root may mount a small disk")
    if subprocess.run([*ON_A_SMALL_DISK, directory, "true"], capture_output=True).returncode:
        pytest.skip("no right to mount a small disk here")


def test_a_full_disk_is_said_and_survived(tmp_path: Path) -> None:
    require_mounts(tmp_path)
    said = fill(tmp_path, "disk", [*ON_A_SMALL_DISK, tmp_path])
    assert said.startswith(f"2 StoreFull {tmp_path / 'ledger.db'}: database or disk is full; make free space")
    assert list(tmp_path.iterdir()) == []


def test_a_file_that_may_not_grow_is_said_and_survived(tmp_path: Path) -> None:
    said = fill(tmp_path, "limit", [])
    assert said.startswith(
        f"2 StoreError {tmp_path / 'ledger.db'}: disk I/O error; check the path, its rights and free"
    )


def test_a_full_disk_of_the_server_is_said_and_survived(tmp_path: Path) -> None:
    require_mounts(tmp_path)
    server = started_server(small_disk_mb=12)
    try:
        fill_server(server)
    finally:
        server.remove()


def fill_server(server: PostgresServer) -> None:
    server.execute(f"CREATE TABLESPACE small LOCATION '{server.small_disk}'")
    server.execute("CREATE DATABASE ledger TABLESPACE small")
    url, said = server.url("ledger"), Acknowledged()
    server.execute(f"CREATE TABLE ballast AS SELECT generate_series(1, {BALLAST_ROWS})", "ledger")
    log = found(url)

    def append() -> None:
        numbers = range(said.next, said.next + BATCH)
        said.places.update(zip(numbers, log.append([statement(number) for number in numbers]), strict=True))

    def append_for_ever() -> None:
        while True:
            append()

    with pytest.raises(StoreFull, match=r"No space left on device.*make room") as full:
        append_for_ever()
    assert len(str(full.value).splitlines()) == 1
    size = log.size
    server.execute("DROP TABLE ballast", "ledger")
    append()
    assert log.size == size + BATCH
    log.close()
    check_to_the_end(url, said)
