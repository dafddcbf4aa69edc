"""Who may change an order: by its present ticket only, and never two of them live."""

from __future__ import annotations

import pytest
from runner_world import START_S, World

from server.run_order import Superseded


def test_a_try_that_was_claimed_in_between_is_not_taken_back() -> None:
    world = World()
    order = world.orders.begin(world.orders.order("credit", START_S), START_S)
    assert order is not None
    world.orders.claim(order.ticket, 7)
    after = world.orders.back(order, "unknown", "no answer", START_S, pause_s=0.0)
    assert (after.phase, after.run_id, after.ticket) == ("running", "7", order.ticket)
    world.orders.heard(order.ticket, "round 1 of 3", 0, 3, START_S)


def test_a_ticket_is_of_one_run() -> None:
    world = World()
    order = world.orders.begin(world.orders.order("credit", START_S), START_S)
    assert order is not None
    world.orders.claim(order.ticket, 2**63 + 1)
    world.orders.claim(order.ticket, 2**63 + 1)  # its process was begun again
    with pytest.raises(Superseded):
        world.orders.claim(order.ticket, 8)
    with pytest.raises(Superseded):
        world.orders.claim("another", 2**63 + 1)


def test_a_second_runner_begins_nothing_beside_the_first() -> None:
    world = World()
    credit, demand = (world.orders.order(task, START_S) for task in ("credit", "demand"))
    assert world.orders.begin(credit, START_S) is not None
    assert world.orders.begin(demand, START_S) is None
    assert world.orders.begin(credit, START_S) is None


def test_a_run_that_was_taken_back_neither_trains_nor_speaks() -> None:
    world = World()
    first = world.orders.begin(world.orders.order("credit", START_S), START_S)
    assert first is not None
    again = world.orders.begin(world.orders.back(first, "unknown", "", START_S, pause_s=0.0), START_S)
    assert again is not None
    with pytest.raises(Superseded):
        world.orders.claim(first.ticket, 1)
    with pytest.raises(Superseded):
        world.orders.heard(first.ticket, "round 1 of 3", 0, 3, START_S)
    world.orders.said(first.ticket, "completed", "")
    assert world.orders.open()[0].said == ""


def test_the_word_of_the_operator_before_the_submission_is_heard() -> None:
    world = World()
    order = world.orders.order("credit", START_S)
    world.orders.want("credit", "paused", START_S)
    assert world.orders.begin(order, START_S) is None
