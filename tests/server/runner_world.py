"""A runner without Flower: a clock, a SuperLink and ServerApps that do what a test says, and a store that crashes."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import sqlalchemy as sa

from server.coordinator import CoordinatorConfig, TaskAtCoordinator
from server.engines import EngineUnreachable
from server.engines.control import Node, RunPhase, RunStatus, RunUnknown
from server.ordered_run import HeldBetweenRounds, OrderedRun
from server.roll_call import ByNodes, Enrolled
from server.run_order import Superseded
from server.run_orders import RunOrders
from server.runner import Runner, Surroundings
from server.store import Part, StateStore

START_S = 1_790_000_000.0
FIRMS = ("firm-1", "firm-2", "firm-3")


class Killed(BaseException):
    """The process is gone; nothing catches it."""


class CrashingStore(StateStore):
    """A store in memory whose process is killed before or after the commit of its n-th transaction from now.

    Attributes:
        beside: what other processes do just before each transaction.
    """

    def __init__(self) -> None:
        super().__init__(None)
        self.kill_in: int | None = None
        self.after_commit = False
        self.beside: Callable[[], None] | None = None

    @contextmanager
    def write(self, part: Part) -> Iterator[sa.Connection]:
        if self.beside is not None:
            others, self.beside = self.beside, None
            others()
            self.beside = others
        dies = self.kill_in == 0
        self.kill_in = None if self.kill_in is None or dies else self.kill_in - 1
        with super().write(part) as connection:
            yield connection
            if dies and not self.after_commit:
                raise Killed
        if dies:
            raise Killed


class App:
    """A ServerApp's process: not begun until `begin`, then held or going on round by round until it ends."""

    def __init__(self, world: World, run_id: int, config: Mapping[str, Any], rounds: int) -> None:
        self.world, self.run_id, self.config, self.rounds = world, run_id, config, rounds
        self.task, self.done = str(config["task"]), 0
        self.ordered: OrderedRun | None = None
        self.over = False

    @property
    def training(self) -> bool:
        """Whether it may touch the firms now."""
        return self.ordered is not None and not self.over

    def begin(self) -> None:
        if self.over or self.ordered is not None:
            return
        try:
            self.ordered = OrderedRun(self.world.orders, self.config["ticket"], self.run_id, self.world.clock)
        except Superseded:
            self._end("failed")
            return
        self.world.phases[self.run_id] = "running"
        self.done = self.world.rounds_done.get(self.task, 0) % self.rounds

    def round(self) -> None:
        """Train one round, or end."""
        if self.ordered is None or self.over:
            return
        try:
            if self.done < self.rounds:
                self.ordered.before_round(self.done, self.rounds)
        except (HeldBetweenRounds, Superseded) as error:
            self.ordered.__exit__(type(error), error, None)
            self._end("completed" if isinstance(error, HeldBetweenRounds) else "failed")
            return
        if self.done == self.rounds:
            self.ordered.__exit__(None, None, None)
            self._end("completed")
            return
        self.done += 1
        self.world.trained.append((self.task, self.done))
        self.world.rounds_done[self.task] = self.done

    def fail(self, error: Exception) -> None:
        assert self.ordered is not None
        self.ordered.__exit__(type(error), error, None)
        self._end("failed")

    def die(self) -> None:
        """Without a word, as by kill -9."""
        if not self.over:
            self._end("failed")

    def _end(self, phase: RunPhase) -> None:
        self.over = True
        if self.world.phases[self.run_id] not in ("completed", "failed", "stopped"):
            self.world.phases[self.run_id] = phase


class World:
    """Everything around one runner. Is its `Control`."""

    def __init__(self, *tasks: Mapping[str, Any], rounds: int = 3, runner: Mapping[str, Any] | None = None) -> None:
        self.now_s = START_S
        self.store = CrashingStore()
        self.tasks, self.settings, self.rounds = list(tasks), dict(runner or {}), rounds
        self._tickets = 0
        self.orders = RunOrders(self.store, self._ticket)
        self.apps: list[App] = []
        self.phases: dict[int, RunPhase] = {}
        self.trained: list[tuple[str, int]] = []
        self.rounds_done: dict[str, int] = {}
        self.seen: dict[str, float | None] = dict.fromkeys(FIRMS, START_S)
        self.online = set(FIRMS)
        self.reachable = True
        self.lose_answers = False
        self.runner = self.restarted()

    def clock(self) -> float:
        return self.now_s

    def _ticket(self) -> str:
        self._tickets += 1
        return f"ticket-{self._tickets}"

    def restarted(self) -> Runner:
        """A new process of the runner."""
        self.store.kill_in = None
        roll_call = ByNodes(self.nodes, lambda: Enrolled(FIRMS, 3))
        self.runner = Runner(self.orders, Surroundings(self, self.config, roll_call, self.clock, "/coordinator"))
        return self.runner

    def config(self) -> CoordinatorConfig:
        tasks = [TaskAtCoordinator.model_validate({"spec": "task.toml", **one}) for one in self.tasks]
        return CoordinatorConfig.model_validate({"cid": "bread", "task": tasks, "runner": self.settings})

    def steps(self, count: int = 1, every_s: float = 1.0) -> None:
        """The runner's steps, with the ServerApps beginning and training in between."""
        for _ in range(count):
            self.runner.step()
            self.let_apps_work()
            self.now_s += every_s

    def let_apps_work(self) -> None:
        for app in self.apps:
            app.begin()
            app.round()

    @property
    def training(self) -> list[App]:
        return [app for app in self.apps if app.training]

    @property
    def app(self) -> App:
        """The one that trains."""
        (found,) = self.training
        return found

    # What a SuperLink does.

    def register(self, name: str, public_key: bytes) -> None:
        raise NotImplementedError

    def unregister(self, name: str) -> None:
        raise NotImplementedError

    def nodes(self) -> list[Node]:
        self._reach()
        return [
            Node(name, number, name in self.online, last)
            for number, (name, last) in enumerate(self.seen.items())
            if last is not None
        ]

    def submit(self, run_config: Mapping[str, Any]) -> int:
        self._reach()
        run_id = len(self.apps) + 1
        self.phases[run_id] = "pending"
        self.apps.append(App(self, run_id, run_config, self.rounds))
        if self.lose_answers:
            raise EngineUnreachable("SuperLink does not answer")
        return run_id

    def run(self, run_id: int) -> RunStatus:
        self._reach()
        if run_id not in self.phases:
            raise RunUnknown("SuperLink knows no such run")
        return RunStatus(run_id, self.phases[run_id], "")

    def stop(self, run_id: int) -> None:
        self.run(run_id)
        if self.phases[run_id] in ("pending", "running"):
            self.phases[run_id] = "stopped"
            self.apps[run_id - 1].over = True

    def _reach(self) -> None:
        if not self.reachable:
            raise EngineUnreachable("SuperLink does not answer")


Step = Callable[[World], None]
