"""`artesian coordinator run`, `pause`, `resume`, `stop`, `runs`, `schedule`, and `runner`, which carries them out."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from server.run_order import Attempt, RunOrder

Home = Annotated[Path, typer.Option(envvar="ARTESIAN_HOME", help="The coordinator's home directory.")]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON document.")]
Task = Annotated[str, typer.Argument(help="The task's name in coordinator.toml.")]
Reason = Annotated[str, typer.Option(help="Why; the history and the status show it.")]


def run(
    task: Task,
    home: Home,
    rounds: Annotated[
        int | None, typer.Option(help="How many rounds. Default: all that are left of the run, to its release.", min=1)
    ] = None,
    wait: Annotated[bool, typer.Option("--wait", help="Follow it to its end; Ctrl-C stops following only.")] = False,
    as_json: Json = False,
) -> None:
    """Order a task to be trained now. The runner of `artesian coordinator up` carries it out, one order at a time.

    With --wait it leaves with 1 if the order is not completed, and with 3 if there is no runner.
    """
    from server.ordering import give

    give(home, task, rounds=rounds, wait=wait, as_json=as_json)


def pause(
    task: Task,
    home: Home,
    reason: Reason = "",
    now: Annotated[bool, typer.Option("--now", help="End the present round too: it is trained and paid anew.")] = False,
    as_json: Json = False,
) -> None:
    """Begin no run of a task, and hold the one that goes on after its present round. Firings meanwhile are left out."""
    _want(home, task, "paused", reason, now, as_json)


def resume(task: Task, home: Home, as_json: Json = False) -> None:
    """Go on with a task that is paused or stopped; a run that was held goes on after its last round."""
    _want(home, task, "scheduled", "", False, as_json)


def stop(task: Task, home: Home, reason: Reason = "", as_json: Json = False) -> None:
    """End a task's run now, drop its order, and begin none until `artesian coordinator resume`.

    The present round is lost: what firms have paid for it stays paid. `pause` lets it end first.
    """
    _want(home, task, "stopped", reason, True, as_json)


def runs(
    home: Home,
    task: Annotated[str | None, typer.Argument(help="Only of this task.")] = None,
    most: Annotated[int, typer.Option(help="How many of the newest.", min=1, max=1000)] = 20,
    as_json: Json = False,
) -> None:
    """Show the orders to train, newest first: how each ended, and why each try before that failed."""
    from clients.plain_text import printable
    from server.ordering import opened_orders, order_facts

    with opened_orders(home) as (coordinator, orders):
        found = orders.history(most, task)
        if task is not None and not found:
            coordinator.task(task)  # of one that was taken out of coordinator.toml the history is still there
    if as_json:
        listed = [order_facts(order, tries) for order, tries in found]
        typer.echo(json.dumps({"ok": True, "runs": listed}, ensure_ascii=False))
        return
    for order, tries in found:
        for line in _order_lines(order, tries):
            typer.echo(printable(line))
    if not found:
        typer.echo("No order was given yet: artesian coordinator run TASK.")


def schedule(home: Home, as_json: Json = False) -> None:
    """Show when each task is trained next by its schedule in coordinator.toml."""
    from server.ordering import opened_orders
    from server.run_order import TaskWish
    from server.words import clock_time

    now_s = time.time()
    with opened_orders(home) as (coordinator, orders):
        wishes, facts = orders.wishes(), []
        for task in coordinator.config.task:
            wish = wishes.get(task.name, TaskWish(task.name))
            held = wish.wanted != "scheduled"
            due_s = None if task.schedule is None or held else task.schedule.next_after(now_s)
            text = None if task.schedule is None else task.schedule.text
            facts.append({"task": task.name, "wanted": wish.wanted, "schedule": text, "next": due_s})
    if as_json:
        typer.echo(json.dumps({"ok": True, "tasks": facts}))
        return
    for one in facts:
        if one["schedule"] is None:
            typer.echo(f"{one['task']}: no schedule; it is trained when ordered")
        elif one["wanted"] != "scheduled":
            typer.echo(f"{one['task']}: {one['schedule']}: {one['wanted']}")
        else:
            coming = "never again" if one["next"] is None else clock_time(float(str(one["next"])), now_s)
            typer.echo(f"{one['task']}: {one['schedule']}: next {coming}")


def runner(home: Home) -> None:
    """Carry out orders and schedules until SIGTERM or SIGINT; `artesian coordinator up` runs this."""
    import logging
    import signal
    import threading

    from clients.process_log import log_to_stderr
    from server.runner_service import serve

    log_to_stderr("runner", level=logging.INFO)
    logging.getLogger("httpx").setLevel(logging.WARNING)  # or a line for every look at the SuperLink
    ended = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: ended.set())
    serve(home, ended)


def _want(home: Path, task: str, wanted: Any, reason: str, at_once: bool, as_json: bool) -> None:
    from server.ordering import opened_orders, say_if_no_runner

    with opened_orders(home) as (coordinator, orders):
        coordinator.task(task)
        wish = orders.want(task, wanted, time.time(), reason, at_once)
        if as_json:
            typer.echo(json.dumps({"ok": True, "task": task, "wanted": wish.wanted, "reason": wish.reason}))
        else:
            now = "resumed" if wish.wanted == "scheduled" else wish.wanted
            typer.echo(f"{task}: {now}{f': {reason}' if reason else ''}.")
        say_if_no_runner(orders)


def _order_lines(order: RunOrder, tries: list[Attempt]) -> Iterator[str]:
    from server.ordering import end_words
    from server.words import clock_time

    now_s = time.time()
    asked = f", {order.rounds} rounds" if order.rounds else ""
    what = f", measure {order.measure}" if order.measure else ""
    by = "by its schedule" if order.origin == "schedule" else "by the operator"
    told = end_words(order) if order.phase == "ended" else order.waits_for and f"waits for {order.waits_for}"
    yield f"{order.number}  {order.task}{asked}{what}, {clock_time(order.due_s, now_s)} {by}: {told or order.phase}"
    for one in tries:
        if one.outcome != order.outcome or one.reason != order.reason:
            yield f"    try {one.number}, {clock_time(one.begun_s, now_s)}: {one.outcome}: {one.reason}"
