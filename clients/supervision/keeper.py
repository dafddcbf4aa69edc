"""Keeping one program running: started when it may be, watched, started again when it ended, for ever."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Protocol

from clients.supervision.back_off import BackOff
from clients.supervision.log_lines import Level
from clients.supervision.program import Program
from clients.supervision.starting import Running, Starter
from clients.supervision.status import Exit, ProgramStatus, State

POLL_S = 0.1
LOOK_S = 2.0
"""Between two looks at the files that a program reads only when it starts."""
WRONG_CONFIGURATION = 2
_OFTEN = 5  # ends in a row, after which it is said aloud


class Says(Protocol):
    """Where a keeper tells what it does."""

    def __call__(self, text: str, level: Level = "info", name: str = "supervisor") -> None:
        """One line."""
        ...


class Keeper:
    """Keeps one program; `keep` runs until it is cancelled, and then leaves nothing of it behind.

    Args:
        program: what is kept.
        needs: the keepers of those that it needs.
        starter: starts it.
        back_off: its pauses.
        changed: is called after every change of `status`.
        say: one line about what happens.
        now: seconds since 1970; durations are the event loop's.
        hurry: once set, nothing is waited for between SIGTERM and SIGKILL.
    """

    def __init__(
        self,
        program: Program,
        needs: Sequence[Keeper],
        starter: Starter,
        back_off: BackOff,
        *,
        changed: Callable[[], None],
        say: Says,
        now: Callable[[], float],
        hurry: asyncio.Event,
    ) -> None:
        self.program, self.needs = program, needs
        self._starter, self._back_off = starter, back_off
        self._changed, self._say, self._now, self._hurry = changed, say, now, hurry
        self.ready = asyncio.Event()
        self._restart = asyncio.Event()
        self._dormant = False
        self.status = ProgramStatus(program.name, "waiting", since_s=now(), essential=program.essential)

    @property
    def is_dormant(self) -> bool:
        """Whether it, or what it needs, waits for a file."""
        return self._dormant or any(need.is_dormant for need in self.needs)

    def restart(self) -> None:
        """Stop the process and start it again at once; one that waits for its next start does so now."""
        self._restart.set()

    async def keep(self) -> None:
        """Until cancelled."""
        try:
            while True:
                await self._until_it_may_start()
                self._restart.clear()
                end, ready_for_s = await self._live()
                if not self._restart.is_set():
                    await self._pause(end, ready_for_s)
                self.status = replace(self.status, restarts=self.status.restarts + 1)
        finally:
            self._set("stopped")

    async def _until_it_may_start(self) -> None:
        while missing := [path for path in self.program.after if not path.exists()]:
            self._dormant = True
            self._set("waiting", f"for {self.program.after_words or missing[0]}")
            await asyncio.sleep(5 * POLL_S)
        self._dormant = False
        for need in self.needs:
            if not need.ready.is_set():
                self._set("waiting", f"for {need.program.name} to be ready")
                await need.ready.wait()

    async def _live(self) -> tuple[Exit, float]:
        """One life of the process; returns its end, and for how many seconds it was ready."""
        loop, seen = asyncio.get_running_loop(), _fingerprints(self.program.reads)
        self._set("starting")
        try:
            running = await self._starter.start(self.program)
        except OSError as error:
            return Exit(WRONG_CONFIGURATION, self._now(), str(error)), 0.0
        self._set("starting", pid=running.pid, started=running.started)
        since_s: float | None = None
        try:
            if await self._becomes_ready(running):
                since_s = loop.time()
                self.ready.set()
                self._set("ready")
                await self._until_ended_or_stale(running, seen)
        finally:
            self.ready.clear()
            await self._end(running)
        ended = Exit(running.ended.result(), self._now(), running.last_line)
        return ended, 0.0 if since_s is None else loop.time() - since_s

    async def _becomes_ready(self, running: Running) -> bool:
        loop = asyncio.get_running_loop()
        end_s = loop.time() + self.program.ready_within_s
        while not running.ended.done() and not self._restart.is_set():
            if await running.is_ready():
                return not running.ended.done()
            if loop.time() > end_s:
                self._say(f"{self.program.name} is not ready after {self.program.ready_within_s:g} s", "error")
                return False
            await asyncio.sleep(POLL_S)
        return False

    async def _until_ended_or_stale(self, running: Running, seen: Mapping[Path, object]) -> None:
        """Return when it ended, when a restart was asked for, or when what it has read was replaced."""
        restart = asyncio.create_task(self._restart.wait())
        try:
            while True:
                every_s = LOOK_S if seen else None
                waits: set[asyncio.Future[Any]] = {running.ended, restart}
                await asyncio.wait(waits, timeout=every_s, return_when=asyncio.FIRST_COMPLETED)
                if running.ended.done() or self._restart.is_set():
                    return
                if _fingerprints(self.program.reads) != seen:
                    self._say(f"{self.program.name} is started again: what it read at its start has been replaced")
                    self._restart.set()
                    return
        finally:
            restart.cancel()

    async def _end(self, running: Running) -> None:
        """Leave nothing of it: politely if it runs still, and at once what outlives it."""
        loop = asyncio.get_running_loop()
        if not running.ended.done():
            self._set("stopping", pid=running.pid, started=running.started)
            running.ask_to_stop()
            end_s = loop.time() + self.program.stop_within_s
            while running.lives() and loop.time() < end_s and not self._hurry.is_set():
                await asyncio.sleep(POLL_S)
        while not await running.kill():
            self._say(f"{self.program.name}: a process of it cannot be killed; trying on", "error")
            await asyncio.sleep(POLL_S)

    async def _pause(self, end: Exit, ready_for_s: float) -> None:
        wrong = end.code == WRONG_CONFIGURATION
        pause_s = self._back_off.mend_s() if wrong else self._back_off.pause_s(ready_for_s)
        state: State = "needs-mending" if wrong else "restarting"
        self.status = replace(self.status, last_exit=end)
        words = f"{ended_words(end)}; {'needs mending, ' if wrong else ''}started again in {pause_s:.1f} s"
        often = self._back_off.failures >= _OFTEN
        times = f" ({self._back_off.failures} times in a row)" if often else ""
        self._say(f"{self.program.name} {words}{times}", "error" if wrong or often else "warning")
        self._set(state, words)
        seen = _fingerprints(self.program.reads)
        until_s = asyncio.get_running_loop().time() + pause_s
        while (left_s := until_s - asyncio.get_running_loop().time()) > 0:
            try:
                async with asyncio.timeout(min(left_s, LOOK_S)):
                    await self._restart.wait()
            except TimeoutError:
                if _fingerprints(self.program.reads) == seen:
                    continue
            return

    def _set(self, state: State, why: str = "", pid: int | None = None, started: int | None = None) -> None:
        if state == "ready":
            pid, started = self.status.pid, self.status.started
        same = state == self.status.state
        since_s = self.status.since_s if same else self._now()
        changed = replace(self.status, state=state, why=why, pid=pid, started=started, since_s=since_s)
        if changed != self.status:
            self.status = changed
            if not same and state in ("ready", "stopped"):
                self._say(f"{self.program.name} is {state}")
            self._changed()


def ended_words(end: Exit) -> str:
    """How a process ended, in words."""
    how = f"was ended by signal {-end.code}" if end.code < 0 else f"ended with {end.code}"
    return f"{how}: {end.line}" if end.line else how


def _fingerprints(paths: Sequence[Path]) -> dict[Path, object]:
    """What changes when a file is replaced; None for one that is not there."""
    found: dict[Path, object] = {}
    for path in paths:
        try:
            about = path.stat()
        except OSError:
            found[path] = None
        else:
            found[path] = (about.st_ino, about.st_mtime_ns, about.st_size)
    return found
