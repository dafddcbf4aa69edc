"""Processes that one run starts and that must all be gone after it, whatever happens in between."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

from server.engines import EngineUnreachable

_POLL_S = 0.1
_LAST_LINES = 3


@dataclass(frozen=True)
class _Child:
    name: str
    process: subprocess.Popen[bytes]
    log: Path


class Processes:
    """A set of child processes, each the leader of a session of its own, so that it stops with its children.

    Args:
        logs: existing folder; the output of process `name` goes to `name.log` in it.
        environment: of every process, complete.
        deadline_s: on the clock; nothing is waited for any longer.
        clock: seconds, monotonic.
        grace_s: between asking a process to stop and stopping it.
    """

    def __init__(
        self,
        logs: Path,
        environment: Mapping[str, str],
        deadline_s: float,
        clock: Callable[[], float] = time.monotonic,
        grace_s: float = 5.0,
    ) -> None:
        self._logs, self._environment = logs, dict(environment)
        self._deadline_s, self._clock, self._grace_s = deadline_s, clock, grace_s
        self._services: list[_Child] = []
        self._all: list[_Child] = []

    def __enter__(self) -> Processes:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self.stop()

    def serve(self, name: str, command: Sequence[str | Path], **environment: str) -> None:
        """Start a process that is to run until the end; `environment` adds to what all get."""
        self._services.append(self._start(name, command, environment))

    def kill(self, name: str) -> None:
        """Kill a service with SIGKILL, as a crash would; it may be started again under the same name."""
        (child,) = (one for one in self._services if one.name == name)
        self._services.remove(child)
        child.process.kill()
        child.process.wait()

    def pid(self, name: str) -> int:
        """The process of a service."""
        return next(one.process.pid for one in self._services if one.name == name)

    def processor_s(self) -> float:
        """Seconds of processor time that the services and the children that they have reaped took."""
        ticks = 0
        for child in self._services:
            fields = Path("/proc", str(child.process.pid), "stat").read_text("utf-8").rsplit(")", 1)[1].split()
            ticks += sum(map(int, fields[11:15]))  # proc(5): utime, stime, cutime, cstime
        return ticks / os.sysconf("SC_CLK_TCK")

    def launch(self, name: str, command: Sequence[str | Path]) -> _Child:
        """Start a process that is to end by itself; see `finish`."""
        return self._start(name, command, {})

    def finish(self, child: _Child) -> str:
        """Wait for a launched process and return what it wrote on standard output.

        Raises:
            EngineUnreachable: it failed, a service ended meanwhile, or the deadline passed.
        """
        self.wait_until(lambda: child.process.poll() is not None, f"{child.name} to end")
        if not _group_lives(child):
            self._all.remove(child)  # its number may go to a stranger from now on
        if child.process.returncode != 0:
            raise EngineUnreachable(f"engine: {child.name} failed: {_last_words(child.log)}")
        return child.log.read_text(encoding="utf-8", errors="replace")

    def call(self, name: str, command: Sequence[str | Path]) -> str:
        """Launch and finish."""
        return self.finish(self.launch(name, command))

    def wait_until(self, ready: Callable[[], bool], what: str) -> None:
        """Return when `ready()`.

        Raises:
            EngineUnreachable: a service ended meanwhile, or the deadline passed.
        """
        while not ready():
            for child in self._services:
                if child.process.poll() is not None:
                    raise EngineUnreachable(f"engine: {child.name} ended: {_last_words(child.log)}")
            if self._clock() > self._deadline_s:
                raise EngineUnreachable(f"engine: the deadline passed while waiting for {what}: see {self._logs}")
            time.sleep(_POLL_S)

    def stop(self) -> None:
        """Stop every process that was started here, and those that it started: politely, then not."""
        for child in reversed(self._all):
            _signal_group(child, signal.SIGTERM)
        end_s = self._clock() + self._grace_s
        while self._clock() < end_s and any(_group_lives(child) for child in self._all):
            time.sleep(_POLL_S)
        for child in self._all:
            _signal_group(child, signal.SIGKILL)
            child.process.wait()
        self._all.clear()
        self._services.clear()

    def _start(self, name: str, command: Sequence[str | Path], environment: Mapping[str, str]) -> _Child:
        log = self._logs / f"{name}.log"
        errors = self._logs / f"{name}.err"
        try:
            with log.open("wb") as output, errors.open("wb") as trouble:
                process = subprocess.Popen(
                    [str(word) for word in command],
                    stdin=subprocess.DEVNULL,
                    stdout=output,
                    stderr=trouble,
                    env={**self._environment, **environment},
                    start_new_session=True,
                )
        except OSError as error:
            raise EngineUnreachable(f"engine: {name} cannot be started: {error}") from error
        child = _Child(name, process, log)
        self._all.append(child)
        return child


def _signal_group(child: _Child, number: int) -> None:
    # The group's number stays taken as long as one process of it lives, or its leader is not waited for.
    if child.process.returncode is None or _group_lives(child):
        with contextlib.suppress(ProcessLookupError):
            os.killpg(child.process.pid, number)


def _group_lives(child: _Child) -> bool:
    child.process.poll()
    try:
        os.killpg(child.process.pid, 0)
    except ProcessLookupError:
        return False
    return True


def _last_words(log: Path) -> str:
    """The last lines that a process wrote, as one line."""
    for path in (log.with_suffix(".err"), log):
        lines = [line.strip() for line in path.read_text(encoding="utf-8", errors="replace").splitlines()]
        lines = [line for line in lines if any(letter.isalnum() for letter in line)]
        if lines:
            return f"{' | '.join(lines[-_LAST_LINES:])[:500]} (see {path})"
    return f"it wrote nothing (see {log})"
