"""Two sequencers for one ledger, as real processes: the second is refused, and takes over when the first is dead."""

import os
import signal
import time
from pathlib import Path

import pytest
from fork_world import Child, Nursery
from load_world import Acknowledged, check_to_the_end, founded
from postgres_world import PostgresServer

pytestmark = pytest.mark.integration

AT_ONCE_S = 5.0
SUCCESSIONS = 3
HOLDERS = "SELECT DISTINCT pid FROM pg_locks WHERE locktype = 'advisory' AND granted"


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
        for [pid] in postgres_server.execute(HOLDERS):
            postgres_server.execute(f"SELECT pg_terminate_backend({pid}, 5000)")
        successor = started(nursery, place, said, first=said.next + 1000)
        os.kill(sleeper.pid, signal.SIGCONT)
        code, lines = sleeper.wait()
        assert code in (2, 3)
        assert lines[-1].startswith("error ")
        said.hear(successor.kill())
        said.hear([line for line in lines if line.startswith("ack ")])  # of before it was stopped
    check_to_the_end(postgres_url, said)
