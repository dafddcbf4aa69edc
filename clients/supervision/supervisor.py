"""A set of programs kept running together: started in order, told about, stopped in reverse."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Protocol

from clients.supervision.back_off import BackOff
from clients.supervision.keeper import Keeper, Says
from clients.supervision.program import Program, in_order
from clients.supervision.starting import Starter
from clients.supervision.status import ProgramStatus, Standing


class Told(Protocol):
    """Who is told of every change."""

    def __call__(self, state: Standing, programs: Sequence[ProgramStatus]) -> None:
        """The set's state (`starting`, `ready`, `stopping`, `stopped`), and how each program stands."""
        ...


class Supervisor:
    """Runs the programs until `stop`; then none of them, and nothing that they started, is left.

    Args:
        programs: in any order; what they need decides.
        starter: starts them.
        told: is called at every change.
        say: one line of the log.
        now: seconds since 1970; durations are the event loop's.
        random: uniform in [0, 1), for the pauses.

    Raises:
        ValueError: names or needs that do not fit together.
    """

    def __init__(
        self,
        programs: Sequence[Program],
        starter: Starter,
        *,
        told: Told,
        say: Says,
        now: Callable[[], float],
        random: Callable[[], float],
    ) -> None:
        self._told, self._stopping, self._hurry = told, asyncio.Event(), asyncio.Event()
        self.keepers: dict[str, Keeper] = {}
        for program in in_order(programs):
            self.keepers[program.name] = Keeper(
                program,
                [self.keepers[need] for need in program.needs],
                starter,
                BackOff(program.retry_at_most_s, random),
                changed=self._tell,
                say=say,
                now=now,
                hurry=self._hurry,
            )
        self._finished = False

    async def run(self) -> None:
        """Until `stop` was called and all have ended."""
        tasks = {name: asyncio.create_task(keeper.keep(), name=name) for name, keeper in self.keepers.items()}
        stopping = asyncio.create_task(self._stopping.wait())
        try:
            self._tell()
            # A keeper never ends by itself: one that does has a fault, and takes the set down with it.
            await asyncio.wait({stopping, *tasks.values()}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            stopping.cancel()
            self._stopping.set()
            self._tell()
            faults = await self._end(tasks)
            self._finished = True
            self._tell()
        if faults:
            raise faults[0]

    def stop(self) -> None:
        """Ask all to stop, those first that nobody needs; called again, kill what is left."""
        if self._stopping.is_set():
            self._hurry.set()
        self._stopping.set()

    def reload(self) -> None:
        """Start those again that read files only at their start."""
        for keeper in self.keepers.values():
            if keeper.program.reads:
                keeper.restart()

    @property
    def state(self) -> Standing:
        """The set's: ready when all that is essential is, or waits for a file that only a person's deed brings."""
        if self._finished:
            return "stopped"
        if self._stopping.is_set():
            return "stopping"
        essential = [keeper for keeper in self.keepers.values() if keeper.program.essential]
        there = all(keeper.status.state == "ready" or keeper.is_dormant for keeper in essential)
        return "ready" if there else "starting"

    async def _end(self, tasks: dict[str, asyncio.Task[None]]) -> list[BaseException]:
        """Cancel each keeper when those that need it have ended; returns what went wrong in them."""

        async def end(name: str) -> BaseException | None:
            await asyncio.gather(*(ends[other] for other, keeper in self.keepers.items() if self._needs(keeper, name)))
            tasks[name].cancel()
            (result,) = await asyncio.gather(tasks[name], return_exceptions=True)
            return None if result is None or isinstance(result, asyncio.CancelledError) else result

        ends: dict[str, asyncio.Task[BaseException | None]] = {}
        for name in tasks:
            ends[name] = asyncio.create_task(end(name))
        return [fault for fault in await asyncio.gather(*ends.values()) if fault is not None]

    @staticmethod
    def _needs(keeper: Keeper, name: str) -> bool:
        return name in keeper.program.needs

    def _tell(self) -> None:
        self._told(self.state, [keeper.status for keeper in self.keepers.values()])
