"""The operator's words: run, pause, resume, stop, runs, schedule; and following an order to its end."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from runner_world import START_S, World

from artesian import app
from clients.enrolment.consortium import CONSORTIUM, ConsortiumApp, ConsortiumPolicy, ConsortiumTask
from clients.flower.bundle import installed_bundle
from ledger.homes import POLICY
from server.coordinator import Coordinator
from server.enrolment.book import EnrolmentBook, Invited
from server.following import NoRunner, follow
from server.run_orders import RunOrders, new_ticket

CONFIG = """
cid = "bread"

[[task]]
name = "credit"
spec = "tasks/credit.toml"

[task.schedule]
cron = "0 2 * * 1"
time_zone = "Europe/Berlin"

[[task]]
name = "demand"
spec = "tasks/demand.toml"
"""


@pytest.fixture
def home(tmp_path: Path) -> Path:
    (tmp_path / "coordinator.toml").write_text(CONFIG, encoding="utf-8")
    return tmp_path


def give(home: Path, *words: str) -> Result:
    return CliRunner().invoke(app, ["coordinator", *words, "--home", str(home)])


def facts(home: Path, *words: str) -> dict[str, object]:
    return json.loads(give(home, *words, "--json").stdout)  # type: ignore[no-any-return]


def test_an_order_is_on_disk_and_shown(home: Path) -> None:
    done = give(home, "run", "credit", "--rounds", "3")
    assert (done.exit_code, done.stdout) == (
        0,
        "credit: order 1 is given; artesian coordinator status shows it.\n",
    )
    assert "No runner is there" in done.stderr
    again = give(home, "run", "credit")
    assert (again.exit_code, again.stdout) == (1, "")
    assert "order 1 is waiting already" in again.stderr
    (only,) = facts(home, "runs")["runs"]  # type: ignore[misc]
    assert (only["task"], only["rounds"], only["phase"], only["tries"]) == ("credit", 3, "waiting", [])
    assert "ticket" not in only
    assert "1  credit, 3 rounds, " in give(home, "runs").stdout
    assert "No order was given yet" in give(home, "runs", "demand").stdout
    misspelt = give(home, "runs", "crdit")
    assert (misspelt.exit_code, "no task 'crdit'" in misspelt.stderr) == (2, True)


def test_no_order_is_taken_for_an_app_bundle_that_the_policy_does_not_name(home: Path) -> None:
    task = ConsortiumTask(name="credit", spec_sha256="c" * 64)
    policy = ConsortiumPolicy(cid="bread", name="Bread", task=(task,), app=(ConsortiumApp(sha256="b" * 64),))
    (home / CONSORTIUM).write_text(policy.text(), encoding="utf-8")
    refused = give(home, "run", "credit")
    assert (refused.exit_code, refused.stdout) == (1, "")
    assert "so firms refuse its runs; install a release that it names, or propose this one" in refused.stderr
    assert facts(home, "runs")["runs"] == []
    own = policy.model_copy(update={"app": (*policy.app, ConsortiumApp(sha256=installed_bundle().sha256))})
    (home / CONSORTIUM).write_text(own.text(), encoding="utf-8")
    assert give(home, "run", "credit").exit_code == 0
    unnamed = give(home, "run", "demand")
    assert (unnamed.exit_code, "does not name the task 'demand'" in unnamed.stderr) == (1, True)


def test_no_order_is_taken_before_the_founding(home: Path) -> None:
    with EnrolmentBook(home) as book:
        book.invite(Invited(bytes(32), "firm-2", "firm", "Firm 2", int(START_S), None, False))
    for words in (("run", "credit"), ("run", "credit", "--wait")):
        refused = give(home, *words)
        assert (refused.exit_code, refused.stdout) == (1, "")
        assert "there is no ledger yet" in refused.stderr
        assert "still to join and be admitted: firm-2; see: artesian coordinator admit" in refused.stderr
    assert facts(home, "runs")["runs"] == []
    (home / POLICY).touch()
    assert give(home, "run", "credit").exit_code == 0


def test_a_paused_task_takes_no_orders_until_it_is_resumed(home: Path) -> None:
    assert facts(home, "pause", "credit", "--reason", "year-end")["wanted"] == "paused"
    refused = give(home, "run", "credit")
    assert refused.exit_code == 1
    assert "credit: is paused" in refused.stderr
    assert "credit: 0 2 * * 1 (Europe/Berlin): paused" in give(home, "schedule").stdout
    assert give(home, "resume", "credit").stdout == "credit: resumed.\n"
    assert give(home, "run", "credit").exit_code == 0
    assert facts(home, "stop", "credit", "--reason", "the contract has ended")["wanted"] == "stopped"
    assert "stopped: the contract has ended" in give(home, "runs").stdout


def test_the_schedule_says_when_each_task_is_due(home: Path) -> None:
    credit, demand = facts(home, "schedule")["tasks"]  # type: ignore[misc]
    assert credit["next"] > START_S
    assert demand == {"task": "demand", "wanted": "scheduled", "schedule": None, "next": None}
    assert "demand: no schedule; it is trained when ordered" in give(home, "schedule").stdout


@pytest.mark.parametrize("word", ["run", "pause", "resume", "stop"])
def test_a_task_that_is_not_there_is_named_with_those_that_are(home: Path, word: str) -> None:
    done = give(home, word, "weather")
    assert done.exit_code == 2
    assert "no task 'weather' (known: credit, demand)" in done.stderr


def test_what_fails_is_in_the_history_try_by_try(home: Path) -> None:
    with Coordinator(home) as coordinator:
        orders = RunOrders(coordinator.store, new_ticket)
        order = orders.begin(orders.order("demand", START_S), START_S)
        assert order is not None
        order = orders.back(order, "failed", "firm-2 was away", START_S + 9, pause_s=0.0)
        order = orders.begin(order, START_S + 10)
        assert order is not None
        orders.end(order, "completed", "", START_S + 20)
    lines = give(home, "runs").stdout.splitlines()
    assert lines[0].endswith("by the operator: completed")
    assert lines[1].endswith("failed: firm-2 was away")
    assert len(lines) == 2


# Following.


def test_following_tells_each_change_once_and_ends_with_the_order() -> None:
    world = World({"name": "credit"}, rounds=2)
    order, told = world.orders.order("credit", world.now_s), list[str]()
    ended = follow(world.orders, order.number, told.append, world.clock, lambda _: world.steps())
    assert ended.outcome == "completed"
    assert told == ["credit: waits for its turn", "credit: round 1 of 2", "credit: round 2 of 2"]


def test_following_says_once_that_a_pause_holds_it_up_and_how_that_ends() -> None:
    world, told, steps = World({"name": "credit"}, rounds=4), list[str](), 0
    order = world.orders.order("credit", world.now_s)
    world.orders.want("credit", "paused", world.now_s, "year-end")

    def sleep(_: float) -> None:
        nonlocal steps
        steps += 1
        if told[-1] == "credit: round 1 of 4":
            world.orders.want("credit", "paused", world.now_s)
        elif steps % 20 == 0:
            world.orders.want("credit", "scheduled", world.now_s)
        world.steps()

    assert follow(world.orders, order.number, told.append, world.clock, sleep).outcome == "completed"
    first, second = (line for line in told if "paused by the operator since " in line)
    assert told[0] == first
    assert first.endswith(" (year-end): the order waits; go on with: artesian coordinator resume credit")
    assert second.endswith(
        ": its run is held when the present round is over; go on with: artesian coordinator resume credit"
    )
    assert "credit: waits for its turn" not in told


def test_following_says_why_a_try_failed() -> None:
    world, told = World({"name": "credit"}), list[str]()
    order = world.orders.order("credit", world.now_s)
    again = replace(order, failures=1, reason="2 firms take part, it takes 3")
    both = iter([again, replace(again, phase="running", failures=2), replace(again, phase="ended")])
    world.orders.get = lambda _: next(both)  # type: ignore[method-assign]
    follow(world.orders, order.number, told.append, world.clock, lambda _: None)
    assert told == [
        "credit: waits for its turn; failed once: 2 firms take part, it takes 3",
        "credit: the run is starting (failed 2 times in a row)",
    ]


def test_following_gives_up_when_nobody_carries_orders_out() -> None:
    world = World({"name": "credit"})
    order = world.orders.order("credit", world.now_s)

    def sleep(for_s: float) -> None:
        world.now_s += for_s

    with pytest.raises(NoRunner, match="order 1 stands, and no runner is there"):
        follow(world.orders, order.number, lambda _: None, world.clock, sleep)
    assert world.now_s - START_S == pytest.approx(30.5)


def test_an_interrupt_ends_the_following_only() -> None:
    world = World({"name": "credit"})
    order, told = world.orders.order("credit", world.now_s), list[str]()

    def sleep(_: float) -> None:
        raise KeyboardInterrupt

    assert follow(world.orders, order.number, told.append, world.clock, sleep).phase == "waiting"
    assert "goes on" in told[-1]
    world.steps(8)
    assert world.orders.history(1)[0][0].outcome == "completed"
