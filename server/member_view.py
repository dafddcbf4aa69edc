"""What members are told of the coordinator's work: which task runs, or waits, for whom and until when; and no reasons.

Who is waited for in a round is in its cohort on the ledger, and whose witness is away each member sees there. Why a
firm is away, what it refused, and what the operator says about a pause stays at the coordinator. It imports nothing
that trains: the join desk answers with it.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import replace
from pathlib import Path

from pydantic import BaseModel, ConfigDict

from clients.enrolment.state import CoordinatorState, Phase, TaskState
from clients.toml_files import load_toml
from clients.versions import MESSAGE_VERSIONS, SOFTWARE
from server.errors import ServerError
from server.heard import Heard, hear
from server.network import CONFIG_FILE
from server.progress import TaskProgress, progress_of
from server.roll_call import named_in
from server.run_order import LIVE, RunOrder, TaskWish
from server.run_orders import RunOrders, new_ticket
from server.schedule import Patience, Schedule
from server.store import StateStore, StateUnusable


class TimesUnreadable(ServerError):
    """`coordinator.toml` does not say when tasks are trained; the message names the file and the key."""


class _Timed(BaseModel):
    model_config = ConfigDict(extra="ignore", frozen=True)

    name: str
    schedule: Schedule | None = None


class _Times(BaseModel):
    """Of `coordinator.toml` what says when, for a process that needs no more."""

    model_config = ConfigDict(extra="ignore", frozen=True)

    runner: Patience = Patience()
    task: tuple[_Timed, ...] = ()


class MemberView:
    """Looks at one coordinator's home, as often as it is asked to; it opens the tables with the first look."""

    def __init__(self, home: Path) -> None:
        self._home = home
        self._store: StateStore | None = None

    def look(self, firms: Collection[str], asks: Heard) -> CoordinatorState:
        """What is so now.

        Args:
            firms: the active firms, of whom alone something is told.
            asks: who asks, which is noted, and when.
        """
        seen_s: float | None = None
        tasks: tuple[TaskState, ...] | None = None
        try:
            times = load_toml(self._home / CONFIG_FILE, _Times, TimesUnreadable)
            if self._store is None:
                self._store = StateStore.of_home(self._home)
            hear(self._store, asks)
            orders = RunOrders(self._store, new_ticket)
            runner = orders.runner()
            seen_s = None if runner is None else runner[0]
            tasks = tuple(self._tasks(self._store, orders, times, firms, asks.heard_s))
        except (TimesUnreadable, StateUnusable):
            pass  # the operator's status says why; members are told that it is so
        return CoordinatorState(SOFTWARE, MESSAGE_VERSIONS, asks.heard_s, seen_s, tasks)

    def close(self) -> None:
        """Give the tables back."""
        if self._store is not None:
            self._store.close()
            self._store = None

    def _tasks(
        self, store: StateStore, orders: RunOrders, times: _Times, firms: Collection[str], now_s: float
    ) -> Iterator[TaskState]:
        wishes = orders.wishes()
        for one in times.task:
            wish = wishes.get(one.name, TaskWish(one.name))
            order = next((order for order, _ in orders.history(1, one.name)), None)
            fires_s = None if one.schedule is None else one.schedule.next_after(now_s)
            yield task_state(wish, order, progress_of(store, one.name), fires_s, times.runner, firms)


def task_state(
    wish: TaskWish,
    order: RunOrder | None,
    progress: TaskProgress | None,
    fires_s: float | None,
    patience: Patience,
    firms: Collection[str],
) -> TaskState:
    """What members are told of one task.

    Args:
        order: its newest one.
        fires_s: the schedule's next firing, in seconds since 1970.
        firms: of whom alone something is told.
    """
    at = None if progress is None or progress.over else progress
    told = TaskState(wish.task, "idle", until_s=fires_s, since_s=None if order is None else order.ended_s)
    if at is not None:
        told = replace(told, round=at.round, number=at.number, rounds=at.rounds, step=str(at.step))
    if order is not None and order.phase in LIVE:
        told = replace(told, phase="runs", since_s=order.begun_s, until_s=None)
        return told if at is None else _round_wait(told, at, firms)
    if wish.wanted != "scheduled":
        return replace(told, phase=wish.wanted, since_s=wish.since_s, until_s=None)
    if order is not None and order.phase == "waiting":
        return _order_wait(told, order, patience, firms)
    if at is not None and order is None:  # begun by Flower's own command line
        return _round_wait(replace(told, phase="runs"), at, firms)
    return told


def _round_wait(told: TaskState, at: TaskProgress, firms: Collection[str]) -> TaskState:
    told, wait = replace(told, since_s=at.since_s, until_s=None), at.waiting
    if wait is None:
        return told
    who = tuple(member for member in wait.members if member in firms)
    unnamed = len(wait.members) - len(who)  # nodes that have not said yet whose they are
    told = replace(told, kind=wait.kind, members=who, more=unnamed)
    return replace(told, waits_since_s=wait.since_s, until_s=wait.deadline_s)


def _order_wait(told: TaskState, order: RunOrder, patience: Patience, firms: Collection[str]) -> TaskState:
    told = replace(told, since_s=order.ordered_s)
    if not order.waits_for or order.waits_since_s is None:
        phase: Phase = "tries-again" if order.failures else "waits-for-turn"
        return replace(told, phase=phase, until_s=order.not_before_s or None)
    more, who = named_in(order.waits_for)
    return replace(
        told,
        phase="waits-for-firms",
        kind="firms",
        members=tuple(member for member in who if member in firms),
        waits_since_s=order.waits_since_s,
        until_s=order.waits_since_s + patience.wait_for_firms_s,
        more=more,
    )
