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
from load_world import WORLD, opened, statement
from postgres_world import PostgresServer, started_server

from ledger.audit import audit
from ledger.checkpoint import SignedCheckpoint
from ledger.errors import StoreError
from ledger.merkle import Frontier, leaf_hash
from ledger.statement import decode_statement

pytestmark = pytest.mark.integration

KILLS = 100
CHECKS = 10
SERVER_CRASHES = 6
FOUNDINGS = 10
DELAYS_S = (0.001, 0.08)
AT_THE_START = 0.2


@pytest.fixture(scope="module")
def nursery() -> Iterator[Nursery]:
    with Nursery("load_world") as nursery:
        yield nursery


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


class Acknowledged:
    """All that sequencers have said of one ledger, which the ledger must never contradict.

    Attributes:
        places: index by statement number.
        final_size: the largest that was final.
        errors: lines of sequencers that ended by themselves.
    """

    def __init__(self) -> None:
        self.places: dict[int, int] = {}
        self.final_size = 0
        self.errors: list[str] = []
        self._notes: list[str] = []

    @property
    def next(self) -> int:
        """The first statement number that nobody has acknowledged."""
        return max(self.places, default=-1) + 1

    def hear(self, lines: list[str]) -> None:
        for line in lines:
            kind, _, rest = line.partition(" ")
            match kind:
                case "open":
                    size, final_size = map(int, rest.split())
                    assert size > max(self.places.values(), default=-1)
                    assert final_size >= self.final_size
                case "ack":
                    for pair in rest.split():
                        number, place = map(int, pair.split(":"))
                        assert self.places.setdefault(number, place) == place
                case "note":
                    self._notes.append(bytes.fromhex(rest).decode())
                case "final":
                    assert int(rest) >= self.final_size
                    self.final_size = int(rest)
                case _:
                    self.errors.append(rest)

    def check(self, location: Path | str) -> None:
        """Hold the ledger against all that was said of it, as its sequencer."""
        with opened(location) as log:
            size, entries = log.size, log.entries(0, log.size)
            for number, place in self.places.items():
                assert entries[place] == statement(number)
            numbers = list(self.places)
            assert log.append([statement(number) for number in numbers]) == [self.places[n] for n in numbers]
            assert log.size == size
            assert log.final_size >= self.final_size
            self._check_notes(entries)
        assert len({decode_statement(raw).digest for raw in entries}) == size

    def _check_notes(self, entries: list[bytes]) -> None:
        published = [SignedCheckpoint.parse(note).checkpoint for note in self._notes]
        sizes = [checkpoint.size for checkpoint in published]
        assert sizes == sorted(sizes)
        roots, edge = {}, Frontier()
        for index, raw in enumerate(entries, start=1):
            edge, _ = edge.append(leaf_hash(raw))
            if index in sizes:
                roots[index] = edge.root()
        assert all(checkpoint.root == roots[checkpoint.size] for checkpoint in published)


def check_to_the_end(location: Path | str, said: Acknowledged) -> None:
    said.check(location)
    with opened(location) as log:
        log.checkpoint()
        policy = log.policy
    report = audit(location, policy)
    assert [problem for problem in report.problems if "quorum" not in problem] == []


def founded(nursery: Nursery, location: Path | str) -> str:
    code, lines = nursery.start("begin", location=str(location)).wait()
    assert (code, lines) == (0, ["founded"])
    return str(location)


def delay_s(chance: random.Random) -> float:
    low_s, high_s = DELAYS_S
    return low_s * float((high_s / low_s) ** chance.random())


def test_a_hundred_killed_sequencers_lose_nothing(
    location: Path | str, nursery: Nursery, chance: random.Random
) -> None:
    place, said = founded(nursery, location), Acknowledged()
    for kill in range(1, KILLS + 1):
        child = nursery.start("sequence", location=place, seed=chance.randrange(1 << 32), first=said.next)
        if chance.random() >= AT_THE_START:
            said.hear([child.line()])
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
        said.hear([child.line()])
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
