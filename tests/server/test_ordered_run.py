"""The ServerApp by a ticket: it claims, counts its rounds, says how it ended, and trains alone in its home."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
from federation_world import TASK, federation, rounds, training

from clients.app import app as client_app
from clients.firm import close_firms
from experiments.federation import Federation
from server.app import app as server_app
from server.coordinator import Coordinator
from server.engine import run_in_process
from server.ordered_run import StillTraining, training_alone
from server.progress import progress_of
from server.round_journal import Step
from server.run_order import RunOrder, Superseded
from server.run_orders import RunOrders, new_ticket


def orders_of(coordinator: Coordinator) -> RunOrders:
    return RunOrders(coordinator.store, new_ticket)


def begin(built: Federation, **order: int) -> RunOrder:
    with Coordinator(built.coordinator) as coordinator:
        orders = orders_of(coordinator)
        begun = orders.begin(orders.order(TASK, time.time(), **order), time.time())
        assert begun is not None
        return begun


def run_app(built: Federation, ticket: str) -> None:
    config = {"home": str(built.coordinator), "task": TASK, "ticket": ticket}
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
