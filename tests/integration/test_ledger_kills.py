"""Sequencers and database servers that are killed at any moment: what was acknowledged is there, once, in its place.

The moments are drawn from a seed that a failing test prints; `ARTESIAN_KILL_SEED` runs it again. The kills are real,
so that the same seed draws the same delays and batches, while what a process has reached by then may differ.
"""

import os
import random
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from fork_world import Nursery
from load_world import WORLD, Acknowledged, check_to_the_end, founded, opened
from postgres_world import PostgresServer, started_server

from ledger.errors import StoreError

pytestmark = pytest.mark.integration

KILLS = 100
CHECKS = 5
SERVER_CRASHES = 6
FOUNDINGS = 6
MOST_LINES = 5
DELAYS_S = (0.0005, 0.03)


@pytest.fixture
def chance() -> random.Random:
    seed = os.environ.get("ARTESIAN_KILL_SEED") or str(random.randrange(1 << 32))
    print(f"run it again with ARTESIAN_KILL_SEED={seed}")
    return random.Random(seed)


@pytest.fixture
def server() -> Iterator[PostgresServer]:
    """A server of this test's own, to be crashed."""
    server = started_server()
    yield server
    server.remove()


def delay_s(chance: random.Random) -> float:
    low_s, high_s = DELAYS_S
    return low_s * float((high_s / low_s) ** chance.random())


def test_a_hundred_killed_sequencers_lose_nothing(
    location: Path | str, nursery: Nursery, chance: random.Random
) -> None:
    place, said = founded(nursery, location), Acknowledged()
    for kill in range(1, KILLS + 1):
        child = nursery.start("sequence", location=place, seed=chance.randrange(1 << 32), first=said.next)
        said.hear([child.line() for _ in range(chance.randrange(MOST_LINES + 1))])
        time.sleep(delay_s(chance))
        said.hear(child.kill())
        if kill % (KILLS // CHECKS) == 0:
            said.check(location)
    assert said.errors == []
    assert len(said.places) > KILLS
    assert said.final_size > 0
    check_to_the_end(location, said)


@pytest.mark.postgresql
def test_a_killed_server_loses_nothing(server: PostgresServer, nursery: Nursery, chance: random.Random) -> None:
    place, said = founded(nursery, server.new_database()), Acknowledged()
    for crash in range(SERVER_CRASHES):
        child = nursery.start("sequence", location=place, seed=chance.randrange(1 << 32), first=said.next)
        said.hear([child.line() for _ in range(1 + chance.randrange(MOST_LINES))])
        time.sleep(delay_s(chance))
        server.crash(signal.SIGKILL if crash % 2 else signal.SIGQUIT)
        code, lines = child.wait()
        assert code == 3, lines
        said.hear(lines)
        server.start()
        said.check(place)
    assert len(said.errors) == SERVER_CRASHES
    check_to_the_end(place, said)


def test_a_founding_that_was_killed_can_be_done_again(
    new_location: Callable[[], Path | str], nursery: Nursery, chance: random.Random
) -> None:
    """What it left is nothing, or a ledger that opens and takes the founding statements."""
    for _ in range(FOUNDINGS):
        location = new_location()
        child = nursery.start("begin", location=str(location))
        time.sleep(delay_s(chance))
        child.kill()
        try:
            with opened(location) as log:
                log.append(WORLD.log.entries(0, WORLD.log.size))
        except StoreError:
            founded(nursery, location)
        check_to_the_end(location, Acknowledged())
