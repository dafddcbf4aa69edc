"""Placing an order for the runner, and telling what becomes of it: what `run` and `measure` have in common."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import typer

from clients.plain_text import printable
from server.coordinator import Coordinator
from server.enrolment.agreed import require_app_named, require_task_named
from server.enrolment.founders import require_founded
from server.following import follow
from server.run_order import Attempt, RunOrder
from server.run_orders import RunOrders, new_ticket
from server.runner import GONE_S


@dataclass(frozen=True)
class Found:
    """What an order that is completed has brought.

    Attributes:
        facts: for programs, beside the order's own.
        lines: for people.
    """

    facts: dict[str, Any]
    lines: Iterable[str] = ()


@contextmanager
def opened_orders(home: Path) -> Iterator[tuple[Coordinator, RunOrders]]:
    """A coordinator's home with its orders."""
    with Coordinator(home) as coordinator:
        yield coordinator, RunOrders(coordinator.store, new_ticket)


def give(
    home: Path,
    task: str,
    *,
    rounds: int | None = None,
    measure: str = "",
    wait: bool = False,
    as_json: bool = False,
    found: Callable[[RunOrder], Found] = lambda _: Found({}),
) -> None:
    """Place an operator's order, say so, and where it is asked for follow it to its end.

    Args:
        found: what a completed order has brought; asked only while following.

    Raises:
        AlreadyOrdered, NotScheduled: it is not taken.
        NotFounded: there is no ledger yet.
        NotNamed: firms would refuse it.
        NoRunner: while following, nobody carries it out.
        typer.Exit: it was followed, and is not completed.
    """
    with opened_orders(home) as (coordinator, orders):
        coordinator.task(task)
        require_founded(home)
        require_app_named(home)
        require_task_named(home, task)
        order = orders.order(task, time.time(), rounds=rounds, measure=measure)
        if not wait:
            if as_json:
                typer.echo(json.dumps({"ok": True, "order": order_facts(order, [])}))
            else:
                typer.echo(f"{task}: order {order.number} is given; artesian coordinator status shows it.")
            say_if_no_runner(orders)
            return
        order = follow(orders, order.number, lambda line: typer.echo(line, err=True))
    completed = order.outcome == "completed"
    brought = found(order) if completed else Found({})
    if as_json:
        document = {"ok": completed, "order": order_facts(order, []), **brought.facts}
        typer.echo(json.dumps(document, ensure_ascii=False))
    elif order.phase == "ended":
        typer.echo(printable(f"{task}: order {order.number} {end_words(order)}"))
        for line in brought.lines:
            typer.echo(line)
    if order.phase == "ended" and not completed:
        raise typer.Exit(1)


def say_if_no_runner(orders: RunOrders) -> None:
    """Warn that nobody carries out orders, where that is so."""
    seen = orders.runner()
    if seen is None or time.time() - seen[0] > GONE_S:
        typer.echo(
            "No runner is there to carry it out: start artesian coordinator up, and before the founding admit the "
            "founders.",
            err=True,
        )


def order_facts(order: RunOrder, tries: Iterable[Attempt]) -> dict[str, Any]:
    """An order and its tries for programs, without what is between the runner and its runs."""
    facts = asdict(order)
    for private in ("ticket", "said", "said_why", "carried_by"):
        del facts[private]
    return {**facts, "tries": [asdict(one) for one in tries]}


def end_words(order: RunOrder) -> str:
    """How an order ended, and why."""
    return f"{order.outcome}{f': {order.reason}' if order.reason else ''}"
