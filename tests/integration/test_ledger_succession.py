"""Two sequencers for one ledger, as real processes: the second is refused, and takes over when the first is dead."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypeAlias

import pytest
from command_world import Homes, done, run
from fork_world import Child, Nursery
from load_world import Acknowledged, check_to_the_end, founded
from postgres_world import PostgresServer

from ledger.service.server import SequencerFailed

pytestmark = pytest.mark.integration

AT_ONCE_S = 5.0
SUCCESSIONS = 3
HOLDERS = "SELECT DISTINCT pid FROM pg_locks WHERE locktype = 'advisory' AND granted"


Serve: TypeAlias = Callable[[], "subprocess.Popen[str]"]
"""Starts `artesian ledger serve` for the consortium's ledger."""


@pytest.fixture
def homes(location: Path | str, tmp_path: Path) -> Homes:
    return Homes.found(tmp_path / "homes", *([] if isinstance(location, Path) else ["--db", location]))


@pytest.fixture
def serve(homes: Homes) -> Iterator[Serve]:
    running = []

    def start() -> "subprocess.Popen[str]":
        command = [sys.executable, "-m", "artesian", "ledger", "serve", "--home", str(homes.coordinator)]
        command += ["--address", "127.0.0.1:0"]
        running.append(subprocess.Popen(command, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True))
        return running[-1]

    yield start
    for process in running:
        process.kill()
        process.wait()
        if process.stderr is not None:
            process.stderr.close()


def address_of(service: "subprocess.Popen[str]") -> str:
    """Where it serves, as soon as it does."""
    assert service.stderr is not None
    line = service.stderr.readline()
    assert "serving" in line
    return line.split()[-1]


def test_a_service_keeps_the_policy_of_its_members(homes: Homes, serve: Serve) -> None:
    """Wherever the ledger is; it has read it there beside the sequencer."""
    (homes.coordinator / "policy.txt").unlink()
    address_of(serve())
    end_s = time.monotonic() + AT_ONCE_S
    while not (homes.coordinator / "policy.txt").exists() and time.monotonic() < end_s:
        time.sleep(0.01)
    kept = (homes.coordinator / "policies" / "5.txt").read_text()
    assert kept == (homes.coordinator / "policy.txt").read_text() == done("policy", "--home", homes.coordinator)


def test_the_second_service_ends_with_one_line_and_code_2(serve: Serve) -> None:
    first = serve()
    address_of(first)
    second = serve()
    _, said = second.communicate()
    assert second.returncode == 2
    assert said.count("\n") == 1
    assert "another sequencer is running on this ledger; stop it first" in said
    first.kill()
    address_of(serve())


@pytest.mark.parametrize("new_location", [pytest.param("postgresql", marks=pytest.mark.postgresql)], indirect=True)
def test_a_service_that_was_cut_off_from_its_database_ends(
    homes: Homes, serve: Serve, postgres_server: PostgresServer, tmp_path: Path
) -> None:
    """It could never write again: the lock went with its session. It says so, and a new one serves."""
    service = serve()
    who = ["--home", homes["firm-1"], "--address", address_of(service)]
    done("witness", *who, "--founding", homes.founding, "--once")
    (tmp_path / "lading.txt").write_text("a crate")
    end_sessions(postgres_server)
    code, _, why = run("attest", *who, "--subject", "batch-1", "--file", tmp_path / "lading.txt")
    assert code == 3, why
    _, said = service.communicate(timeout=AT_ONCE_S)
    assert service.returncode == SequencerFailed.exit_code
    assert "open the ledger again" in said
    address_of(serve())


def end_sessions(server: PostgresServer) -> None:
    """What an administrator does to sequencers, or a network that fails."""
    for [pid] in server.execute(HOLDERS):
        server.execute(f"SELECT pg_terminate_backend({pid}, 5000)")


def started(nursery: Nursery, place: str, said: Acknowledged, first: int | None = None) -> Child:
    """A sequencer that has acknowledged something."""
    child = nursery.start("sequence", location=place, seed=0, first=said.next if first is None else first)
    said.hear([child.line(), child.line()])
    assert said.errors == []
    return child


def test_the_second_sequencer_is_refused_until_the_first_is_dead(location: Path | str, nursery: Nursery) -> None:
    place, said = founded(nursery, location), Acknowledged()
    first = started(nursery, place, said)
    for _ in range(SUCCESSIONS):
        code, lines = nursery.start("sequence", location=place, seed=1, first=said.next).wait()
        assert code == 2
        [line] = lines
        assert "another sequencer is running on this ledger; stop it first" in line
        said.hear(first.kill())
        begun = time.monotonic()
        first = started(nursery, place, said)
        assert time.monotonic() - begun < AT_ONCE_S
    said.hear(first.kill())
    check_to_the_end(location, said)


def test_a_sequencer_that_sleeps_keeps_its_lock(location: Path | str, nursery: Nursery) -> None:
    place, said = founded(nursery, location), Acknowledged()
    sleeper = started(nursery, place, said)
    os.kill(sleeper.pid, signal.SIGSTOP)
    assert nursery.start("sequence", location=place, seed=1, first=said.next).wait()[0] == 2
    os.kill(sleeper.pid, signal.SIGCONT)
    said.hear(sleeper.kill())
    check_to_the_end(location, said)


@pytest.mark.postgresql
def test_a_sequencer_that_was_cut_off_writes_nothing_beside_its_successor(
    postgres_server: PostgresServer, postgres_url: str, nursery: Nursery
) -> None:
    """It is stopped in the middle of its work, its session is ended, another takes over; then it wakes up."""
    place, said = founded(nursery, postgres_url), Acknowledged()
    for _ in range(SUCCESSIONS):
        sleeper = started(nursery, place, said)
        os.kill(sleeper.pid, signal.SIGSTOP)
        end_sessions(postgres_server)
        successor = started(nursery, place, said, first=said.next + 1000)
        os.kill(sleeper.pid, signal.SIGCONT)
        code, lines = sleeper.wait()
        assert code in (2, 3)
        assert lines[-1].startswith("error ")
        said.hear(successor.kill())
        said.hear([line for line in lines if line.startswith("ack ")])  # of before it was stopped
    check_to_the_end(postgres_url, said)
