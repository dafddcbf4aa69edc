"""The runner: makes what is wanted of each task so. Fires schedules, starts runs, watches them, begins them again.

Nothing that matters is in memory: each step reads the orders, asks the SuperLink, and writes what follows in one
transaction before or after the one thing that it does outside, so that it may be killed between any two. One run at a
time, of whichever task: the masking keys of all tasks end with the epoch that a run begins
([ADR 31](../docs/adr/0031-schedules-and-status.md)), so orders queue, and the one that was due first goes first.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from ledger.errors import LedgerError
from server.coordinator import CoordinatorConfig, TaskAtCoordinator
from server.engines.control import Control, RunConfig, RunStatus, RunUnknown
from server.errors import ServerError
from server.roll_call import RollCall
from server.run_order import LIVE, RunOrder, TaskWish
from server.run_orders import RunOrders
from server.schedule import Patience
from server.store import StateUnusable
from server.words import clock_time

BEAT_S = 5.0
"""How often the runner says that it is there, at least."""
GONE_S = 30.0
"""A runner that has not been there for so long is none."""
_START_WITHIN_S = 300.0
_NOT_TAKEN = f"no executor has taken the run within {_START_WITHIN_S:g} s"
_FORGOTTEN = "SuperLink does not know the run any more: its database was lost, or restored from a copy"
_UNKNOWN = "whether it was submitted is not known"


@dataclass(frozen=True)
class Surroundings:
    """What the runner acts on, and by what clock.

    Attributes:
        load: reads `coordinator.toml` anew.
        firms: whether enough firms are there for a task.
        now: seconds since 1970.
        home: the coordinator's, as the run config names it.
    """

    control: Control
    load: Callable[[], CoordinatorConfig]
    firms: RollCall
    now: Callable[[], float]
    home: str


class Runner:
    """Carries out the orders of one coordinator. Only one process may."""

    def __init__(self, orders: RunOrders, surroundings: Surroundings) -> None:
        self._orders = orders
        self._control = surroundings.control
        self._load = surroundings.load
        self._firms = surroundings.firms
        self._now = surroundings.now
        self._home = surroundings.home
        self._told: tuple[float, str] | None = None

    @property
    def problem(self) -> str:
        """What hindered the last step; empty where nothing did."""
        return "" if self._told is None else self._told[1]

    def step(self) -> None:
        """Do what is due now, and say that it was done, or what hinders it.

        Raises:
            StateUnusable: the orders cannot be read or written.
        """
        problem = ""
        try:
            config = self._load()
            self._fire(config)
            self._carry_out(config)
        except StateUnusable:
            raise
        except (ServerError, LedgerError) as error:
            problem = str(error)  # of the SuperLink, the ledger or coordinator.toml: the runner stays to see it mended
        self._beat(problem)

    def _beat(self, problem: str) -> None:
        now_s = self._now()
        if self._told is None or problem != self._told[1] or not 0 <= now_s - self._told[0] < BEAT_S:
            self._told = now_s, problem
            self._orders.alive(now_s, problem)

    def _fire(self, config: CoordinatorConfig) -> None:
        """Give the orders of all schedules that are due; firings that were missed are one."""
        wishes = self._orders.wishes()
        for task in config.task:
            if task.schedule is None:
                continue
            wish, now_s = wishes.get(task.name), self._now()
            if wish is None or wish.anchor_s is None or wish.schedule != task.schedule.text:
                wish = self._orders.notice(task.name, task.schedule.text, now_s)
            assert wish.anchor_s is not None
            due_s = task.schedule.next_after(wish.anchor_s)
            if due_s is not None and due_s <= now_s and wish.wanted == "scheduled":
                self._orders.fire(wish, due_s, now_s, task.schedule.rounds)

    def _carry_out(self, config: CoordinatorConfig) -> None:
        wishes = self._orders.wishes()
        for order in self._orders.open():
            if order.phase in LIVE:
                order = self._watch(order, wishes.get(order.task, TaskWish(order.task)), config.runner)
            if order.phase in LIVE:
                return
        tasks = {task.name: task for task in config.task}
        for order in self._orders.open():
            if wishes.get(order.task, TaskWish(order.task)).wanted != "scheduled" or order.not_before_s > self._now():
                continue
            if order.task not in tasks:
                self._orders.end(order, "failed", f"coordinator.toml has no task {order.task!r} any more", self._now())
            elif self._firms_are_there(order, tasks[order.task], config.runner):
                self._begin(order)
                return

    def _firms_are_there(self, order: RunOrder, task: TaskAtCoordinator, patience: Patience) -> bool:
        """Whether enough firms are; an order that has waited too long for them is given up."""
        now_s, missing = self._now(), self._firms.missing(task)
        if missing is None:
            return True
        order = self._orders.waits(order, missing.words(now_s), now_s)
        assert order.waits_since_s is not None
        if now_s >= order.waits_since_s + patience.wait_for_firms_s:
            waited = f"waited from {clock_time(order.waits_since_s, now_s)} to {clock_time(now_s, now_s)}"
            self._orders.end(order, "given-up", f"{waited} for {missing.words(now_s)}", now_s)
        return False

    def _begin(self, order: RunOrder) -> None:
        begun = self._orders.begin(order, self._now())
        if begun is None:
            return
        config: dict[str, str] = {"home": self._home, "task": begun.task, "ticket": begun.ticket}
        run_config: RunConfig = {**config, **({"measure": begun.measure} if begun.measure else {})}
        self._orders.submitted(begun, self._control.submit(run_config))

    def _watch(self, order: RunOrder, wish: TaskWish, patience: Patience) -> RunOrder:
        """Look after a live order; returns how it is now."""
        now_s = self._now()
        if not order.run_id:  # a step ended between its ticket and the SuperLink's answer
            return self._orders.back(order, "unknown", _UNKNOWN, now_s, pause_s=0.0)
        try:
            run = self._control.run(int(order.run_id))
            if run.phase in ("pending", "running"):
                late = run.phase == "pending" and order.begun_s is not None and now_s > order.begun_s + _START_WITHIN_S
                unwanted = wish.wanted == "stopped" or (wish.wanted == "paused" and wish.at_once)
                if not late and not unwanted:
                    return order
                self._control.stop(run.run_id)
                run = RunStatus(run.run_id, "stopped") if unwanted else RunStatus(run.run_id, "failed", _NOT_TAKEN)
        except RunUnknown:  # a process of it that still trains loses its ticket, and ends before its next round
            wanted = wish.wanted == "scheduled"
            run = RunStatus(int(order.run_id), "failed" if wanted else "stopped", _FORGOTTEN)
        order = self._orders.get(order.number) or order  # its last word may have come in between
        return self._ended(order, run, wish, patience) if order.phase in LIVE else order

    def _ended(self, order: RunOrder, run: RunStatus, wish: TaskWish, patience: Patience) -> RunOrder:
        """What follows from a run's end."""
        now_s = self._now()
        if order.said == "completed":
            return self._orders.end(order, "completed", order.said_why, now_s)
        if wish.wanted == "stopped":
            return self._orders.end(order, "stopped", wish.reason or "stopped by the operator", now_s)
        if order.said == "paused" or (run.phase == "stopped" and wish.wanted == "paused"):
            return self._orders.back(order, "paused", order.said_why or "paused by the operator", now_s, pause_s=0.0)
        if run.phase == "stopped" and not order.said:
            return self._orders.end(order, "stopped", "the run was stopped at the SuperLink", now_s)
        reason = order.said_why or run.detail or "its process ended without a word"
        failures = order.failures + 1
        if failures >= patience.most_failures:
            return self._orders.end(order, "failed", f"given up after {failures} failures in a row: {reason}", now_s)
        killed = not order.said and failures == 1  # nothing is wrong with the run, as far as anybody knows
        pause_s = 0.0 if killed else patience.pause_s(failures)
        return self._orders.back(order, "failed", reason, now_s, pause_s=pause_s)
