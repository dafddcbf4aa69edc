"""Supervision without processes and without waiting: a loop whose time passes when nothing else happens."""

from __future__ import annotations

import asyncio
import selectors
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any

from clients.supervision.program import Program
from clients.supervision.status import ProgramStatus, Standing
from clients.supervision.supervisor import Supervisor


class _Selector(selectors.DefaultSelector):  # type: ignore[valid-type, misc]
    passed_s = 0.0

    def select(self, timeout: float | None = None) -> Any:
        found = super().select(0)
        if not found and timeout is None:
            raise AssertionError("nothing will ever happen any more")
        if not found and timeout:
            self.passed_s += timeout
        return found


class FakeTime(asyncio.SelectorEventLoop):
    """An event loop that skips the time in which nothing happens."""

    def __init__(self) -> None:
        self._fake = _Selector()
        super().__init__(self._fake)

    def time(self) -> float:
        return self._fake.passed_s


def in_fake_time(work: Callable[[], Coroutine[Any, Any, None]]) -> None:
    """Run `work` to its end in a loop of its own."""
    with asyncio.Runner(loop_factory=FakeTime) as runner:
        runner.run(work())


class FakeProcess:
    """A process that does what a test says.

    Attributes:
        stops: whether SIGTERM ends it.
        unkillable: how many times SIGKILL leaves something behind.
    """

    def __init__(self, name: str, pid: int, journal: list[str], ready: bool) -> None:
        self.name, self.pid, self.started, self.last_line = name, pid, pid * 10, ""
        self.ended: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        self.ready, self.stops, self.unkillable, self._journal = ready, True, 0, journal

    def end(self, code: int, line: str = "") -> None:
        self.last_line = line
        self.ended.set_result(code)

    async def is_ready(self) -> bool:
        return self.ready

    def ask_to_stop(self) -> None:
        self._journal.append(f"term {self.name}")
        if self.stops:
            self.end(-15)

    def lives(self) -> bool:
        return not self.ended.done()

    async def kill(self) -> bool:
        if self.lives():
            self._journal.append(f"kill {self.name}")
            if self.unkillable:
                self.unkillable -= 1
                return False
            self.end(-9)
        return True


class World:
    """A supervisor over fake processes.

    Attributes:
        journal: what happened, in words.
        processes: the newest of each program.
        at_once: the names of those that are ready as soon as they run.
        refuse: what starting a program raises.
    """

    def __init__(self, programs: list[Program], random: Callable[[], float] = lambda: 0.0) -> None:
        self.journal: list[str] = []
        self.said: list[str] = []
        self.states: list[Standing] = []
        self.processes: dict[str, FakeProcess] = {}
        self.started_at_s: list[tuple[str, float]] = []
        self.at_once = {program.name for program in programs}
        self.refuse: dict[str, str] = {}
        self.programs: dict[str, ProgramStatus] = {}
        self.supervisor = Supervisor(
            programs, self, told=self._told, say=self._say, now=lambda: 1000 + self.time_s, random=random
        )

    @property
    def time_s(self) -> float:
        try:
            return asyncio.get_running_loop().time()
        except RuntimeError:
            return 0.0

    async def start(self, program: Program) -> FakeProcess:
        if program.name in self.refuse:
            raise OSError(self.refuse[program.name])
        self.journal.append(f"start {program.name}")
        self.started_at_s.append((program.name, self.time_s))
        process = FakeProcess(program.name, 100 + len(self.journal), self.journal, program.name in self.at_once)
        self.processes[program.name] = process
        return process

    def run(self, script: Callable[[], Awaitable[None]]) -> None:
        """Let the supervisor run while `script` does things to it, then stop it if that has not."""

        async def work() -> None:
            running = asyncio.create_task(self.supervisor.run())
            try:
                await script()
            finally:
                if not running.done():
                    self.supervisor.stop()
                await running

        in_fake_time(work)

    def _told(self, state: Standing, programs: Any) -> None:
        if [state] != self.states[-1:]:
            self.states.append(state)
        self.programs = {one.name: one for one in programs}

    def _say(self, text: str, level: str = "info", name: str = "supervisor") -> None:
        self.said.append(f"{level} {text}")
