"""The ServerApp by a ticket: it claims, counts its rounds, says how it ended, and trains alone in its home."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from federation_world import TASK, federation, phases, rounds, spent, training

from clients.app import app as client_app
from clients.firm import close_firms
from experiments.federation import Federation
from ledger.errors import Unreachable
from ledger.log import Log
from ledger.statement import decode_statement
from server import after_training
from server.app import RunConfigInvalid
from server.app import app as server_app
from server.audit import audit_all
from server.cohort import Cohort
from server.coordinator import Coordinator
from server.delivery import Delivery
from server.engine import run_in_process
from server.measurement_report import read_measurements, told_of
from server.measuring import Measuring
from server.ordered_run import OrderedRun, StillTraining, training_alone
from server.progress import progress_of
from server.recording import NotWitnessed
from server.round_journal import RoundJournal, Step
from server.run_order import RunOrder, Superseded
from server.run_orders import RunOrders, new_ticket
from server.store import StateUnreachable


def orders_of(coordinator: Coordinator) -> RunOrders:
    return RunOrders(coordinator.store, new_ticket)


class Killed(BaseException):
    """The process ends here, as by `kill -9`."""


def begin(built: Federation, **order: Any) -> RunOrder:
    with Coordinator(built.coordinator) as coordinator:
        orders = orders_of(coordinator)
        begun = orders.begin(orders.order(TASK, time.time(), **order), time.time())
        assert begun is not None
        return begun


def again(built: Federation, order: RunOrder) -> RunOrder:
    """Its next try, as the runner begins it when a run has died."""
    with Coordinator(built.coordinator) as coordinator:
        orders = orders_of(coordinator)
        present = orders.get(order.number)
        assert present is not None
        begun = orders.begin(orders.back(present, "failed", "its process ended", time.time(), pause_s=0.0), time.time())
        assert begun is not None
        return begun


def run_app(built: Federation, ticket: str, measure: str = "") -> None:
    config = {
        "home": str(built.coordinator),
        "task": TASK,
        "ticket": ticket,
        **({"measure": measure} if measure else {}),
    }
    try:
        run_in_process(server_app, client_app, [{"home": str(built.member(one))} for one in built.firms], config)
    finally:
        close_firms()


def ended(built: Federation, order: RunOrder) -> tuple[RunOrder, int]:
    """The order as the ServerApp left it, and how many rounds are on the ledger."""
    with Coordinator(built.coordinator) as coordinator:
        found = orders_of(coordinator).get(order.number)
        assert found is not None
        return found, len(rounds(coordinator))


def test_an_order_for_some_rounds_trains_those_and_the_next_one_goes_on(tmp_path: Path) -> None:
    built = federation(tmp_path / "f", 3, training(3))
    order = begin(built, rounds=2)
    run_app(built, order.ticket)
    after, done = ended(built, order)
    assert (after.said, after.done, after.total, after.until, done) == ("completed", 2, 3, 2, 2)
    assert after.step == "held after round 2 of 3"
    with Coordinator(built.coordinator) as coordinator:
        journal = progress_of(coordinator.store, TASK)
        assert journal is not None
        assert (journal.step, journal.failures, journal.over) == (Step.BETWEEN, (), False)
        orders_of(coordinator).end(after, "completed", "", time.time())
    last = begin(built)
    run_app(built, last.ticket)
    after, done = ended(built, last)
    assert (after.said, after.step, done) == ("completed", "round 3 of 3", 3)
    with Coordinator(built.coordinator) as coordinator:
        journal = progress_of(coordinator.store, TASK)
        assert journal is not None
        assert (journal.step, journal.taken_up) == (Step.OVER, 1)  # one run, in two orders


def test_a_pause_holds_before_the_next_round_and_nothing_is_lost(tmp_path: Path) -> None:
    built = federation(tmp_path / "f", 3, training(2))
    order = begin(built)
    with Coordinator(built.coordinator) as coordinator:
        orders_of(coordinator).want(TASK, "paused", time.time())
    run_app(built, order.ticket)
    after, done = ended(built, order)
    assert (after.said, after.said_why, done) == ("paused", "credit: paused after round 0 of 2", 0)


def test_a_run_whose_order_has_ended_trains_nothing(tmp_path: Path) -> None:
    built = federation(tmp_path / "f", 3, training(2))
    order = begin(built)
    with Coordinator(built.coordinator) as coordinator:
        orders_of(coordinator).end(order, "stopped", "", time.time())
    with pytest.raises(Superseded):
        run_app(built, order.ticket)
    assert ended(built, order)[1] == 0


def test_what_goes_wrong_is_told_to_the_runner(tmp_path: Path) -> None:
    built = federation(tmp_path / "f", 3, training(2), limits={"min_cohort": 9})
    order = begin(built)
    with pytest.raises(Exception, match="rounds failed in a row"):
        run_app(built, order.ticket)
    after, _ = ended(built, order)
    assert after.said == "failed"
    assert "this firm asks for at least 9" in after.said_why


def fails_once(
    patch: pytest.MonkeyPatch, owner: Any, name: str, error: BaseException, when: Callable[..., bool] = lambda *_: True
) -> None:
    """The first call that `when` picks raises instead of doing anything."""
    original, left = getattr(owner, name), [error]

    def call(*terms: Any, **more: Any) -> Any:
        if left and when(*terms):
            raise left.pop()
        return original(*terms, **more)

    patch.setattr(owner, name, call)


def at_delivery(_journal: RoundJournal, step: Step, *_: Any) -> bool:
    return step is Step.DELIVERY


def at_over(_journal: RoundJournal, step: Step, *_: Any) -> bool:
    return step is Step.OVER


@pytest.mark.parametrize("away", [Unreachable("nobody at ledger:1"), OSError("disk full")])
def test_a_run_is_done_when_it_is_published_and_the_next_one_delivers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, away: Exception
) -> None:
    built = federation(tmp_path / "f", 3, training(1))
    order = begin(built)
    fails_once(monkeypatch, Delivery, "send", away)
    run_app(built, order.ticket)
    after, done = ended(built, order)
    assert (after.said, done) == ("completed", 1)
    with Coordinator(built.coordinator) as coordinator:
        orders_of(coordinator).end(after, "completed", "", time.time())
    run_app(built, begin(built).ticket)
    for firm in built.firms:
        assert len(list((built.member(firm) / "releases" / TASK).iterdir())) >= 2, firm


@pytest.mark.parametrize(
    ("owner", "name", "error", "when"),
    [
        (RoundJournal, "at", StateUnreachable("database: away"), at_delivery),
        (after_training, "publish", NotWitnessed("too few cosigned"), lambda *_: True),
        (RoundJournal, "at", Killed(), at_delivery),
        (RoundJournal, "end", Killed(), at_over),
        (OrderedRun, "__exit__", Killed(), lambda *_: True),
    ],
    ids=["failed after publishing", "not published", "killed after publishing", "killed before over", "killed after"],
)
def test_a_run_that_has_trained_is_never_trained_and_paid_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, owner: Any, name: str, error: BaseException, when: Any
) -> None:
    built = federation(tmp_path / "f", 3, training(1))
    order = begin(built)
    fails_once(monkeypatch, owner, name, error, when)
    with pytest.raises(type(error)):
        run_app(built, order.ticket)
    paid = spent(built, "firm-1")
    # A try that cannot even meet the firms changes nothing of it.
    order = again(built, order)
    fails_once(monkeypatch, Cohort, "meet", Unreachable("nobody at ledger:1"))
    with suppress(Unreachable):
        run_app(built, order.ticket)
    order = again(built, order)
    run_app(built, order.ticket)
    after, done = ended(built, order)
    assert (after.said, done) == ("completed", 1)
    assert spent(built, "firm-1") == paid != ()
    with Coordinator(built.coordinator) as coordinator:
        journal = progress_of(coordinator.store, TASK)
        assert journal is not None
        assert journal.step is Step.OVER
        assert phases(coordinator) == ["published"]


@pytest.mark.parametrize(
    ("owner", "name", "error", "when"),
    [
        (Log, "append", Killed(), lambda _, raws: decode_statement(next(iter(raws))).payload["t"] == "aggregate"),
        (Measuring, "_written", Killed(), lambda *_: True),
        (Measuring, "_written", OSError("disk full"), lambda *_: True),
        (RoundJournal, "end", Killed(), at_over),
        (OrderedRun, "__exit__", Killed(), lambda *_: True),
    ],
    ids=["before the aggregate", "before the file", "disk full", "before over", "after"],
)
def test_a_measurement_is_paid_for_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, owner: Any, name: str, error: BaseException, when: Any
) -> None:
    text = "what=columns epsilon=0.5"
    limits = {"measurements": ["columns"], "epsilon": 60.0}
    built = federation(tmp_path / "f", 3, training(1), limits=limits)
    order = begin(built, measure=text)
    fails_once(monkeypatch, owner, name, error, when)
    with pytest.raises(type(error)):
        run_app(built, order.ticket, text)
    paid = spent(built, "firm-1")
    order = again(built, order)
    run_app(built, order.ticket, text)
    after, done = ended(built, order)
    (document,) = read_measurements(built.coordinator, TASK)
    assert (after.said, after.said_why, done) == ("completed", told_of(document), 1)
    assert spent(built, "firm-1") == paid != ()
    assert document["firms"] == list(built.firms)
    assert audit_all(built.coordinator).ok
    with Coordinator(built.coordinator) as coordinator:
        orders_of(coordinator).end(after, "completed", "", time.time())
    run_app(built, begin(built, measure=text).ticket, text)  # an order of its own is a measurement of its own
    assert len(read_measurements(built.coordinator, TASK)) == 2


def test_a_measurement_that_is_not_witnessed_yet_is_done(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text = "what=columns epsilon=0.5"
    built = federation(tmp_path / "f", 3, training(1), limits={"measurements": ["columns"], "epsilon": 60.0})
    order = begin(built, measure=text)
    fails_once(monkeypatch, Measuring, "_witness", NotWitnessed("too few cosigned"))
    run_app(built, order.ticket, text)
    assert ended(built, order)[0].said == "completed"


def test_an_order_is_for_one_measurement(tmp_path: Path) -> None:
    built = federation(tmp_path / "f", 3, training(1))
    with pytest.raises(RunConfigInvalid, match="one measurement"):
        run_app(built, "ticket", "what=units; what=columns")


def test_only_one_trains_in_a_home(tmp_path: Path) -> None:
    waited = list[float]()
    clock = iter(range(1000))
    with (
        training_alone(tmp_path),
        pytest.raises(StillTraining, match="has not ended within 5 s"),
        training_alone(tmp_path, 5.0, lambda: float(next(clock)), waited.append),
    ):
        pass
    assert len(waited) == 4
    with training_alone(tmp_path, 0.0):
        pass
