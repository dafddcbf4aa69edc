"""The runner: what is wanted comes about, once, in the order in which it was due, whoever dies in between."""

from __future__ import annotations

import contextlib
from datetime import UTC, datetime

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from runner_world import START_S, Killed, World

from server.cohort import RunFailed
from server.run_order import AlreadyOrdered, NotScheduled, RunOrder, Wanted

CREDIT, DEMAND = {"name": "credit"}, {"name": "demand"}
NIGHTLY = {"name": "credit", "schedule": {"cron": "0 2 * * *"}}


def the_order(world: World) -> RunOrder:
    ((order, _),) = world.orders.history(10)
    return order


def reasons(world: World) -> list[tuple[str, str]]:
    """Outcome and reason of every try of the newest order."""
    return [(one.outcome, one.reason) for one in world.orders.history(1)[0][1]]


def at(text: str) -> float:
    return datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp()


def test_an_order_is_carried_out_once() -> None:
    world = World(CREDIT)
    world.orders.order("credit", world.now_s)
    with pytest.raises(AlreadyOrdered, match="order 1 is waiting"):
        world.orders.order("credit", world.now_s)
    world.steps(8)
    order = the_order(world)
    assert (order.phase, order.outcome, order.attempts) == ("ended", "completed", 1)
    assert world.trained == [("credit", 1), ("credit", 2), ("credit", 3)]
    assert world.orders.runner() == (START_S + 5.0, "")
    world.orders.order("credit", world.now_s)


def test_an_order_of_some_rounds_ends_after_them_and_the_next_goes_on() -> None:
    world = World(CREDIT, rounds=5)
    world.orders.order("credit", world.now_s, rounds=2)
    world.steps(6)
    assert the_order(world).outcome == "completed"
    assert world.trained == [("credit", 1), ("credit", 2)]
    world.orders.order("credit", world.now_s, rounds=2)
    world.steps(2)
    world.app.die()
    world.steps(30)
    assert world.trained == [("credit", number) for number in (1, 2, 3, 4)]  # also beyond a crash no more than it asked


def test_tasks_are_trained_one_after_the_other_the_longest_due_first() -> None:
    world = World(CREDIT, DEMAND)
    world.orders.order("demand", world.now_s)
    world.orders.order("credit", world.now_s + 1)
    for _ in range(12):
        world.steps()
        assert len(world.training) <= 1
    assert [task for task, _ in world.trained] == ["demand"] * 3 + ["credit"] * 3


def test_a_failed_run_begins_again_after_growing_pauses_and_is_given_up_with_its_reason() -> None:
    world = World(CREDIT, runner={"first_pause_s": 10, "most_failures": 3})
    world.orders.order("credit", world.now_s)
    began = []
    for _ in range(60):
        world.runner.step()
        for app in world.apps:
            if not app.over and app.ordered is None:
                app.begin()
                began.append(world.now_s - START_S)
                app.fail(RunFailed("credit: 2 firms take part, the policy asks for 3"))
        world.now_s += 1
    assert began == [0, 11, 32]  # pauses of 10 and 20 s, seen a second after the end
    order = the_order(world)
    assert (order.outcome, order.attempts) == ("failed", 3)
    assert order.reason.startswith("given up after 3 failures in a row: credit: 2 firms take part")
    assert [outcome for outcome, _ in reasons(world)] == ["failed"] * 3


def test_a_run_whose_process_was_ended_begins_again_at_once_and_the_next_time_after_a_pause() -> None:
    world = World(CREDIT, runner={"first_pause_s": 10})
    world.orders.order("credit", world.now_s)
    began = []
    for _ in range(45):
        world.runner.step()
        for app in world.apps:
            if not app.over and app.ordered is None:
                app.begin()
                began.append(world.now_s - START_S)
                app.die()
        world.now_s += 1
    assert began == [0, 1, 22]  # the next pause is as long as after any second failure: 20 s


def test_a_round_in_between_forgets_the_failures() -> None:
    world = World(CREDIT, rounds=20, runner={"first_pause_s": 1, "most_failures": 2})
    world.orders.order("credit", world.now_s)
    for _ in range(5):
        world.steps(2)
        if world.training:
            world.app.die()
        world.steps(3)
    world.steps(20)
    assert the_order(world).outcome == "completed"
    assert the_order(world).attempts > 2
    assert ("failed", "its process ended without a word") in reasons(world)


def test_a_run_that_no_executor_takes_is_submitted_again() -> None:
    world = World(CREDIT)
    world.orders.order("credit", world.now_s)
    for _ in range(9):
        world.runner.step()
        world.now_s += 50
    assert world.phases == {1: "stopped", 2: "pending"}
    assert reasons(world) == [("failed", "no executor has taken the run within 300 s")]


def test_pausing_lets_the_round_end_and_resuming_goes_on_after_it() -> None:
    world = World(CREDIT, rounds=5)
    world.orders.order("credit", world.now_s)
    world.steps(2)
    world.orders.want("credit", "paused", world.now_s, "stock-taking")
    world.steps(5)
    assert world.trained == [("credit", 1), ("credit", 2)]
    order = the_order(world)
    assert (order.phase, order.failures) == ("waiting", 0)
    assert reasons(world) == [("paused", "credit: paused after round 2 of 5")]
    with pytest.raises(NotScheduled, match="resume credit"):
        world.orders.order("credit", world.now_s)
    world.orders.want("credit", "scheduled", world.now_s)
    world.steps(8)
    assert [number for _, number in world.trained] == [1, 2, 3, 4, 5]
    assert the_order(world).outcome == "completed"


def test_a_pause_at_once_and_a_stop_end_the_run_now() -> None:
    world = World(CREDIT, rounds=5)
    world.orders.order("credit", world.now_s)
    world.steps(2)
    world.orders.want("credit", "paused", world.now_s, at_once=True)
    world.runner.step()
    assert not world.training
    assert the_order(world).phase == "waiting"
    world.orders.want("credit", "scheduled", world.now_s)
    world.steps(2)
    assert world.training
    world.orders.want("credit", "stopped", world.now_s, "the contract has ended")
    world.runner.step()
    assert not world.training
    assert (the_order(world).outcome, the_order(world).reason) == ("stopped", "the contract has ended")


def test_stopping_drops_what_waits() -> None:
    world = World(CREDIT)
    world.orders.order("credit", world.now_s)
    world.orders.want("credit", "stopped", world.now_s)
    world.steps(3)
    assert the_order(world).outcome == "stopped"
    assert world.apps == []


def test_a_run_stopped_behind_the_runners_back_is_said_and_not_begun_again() -> None:
    world = World(CREDIT)
    world.orders.order("credit", world.now_s)
    world.steps(2)
    world.stop(1)
    world.steps(3)
    assert (the_order(world).outcome, the_order(world).reason) == ("stopped", "the run was stopped at the SuperLink")


def test_too_few_firms_nothing_is_begun_and_in_the_end_it_is_given_up() -> None:
    world = World(CREDIT, DEMAND, runner={"wait_for_firms_s": 600})
    world.online, world.seen["firm-2"] = {"firm-1"}, None
    world.orders.order("credit", world.now_s)
    world.steps(10)
    order = the_order(world)
    assert (order.phase, order.waits_since_s) == ("waiting", START_S)
    assert order.waits_for.startswith("2 more firms (firm-2 never seen, firm-3 last seen ")
    world.steps(12, every_s=60)
    assert the_order(world).outcome == "given-up"
    assert "for 2 more firms (firm-2 never seen" in the_order(world).reason
    assert world.apps == []


def test_firms_that_come_in_time_are_enough() -> None:
    world = World({**CREDIT, "firms": 3})
    world.online = {"firm-1"}
    world.orders.order("credit", world.now_s)
    world.steps(3)
    world.online = {"firm-1", "firm-2", "firm-3"}
    world.steps(1)
    order = the_order(world)
    assert (order.phase, order.waits_for, order.waits_since_s) == ("running", "", None)


def test_a_superlink_that_does_not_answer_is_a_problem_and_no_failure() -> None:
    world = World(CREDIT)
    world.orders.order("credit", world.now_s)
    world.steps(2)
    world.reachable = False
    world.runner.step()
    assert world.orders.runner() == (world.now_s, "SuperLink does not answer")
    assert the_order(world).failures == 0
    world.reachable = True
    world.steps(6)
    assert the_order(world).outcome == "completed"


def test_a_run_that_superlink_has_forgotten_is_begun_again() -> None:
    world = World(CREDIT)
    world.orders.order("credit", world.now_s)
    world.steps(2)
    world.app.die()
    world.phases.clear()  # the SuperLink's database is gone
    world.steps(40)
    assert the_order(world).outcome == "completed"
    assert the_order(world).attempts == 2
    assert "SuperLink does not know the run any more" in reasons(world)[0][1]
    assert world.trained == [("credit", number) for number in (1, 2, 3)]


@pytest.mark.parametrize(("wanted", "phase", "outcome"), [("stopped", "ended", "stopped"), ("paused", "waiting", "")])
def test_a_run_that_superlink_has_forgotten_can_be_stopped_and_paused(wanted: Wanted, phase: str, outcome: str) -> None:
    world = World(CREDIT)
    world.orders.order("credit", world.now_s)
    world.steps(2)
    world.app.die()
    world.phases.clear()
    world.orders.want("credit", wanted, world.now_s)
    world.steps(1)
    order = the_order(world)
    assert (order.phase, order.outcome, order.failures) == (phase, outcome, 0)


def test_a_submission_whose_answer_is_lost_trains_once() -> None:
    world = World(CREDIT)
    world.orders.order("credit", world.now_s)
    world.lose_answers = True
    world.runner.step()  # the run is there, and pending
    world.lose_answers = False
    world.runner.step()  # its ticket is void from here on
    world.now_s += 60
    world.steps(8)
    assert [app.ordered is not None for app in world.apps] == [False, True]
    assert world.trained == [("credit", 1), ("credit", 2), ("credit", 3)]
    assert the_order(world).outcome == "completed"


def test_a_submission_whose_answer_is_lost_is_found_again_if_it_has_begun() -> None:
    world = World(CREDIT)
    world.orders.order("credit", world.now_s)
    world.lose_answers = True
    world.runner.step()
    world.lose_answers = False
    world.let_apps_work()
    world.steps(8)
    assert len(world.apps) == 1
    assert (the_order(world).outcome, the_order(world).attempts) == ("completed", 1)


# Schedules.


def test_a_schedule_fires_from_when_it_is_first_seen() -> None:
    world = World(NIGHTLY)
    world.now_s = at("2026-11-22T12:00")
    world.steps(3)
    assert world.orders.history(5) == []
    world.now_s = at("2026-11-23T02:00")
    world.steps(8)
    order = the_order(world)
    assert (order.origin, order.due_s, order.outcome) == ("schedule", at("2026-11-23T02:00"), "completed")


def test_missed_firings_are_one() -> None:
    world = World(NIGHTLY)
    world.now_s = at("2026-11-22T12:00")
    world.steps()
    world.now_s = at("2026-11-30T12:00")  # the machine was off
    world.restarted()
    world.steps(20)
    assert the_order(world).due_s == at("2026-11-23T02:00")
    world.now_s = at("2026-12-01T02:00")
    world.steps(8)
    assert len(world.orders.history(9)) == 2


def test_firings_of_a_pause_are_not_made_up() -> None:
    world = World(NIGHTLY)
    world.now_s = at("2026-11-22T12:00")
    world.steps()
    world.orders.want("credit", "paused", world.now_s)
    world.now_s = at("2026-11-24T12:00")
    world.steps(2)
    world.orders.want("credit", "scheduled", world.now_s)
    world.steps(2)
    assert world.orders.history(9) == []
    world.now_s = at("2026-11-25T02:00")
    world.steps(2)
    assert the_order(world).phase == "running"


def test_a_changed_schedule_fires_from_now_on() -> None:
    world = World(NIGHTLY)
    world.now_s = at("2026-11-22T12:00")
    world.steps()
    world.tasks = [{"name": "credit", "schedule": {"cron": "0 10 * * *"}}]
    world.steps(3)
    assert world.orders.history(9) == []
    world.now_s = at("2026-11-23T10:00")
    world.steps()
    assert the_order(world).due_s == at("2026-11-23T10:00")


def test_a_firing_while_the_last_run_goes_on_is_one_with_it() -> None:
    world = World({"name": "credit", "schedule": {"cron": "* * * * *", "rounds": 1}}, rounds=400)
    world.steps()
    world.now_s += 60
    world.runner.step()
    for _ in range(5):
        world.now_s += 60
        world.runner.step()  # no ServerApp begins in this time
    assert len(world.orders.history(9)) == 1


def test_a_task_that_was_taken_out_of_the_configuration_ends_its_order() -> None:
    world = World(CREDIT)
    world.orders.order("credit", world.now_s)
    world.tasks = [DEMAND]
    world.steps(2)
    assert the_order(world).outcome == "failed"
    assert "no task 'credit' any more" in the_order(world).reason


# Whatever dies, and whenever.


@pytest.mark.parametrize("after_commit", [False, True])
@pytest.mark.parametrize("kill_in", range(12))
def test_a_runner_killed_at_any_transaction_carries_the_order_out_all_the_same(
    kill_in: int, after_commit: bool
) -> None:
    world = World(NIGHTLY, runner={"first_pause_s": 1})
    world.now_s = at("2026-11-22T12:00")
    world.steps()
    world.now_s = at("2026-11-23T02:00")
    world.store.kill_in, world.store.after_commit = kill_in, after_commit
    for _ in range(40):
        try:
            world.runner.step()
        except Killed:
            world.restarted()
        kept, world.store.kill_in = world.store.kill_in, None
        world.let_apps_work()
        world.store.kill_in = kept
        assert len(world.training) <= 1
        world.now_s += 1
    assert [number for _, number in world.trained] == [1, 2, 3]
    assert the_order(world).outcome == "completed"


WORDS = ("step", "step", "step beside", "kill", "kill after", "work", "work", "begin", "die", "pause", "pause now")
MORE = ("resume", "stop", "order credit", "order demand", "cut", "mend", "lose", "keep", "away", "back", "later")
EVENTS = st.lists(st.sampled_from([*WORDS, *MORE]), max_size=60)


@settings(max_examples=150, deadline=None)
@example(["order credit", "lose", "step", "keep", "step beside", "later", "step", "begin"])
@given(EVENTS)
def test_there_is_never_more_than_one_live_run(events: list[str]) -> None:
    world = World(CREDIT, DEMAND, runner={"first_pause_s": 1})
    for event in events:
        _do(world, event)
        assert len(world.training) <= 1, events
        assert sum(order.phase in ("starting", "running") for order in world.orders.open()) <= 1
        tasks = [order.task for order in world.orders.open()]
        assert len(tasks) == len(set(tasks))


def _do(world: World, event: str) -> None:
    first, _, rest = event.partition(" ")
    if first in ("step", "kill"):
        world.store.kill_in, world.store.after_commit = (None if first == "step" else 1), rest == "after"
        world.store.beside = world.let_apps_work if rest == "beside" else None
        with contextlib.suppress(Killed):
            world.runner.step()
        world.store.beside = None
        world.restarted()
    elif first == "order":
        with contextlib.suppress(AlreadyOrdered, NotScheduled):
            world.orders.order(rest, world.now_s)
    elif first == "begin":
        for app in world.apps[::-1]:  # the newest first: an old submission may come last
            app.begin()
    elif first == "die":
        for app in world.training:
            app.die()
    else:
        _change(world, event)


def _change(world: World, event: str) -> None:
    match event:
        case "work":
            world.let_apps_work()
        case "pause" | "pause now":
            world.orders.want("credit", "paused", world.now_s, at_once=event.endswith("now"))
        case "resume":
            world.orders.want("credit", "scheduled", world.now_s)
        case "stop":
            world.orders.want("credit", "stopped", world.now_s)
        case "cut" | "mend":
            world.reachable = event == "mend"
        case "lose" | "keep":
            world.lose_answers = event == "lose"
        case "away" | "back":
            world.online = {"firm-1"} if event == "away" else {"firm-1", "firm-2", "firm-3"}
        case "later":
            world.now_s += 400
