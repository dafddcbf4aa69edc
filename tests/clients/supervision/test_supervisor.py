"""The order of starting and stopping, readiness, restarts with pauses: all in a time that does not pass by itself."""

import asyncio
from pathlib import Path

import pytest
from supervision_world import World

from clients.supervision.program import Program, in_order

COMMAND = ("/bin/true",)


def program(name: str, *needs: str, **more: object) -> Program:
    return Program(name, COMMAND, needs, **more)  # type: ignore[arg-type]


def test_they_start_when_those_they_need_are_ready_and_stop_in_reverse() -> None:
    world = World([program("third", "second", "first"), program("second", "first"), program("first")])
    world.at_once = {"second", "third"}

    async def script() -> None:
        await asyncio.sleep(5)
        assert world.journal == ["start first"]
        assert world.programs["second"].why == "for first to be ready"
        world.processes["first"].ready = True
        await asyncio.sleep(5)

    world.run(script)
    begun = ["start first", "start second", "start third"]
    assert world.journal == [*begun, "term third", "term second", "term first"]
    assert world.states == ["starting", "ready", "stopping", "stopped"]
    assert {one.state for one in world.programs.values()} == {"stopped"}


@pytest.mark.parametrize(
    ("programs", "words"),
    [
        ([program("a"), program("a")], "one name"),
        ([program("a", "b")], "a needs b, which is not there"),
        ([program("a", "b"), program("b", "a")], "in a circle: a -> b -> a"),
    ],
)
def test_programs_that_do_not_fit_together_are_refused(programs: list[Program], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        in_order(programs)


def test_pauses_double_to_the_longest_and_begin_anew_after_a_good_while() -> None:
    world = World([program("one", retry_at_most_s=3)])

    async def script() -> None:
        for lasts_s in (1, 1, 1, 1, 61, 1):
            await asyncio.sleep(lasts_s)
            world.processes["one"].end(1, "no more memory")
            await asyncio.sleep(0.01)
            assert world.programs["one"].state == "restarting"
            while world.processes["one"].ended.done():
                await asyncio.sleep(0.01)

    world.run(script)
    times = [at_s for _, at_s in world.started_at_s]
    lengths = [1, 1, 1, 1, 61, 1]
    pauses = [b - a - length for a, b, length in zip(times, times[1:], lengths, strict=False)]
    assert [round(pause, 1) for pause in pauses] == [0.5, 1.0, 2.0, 3.0, 0.5, 1.0]
    assert world.programs["one"].restarts == 6
    assert "warning one ended with 1: no more memory; started again in 0.5 s" in world.said


def test_pauses_are_shortened_at_random_by_up_to_a_half() -> None:
    world = World([program("one")], random=lambda: 0.999)

    async def script() -> None:
        world.at_once = set()
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        world.processes["one"].end(1)
        await asyncio.sleep(0.4)

    world.run(script)
    assert world.journal[:2] == ["start one", "start one"]


def test_it_never_gives_up_and_says_so() -> None:
    world = World([program("one")])

    async def script() -> None:
        for _ in range(50):
            await asyncio.sleep(31)
            world.processes["one"].end(1, "away")

    world.run(script)
    assert world.journal.count("start one") >= 50
    assert "error one ended with 1: away; started again in 30.0 s (50 times in a row)" in world.said


def test_a_wrong_configuration_is_said_to_need_mending_and_tried_slowly() -> None:
    world = World([program("one")])

    async def script() -> None:
        await asyncio.sleep(1)
        world.processes["one"].end(2, "firm.toml: units: missing")
        await asyncio.sleep(59)
        assert world.programs["one"].state == "needs-mending"
        last = world.programs["one"].last_exit
        assert last is not None
        assert (last.code, last.at_s, last.line) == (2, 1001, "firm.toml: units: missing")
        assert world.journal == ["start one"]
        await asyncio.sleep(2)
        assert world.programs["one"].state == "ready"

    world.run(script)
    words = "ended with 2: firm.toml: units: missing; needs mending, started again in 60.0 s"
    assert f"error one {words}" in world.said


def test_what_cannot_be_started_needs_mending() -> None:
    world = World([program("one"), program("two")])
    world.refuse["one"] = "something else listens at 127.0.0.1:1 already"

    async def script() -> None:
        await asyncio.sleep(1)
        assert world.programs["one"].state == "needs-mending"
        assert world.programs["two"].state == "ready"
        del world.refuse["one"]
        await asyncio.sleep(60)
        assert world.programs["one"].state == "ready"

    world.run(script)


def test_one_that_is_not_ready_in_time_is_stopped_and_started_again() -> None:
    world = World([program("one", ready_within_s=7)])
    world.at_once = set()

    async def script() -> None:
        await asyncio.sleep(8)
        world.at_once = {"one"}
        await asyncio.sleep(2)

    world.run(script)
    assert world.journal == ["start one", "term one", "start one", "term one"]
    assert "error one is not ready after 7 s" in world.said


def test_others_go_on_while_what_they_need_is_away() -> None:
    world = World([program("ledger"), program("runner", "ledger")])

    async def script() -> None:
        await asyncio.sleep(1)
        world.processes["ledger"].end(-9)
        await asyncio.sleep(0.2)
        assert world.programs["runner"].state == "ready"
        await asyncio.sleep(2)

    world.run(script)
    assert world.journal[:3] == ["start ledger", "start runner", "start ledger"]
    assert world.states == ["starting", "ready", "starting", "ready", "stopping", "stopped"]


def test_what_does_not_stop_is_killed_and_what_is_not_killed_is_killed_again() -> None:
    world = World([program("one", stop_within_s=4)])

    async def script() -> None:
        await asyncio.sleep(1)
        world.processes["one"].stops = False
        world.processes["one"].unkillable = 2
        begun_s = world.time_s
        world.supervisor.stop()
        while world.states[-1] != "stopped":
            await asyncio.sleep(0.05)
        assert 4 <= world.time_s - begun_s < 5

    world.run(script)
    assert world.journal == ["start one", "term one", "kill one", "kill one", "kill one"]


def test_asked_to_stop_twice_it_waits_no_longer() -> None:
    world = World([program("one", stop_within_s=1000)])

    async def script() -> None:
        await asyncio.sleep(1)
        world.processes["one"].stops = False
        world.supervisor.stop()
        await asyncio.sleep(1)
        world.supervisor.stop()
        await asyncio.sleep(1)
        assert world.states[-1] == "stopped"

    world.run(script)


def test_it_stops_while_some_wait(tmp_path: Path) -> None:
    later = tmp_path / "ledger.db"
    told = program("superlink", after=(later,), after_words="the founding")
    world = World([program("desk"), program("ledger", after=(later,)), program("runner", "ledger"), told])

    async def script() -> None:
        await asyncio.sleep(500)
        assert world.programs["ledger"].why == f"for {later}"
        assert world.programs["superlink"].why == "for the founding"

    world.run(script)
    assert world.journal == ["start desk", "term desk"]


def test_what_waits_for_a_file_starts_when_it_is_there(tmp_path: Path) -> None:
    later = tmp_path / "ledger.db"
    world = World([program("desk"), program("ledger", after=(later,)), program("runner", "ledger")])

    async def script() -> None:
        await asyncio.sleep(500)
        assert world.states == ["starting", "ready"]  # all that can be
        later.touch()
        await asyncio.sleep(1)
        assert world.programs["runner"].state == "ready"

    world.run(script)
    assert world.states[:4] == ["starting", "ready", "starting", "ready"]


def test_a_set_is_ready_without_what_is_not_essential() -> None:
    world = World([program("one"), program("scores", essential=False)])
    world.at_once = {"one"}

    async def script() -> None:
        await asyncio.sleep(1)
        assert world.states == ["starting", "ready"]

    world.run(script)


def test_replaced_certificates_start_those_again_that_read_them(tmp_path: Path) -> None:
    certificate = tmp_path / "tls.crt"
    certificate.write_text("old")
    world = World([program("ledger", reads=(certificate,)), program("runner")])

    async def script() -> None:
        await asyncio.sleep(10)
        fresh = tmp_path / "new"
        fresh.write_text("new")
        fresh.replace(certificate)
        await asyncio.sleep(10)

    world.run(script)
    assert world.journal[:4] == ["start ledger", "start runner", "term ledger", "start ledger"]
    assert world.journal.count("start runner") == 1


def test_a_reload_starts_only_those_again_that_read_files(tmp_path: Path) -> None:
    world = World([program("ledger", reads=(tmp_path / "tls.crt",)), program("runner")])

    async def script() -> None:
        await asyncio.sleep(10)
        world.supervisor.reload()
        await asyncio.sleep(0.5)

    world.run(script)
    assert world.journal[:4] == ["start ledger", "start runner", "term ledger", "start ledger"]


def test_a_mended_file_is_tried_at_once(tmp_path: Path) -> None:
    config = tmp_path / "firm.toml"
    world = World([program("one", reads=(config,))])

    async def script() -> None:
        await asyncio.sleep(1)
        world.processes["one"].end(2)
        await asyncio.sleep(5)
        config.touch()
        await asyncio.sleep(2.5)
        assert world.programs["one"].state == "ready"

    world.run(script)


def test_a_fault_in_the_supervision_itself_ends_all_and_is_shown() -> None:
    world = World([program("one"), program("two")])

    async def broken() -> bool:
        raise RuntimeError("a fault")

    async def script() -> None:
        world.at_once = set()
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        world.processes["one"].is_ready = broken  # type: ignore[method-assign]
        await asyncio.sleep(1)

    with pytest.raises(RuntimeError, match="a fault"):
        world.run(script)
    assert {one.state for one in world.programs.values()} == {"stopped"}
