"""Cosignatures wait for a quorum, and not for long."""

from dataclasses import dataclass

from ledger.service.gathering import Gathering


@dataclass(frozen=True)
class Given:
    lines: list[str]
    size: int = 6


def by(*names: str, size: int = 6) -> Given:
    return Given([f"\u2014 log/{name} c2lnbmF0dXJl\n" for name in names], size)


class World:
    def __init__(self) -> None:
        self.now_s = 0.0
        self.gathering: Gathering[Given] = Gathering(0.05, lambda: self.now_s)

    def take(self, *given: Given, voters: int = 4) -> int:
        for one in given:
            self.gathering.add(one)
        return len(self.gathering.take(voters))


def test_a_quorum_is_taken_together_and_the_rest_later() -> None:
    world = World()
    assert world.gathering.wait_s() == float("inf")
    assert [world.take(by("a")), world.take(by("b")), world.take(by("c"))] == [0, 0, 3]
    assert world.take(by("d")) == 0  # it is final without it: no hurry
    world.now_s = 0.05
    assert world.take() == 1
    assert world.take() == 0


def test_nothing_waits_for_long() -> None:
    world = World()
    assert world.take(by("a")) == 0
    world.now_s = 0.04
    assert abs(world.gathering.wait_s() - 0.01) < 1e-9
    assert world.take(by("b")) == 0
    world.now_s = 0.05
    assert (world.gathering.wait_s(), world.take()) == (0.0, 2)
    assert world.take(by("c")) == 1  # with those before it


def test_names_count_once_and_for_their_checkpoint() -> None:
    world = World()
    assert world.take(by("a"), by("a"), by("a")) == 0
    assert world.take(by("b", size=7), by("c", size=8)) == 0
    assert world.take(by("b", "c")) == 6
    assert world.take(Given(["no line"]), Given([]), voters=0) == 0
    assert len(world.gathering.take_all()) == 2


def test_what_has_passed_is_forgotten() -> None:
    world = World()
    for size in range(100):
        world.gathering.add(by("a", size=size))
        world.gathering.take_all()
    assert len(world.gathering._passed) == 8
