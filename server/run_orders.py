"""What the operator and the schedules want of each task, and the orders to train that follow: in `server.store`.

Those who order (commands), who carries out (the runner) and who trains (the ServerApp) are different processes that any
of them may outlive: they share nothing but these tables. An order's *ticket* is new with each try to begin it; a
ServerApp trains only if it can claim the ticket that is its order's present one, so that a run whose submission was not
heard of again can never train beside the one that took its place.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import sqlalchemy as sa

from server.run_order import (
    LIVE,
    OPEN,
    AlreadyOrdered,
    Attempt,
    NotScheduled,
    Outcome,
    Phase,
    RunOrder,
    Said,
    Superseded,
    TaskWish,
    Wanted,
)
from server.run_tables import ATTEMPTS, ORDERS, PART, RUNNER, TASKS
from server.store import StateStore


class RunOrders:
    """The tables. Every method is one transaction.

    Raises (all methods):
        StateUnusable, StateUnreachable: the database.
    """

    def __init__(self, store: StateStore, make_ticket: Callable[[], str]) -> None:
        self._store = store
        self._make_ticket = make_ticket

    # What is wanted.

    def wishes(self) -> dict[str, TaskWish]:
        """What is wanted of each task that was ever spoken of; of others nothing is known, so they are scheduled."""
        with self._store.read(PART) as connection:
            rows = connection.execute(sa.select(TASKS)).mappings()
            return {row["task"]: TaskWish(**row) for row in rows}

    def want(self, task: str, wanted: Wanted, now_s: float, reason: str = "", at_once: bool = False) -> TaskWish:
        """Pause, resume or stop a task; firings of the time in between are not made up.

        Stopping ends the task's waiting order; the runner ends a live one.
        """
        with self._store.write(PART) as connection:
            before = _wish(connection, task)
            wish = replace(before, wanted=wanted, since_s=now_s, reason=reason, at_once=at_once)
            if wanted == "scheduled" and before.wanted != "scheduled":
                wish = replace(wish, anchor_s=now_s)
            _put_wish(connection, wish)
            if wanted == "stopped":
                waiting = ORDERS.c.task == task, ORDERS.c.phase == "waiting"
                end = {"phase": "ended", "outcome": "stopped", "reason": reason or "stopped by the operator"}
                connection.execute(sa.update(ORDERS).where(*waiting).values(ended_s=now_s, ticket="", **end))
            return wish

    def notice(self, task: str, schedule: str, now_s: float) -> TaskWish:
        """The wish of a task with this schedule; what fires of a new or changed one fires from now on."""
        with self._store.write(PART) as connection:
            wish = _wish(connection, task)
            if wish.anchor_s is None or wish.schedule != schedule:
                wish = replace(wish, anchor_s=now_s, schedule=schedule)
                _put_wish(connection, wish)
            return wish

    # Orders.

    def order(self, task: str, now_s: float, *, rounds: int | None = None, measure: str = "") -> RunOrder:
        """One order of the operator's.

        Raises:
            AlreadyOrdered, NotScheduled: it is not taken.
        """
        with self._store.write(PART) as connection:
            wish, there = _wish(connection, task), _open_of(connection, task)
            if wish.wanted != "scheduled":
                raise NotScheduled(f"{task}: is {wish.wanted}; first give artesian coordinator resume {task}")
            if there is not None:
                raise AlreadyOrdered(
                    f"{task}: order {there.number} is {there.phase} already; see artesian coordinator runs"
                )
            return _insert(connection, task, "operator", rounds, measure, now_s, now_s)

    def fire(self, wish: TaskWish, due_s: float, now_s: float, rounds: int | None) -> RunOrder | None:
        """The order of a schedule's firing, and that all firings up to now are dealt with.

        None where the task has an order already, or the wish is not the present one any more.
        """
        with self._store.write(PART) as connection:
            present = _wish(connection, wish.task)
            if present.wanted != "scheduled" or present.anchor_s != wish.anchor_s:
                return None
            _put_wish(connection, replace(present, anchor_s=now_s))
            if _open_of(connection, wish.task) is not None:
                return None
            return _insert(connection, wish.task, "schedule", rounds, "", due_s, now_s)

    def open(self) -> list[RunOrder]:
        """Orders that are not carried out yet, the longest due first."""
        with self._store.read(PART) as connection:
            return _select(connection, ORDERS.c.phase.in_(OPEN), order=(ORDERS.c.due_s, ORDERS.c.number))

    def get(self, number: int) -> RunOrder | None:
        """One order."""
        with self._store.read(PART) as connection:
            return next(iter(_select(connection, ORDERS.c.number == number)), None)

    def history(self, most: int, task: str | None = None) -> list[tuple[RunOrder, list[Attempt]]]:
        """The newest orders with their tries, newest first."""
        with self._store.read(PART) as connection:
            of = [] if task is None else [ORDERS.c.task == task]
            orders = _select(connection, *of, order=(ORDERS.c.number.desc(),), most=most)
            wanted = sa.select(ATTEMPTS).where(ATTEMPTS.c.order.in_([one.number for one in orders]))
            tries = [Attempt(**row) for row in connection.execute(wanted.order_by(ATTEMPTS.c.number)).mappings()]
        return [(one, [attempt for attempt in tries if attempt.order == one.number]) for one in orders]

    # The runner.

    def waits(self, order: RunOrder, why: str, now_s: float) -> RunOrder:
        """Say what a waiting order waits for; empty when it does not any more."""
        if order.waits_for == why:
            return order
        since = None if not why else now_s if order.waits_since_s is None else order.waits_since_s
        return self._change(order, "waiting", waits_for=why, waits_since_s=since)

    def begin(self, order: RunOrder, now_s: float) -> RunOrder | None:
        """Give a waiting order a ticket for its next try, on disk before anything is submitted.

        None where it does not wait any more, or another order is live.
        """
        with self._store.write(PART) as connection:
            present, wish = _one(connection, order.number), _wish(connection, order.task)
            live = connection.scalar(sa.select(ORDERS.c.number).where(ORDERS.c.phase.in_(LIVE)).limit(1))
            if present is None or present.phase != "waiting" or live is not None or wish.wanted != "scheduled":
                return None
            fresh = {"run_id": "", "said": "", "said_why": "", "step": "", "step_s": None, "begun_s": now_s}
            known = {"ticket": self._make_ticket(), "attempts": present.attempts + 1}
            waited = {"waits_for": "", "waits_since_s": None}
            return _set(connection, present, phase="starting", **known, **fresh, **waited)

    def submitted(self, order: RunOrder, run_id: int) -> RunOrder:
        """The SuperLink has taken the run of this try."""
        return self._change(order, "starting", phase="running", run_id=str(run_id))

    def back(self, order: RunOrder, outcome: str, reason: str, now_s: float, *, pause_s: float) -> RunOrder:
        """This try is over, and there will be another; what of it still lives can claim nothing any more."""
        failures = order.failures + (outcome == "failed")
        again = {"phase": "waiting", "ticket": "", "not_before_s": now_s + pause_s, "failures": failures}
        again["reason"] = reason if outcome == "failed" else order.reason
        return self._over(order, outcome, reason, now_s, again)

    def end(self, order: RunOrder, outcome: Outcome, reason: str, now_s: float) -> RunOrder:
        """The order is carried out, or given up."""
        ended = {"phase": "ended", "ticket": "", "outcome": outcome, "reason": reason, "ended_s": now_s}
        return self._over(order, outcome, reason, now_s, ended)

    def alive(self, now_s: float, problem: str) -> None:
        """The runner was here, and what hinders it."""
        with self._store.write(PART) as connection:
            if not connection.execute(sa.update(RUNNER).values(seen_s=now_s, problem=problem)).rowcount:
                connection.execute(sa.insert(RUNNER).values(seen_s=now_s, problem=problem))

    def runner(self) -> tuple[float, str] | None:
        """When the runner was last here, in seconds since 1970, and what hindered it; None before it ever was."""
        with self._store.read(PART) as connection:
            row = connection.execute(sa.select(RUNNER.c.seen_s, RUNNER.c.problem)).first()
            return None if row is None else (row[0], row[1])

    # The ServerApp.

    def claim(self, ticket: str, run_id: int) -> RunOrder:
        """Begin to train by a ticket.

        Raises:
            Superseded: it is not the present ticket of a live order, or another run has claimed it.
        """
        with self._store.write(PART) as connection:
            order = _of_ticket(connection, ticket)
            if order is None or order.run_id not in ("", str(run_id)):
                raise Superseded("this run is not wanted any more: its order has ended, or another run has its place")
            return _set(connection, order, phase="running", run_id=str(run_id))

    def carried_by(self, ticket: str, run: bytes) -> None:
        """Note which run of the round journal carries the order out, before anything of it is done.

        Raises:
            Superseded: it must not go on.
        """
        with self._store.write(PART) as connection:
            order = _of_ticket(connection, ticket)
            if order is None:
                raise Superseded("this run is not wanted any more")
            _set(connection, order, carried_by=run.hex())

    def heard(self, ticket: str, step: str, done: int, total: int, now_s: float, until: int | None = None) -> RunOrder:
        """Note where a run is; a round more than before forgets the failures.

        Raises:
            Superseded: it must not go on.
        """
        with self._store.write(PART) as connection:
            order = _of_ticket(connection, ticket)
            if order is None:
                raise Superseded("this run is not wanted any more")
            failures = 0 if done > order.done else order.failures
            known = {"until": order.until if until is None else until, "failures": failures}
            return _set(connection, order, step=step, step_s=now_s, done=done, total=total, **known)

    def said(self, ticket: str, said: Said, why: str) -> None:
        """How a run ended, by its own word; of one that was superseded it is not asked."""
        with self._store.write(PART) as connection:
            order = _of_ticket(connection, ticket)
            if order is not None:
                _set(connection, order, said=said, said_why=why)

    def _change(self, order: RunOrder, while_in: Phase, **values: Any) -> RunOrder:
        """Change an order if it is still in that phase with that ticket; returns the present one."""
        with self._store.write(PART) as connection:
            present = _one(connection, order.number)
            assert present is not None
            if (present.phase, present.ticket) != (while_in, order.ticket):
                return present
            return _set(connection, present, **values)

    def _over(self, order: RunOrder, outcome: str, reason: str, now_s: float, then: dict[str, Any]) -> RunOrder:
        with self._store.write(PART) as connection:
            present = _one(connection, order.number)
            assert present is not None
            if present.phase == "ended" or (present.ticket, present.run_id) != (order.ticket, order.run_id):
                return present
            if present.begun_s is not None and present.phase in LIVE:
                tried = {"order": present.number, "number": present.attempts, "run_id": present.run_id}
                times = {"begun_s": present.begun_s, "ended_s": now_s, "outcome": outcome, "reason": reason}
                connection.execute(sa.insert(ATTEMPTS).values(**tried, **times))
            return _set(connection, present, **then)


def new_ticket() -> str:
    """A ticket that was never given before."""
    return secrets.token_hex(16)


def _wish(connection: sa.Connection, task: str) -> TaskWish:
    row = connection.execute(sa.select(TASKS).where(TASKS.c.task == task)).mappings().first()
    return TaskWish(task) if row is None else TaskWish(**row)


def _put_wish(connection: sa.Connection, wish: TaskWish) -> None:
    connection.execute(sa.delete(TASKS).where(TASKS.c.task == wish.task))
    connection.execute(sa.insert(TASKS).values(**wish.__dict__))


def _select(
    connection: sa.Connection, *where: sa.ColumnElement[bool], order: Any = (), most: int | None = None
) -> list[RunOrder]:
    asked = sa.select(ORDERS).where(*where).order_by(*order).limit(most)
    return [RunOrder(**row) for row in connection.execute(asked).mappings()]


def _one(connection: sa.Connection, number: int) -> RunOrder | None:
    return next(iter(_select(connection, ORDERS.c.number == number)), None)


def _open_of(connection: sa.Connection, task: str) -> RunOrder | None:
    return next(iter(_select(connection, ORDERS.c.task == task, ORDERS.c.phase.in_(OPEN))), None)


def _of_ticket(connection: sa.Connection, ticket: str) -> RunOrder | None:
    """The live order whose present ticket this is."""
    return next(iter(_select(connection, ORDERS.c.ticket == ticket, ORDERS.c.phase.in_(LIVE))), None)


def _insert(
    connection: sa.Connection, task: str, origin: str, rounds: int | None, measure: str, due_s: float, now_s: float
) -> RunOrder:
    asked = {"task": task, "origin": origin, "rounds": rounds, "measure": measure, "due_s": due_s, "ordered_s": now_s}
    number = connection.execute(sa.insert(ORDERS).values(phase="waiting", **asked).returning(ORDERS.c.number)).scalar()
    found = _one(connection, number or 0)
    assert found is not None
    return found


def _set(connection: sa.Connection, order: RunOrder, **values: Any) -> RunOrder:
    connection.execute(sa.update(ORDERS).where(ORDERS.c.number == order.number).values(**values))
    return replace(order, **values)
