"""Starting one process of a set, looking whether it is ready, and ending it with all that it started."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Protocol

from clients.supervision.log_lines import LineCutter
from clients.supervision.marked import VARIABLE, kill_all, mark_of, marked, send, started_at
from clients.supervision.program import Listens, Program, Touches

_TETHER = Path(__file__).with_name("tether.py")
_PROBE_S = 1.0
_KILL_S = 5.0
_CHUNK = 65536


class Running(Protocol):
    """A process that was started, with all that it starts."""

    pid: int
    started: int | None
    last_line: str
    ended: asyncio.Future[int]
    """Its exit code, or minus the signal."""

    async def is_ready(self) -> bool:
        """Whether it shows that it is ready."""
        ...

    def ask_to_stop(self) -> None:
        """SIGTERM to it and all that it started."""
        ...

    def lives(self) -> bool:
        """Whether it, or something that it started, is still there."""
        ...

    async def kill(self) -> bool:
        """SIGKILL to it and all that it started, wherever that went; False if something outlives it."""
        ...


class Starter(Protocol):
    """Starts programs."""

    async def start(self, program: Program) -> Running:
        """Start it now.

        Raises:
            OSError: it cannot be started; the text says why.
        """
        ...


class OsStarter:
    """Starts real processes: each leads a session, carries the supervisor's mark and dies with the supervisor.

    Must be used from the main thread: the kernel ends a child with the *thread* that started it.

    Args:
        token: of the supervisor; see marked.py.
        on_line: is given each line that a program writes, and returns it as it was shown.
    """

    def __init__(self, token: str, on_line: Callable[[str, str], str]) -> None:
        self._token, self._on_line = token, on_line

    async def start(self, program: Program) -> Running:
        """As `Starter.start`."""
        match program.ready:
            case Listens(address):
                if await listens(address):
                    raise OSError(f"something else listens at {address} already")
            case Touches(path):
                path.unlink(missing_ok=True)
        if not os.access(program.command[0], os.X_OK):
            raise OSError(f"{program.command[0]} is not there, or may not be executed")
        return _Process(program, self._token, self._on_line)


class _Process:
    def __init__(self, program: Program, token: str, on_line: Callable[[str, str], str]) -> None:
        self._program, self._on_line = program, on_line
        self._mark = mark_of(token, program.name)
        self._loop = asyncio.get_running_loop()
        self._cutter = LineCutter()
        self.last_line = ""
        self._output, writes = os.pipe()
        try:
            self._popen = self._open(writes)
        except BaseException:
            os.close(self._output)
            raise
        finally:
            os.close(writes)
        self.pid, self.started = self._popen.pid, started_at(self._popen.pid)
        self.ended = self._loop.create_future()
        self._watched = os.pidfd_open(self.pid)
        self._loop.add_reader(self._watched, self._on_end)
        os.set_blocking(self._output, False)
        self._loop.add_reader(self._output, self._on_output)

    def _open(self, output: int) -> subprocess.Popen[bytes]:
        tethered = [sys.executable, "-I", "-S", str(_TETHER), str(os.getpid()), *self._program.command]
        return subprocess.Popen(
            tethered,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            env={**os.environ, "PYTHONUNBUFFERED": "1", **self._program.environment, VARIABLE: self._mark},
            start_new_session=True,
        )

    async def is_ready(self) -> bool:
        match self._program.ready:
            case Listens(address):
                return await listens(address)
            case Touches(path):
                return path.exists()
        return True

    def ask_to_stop(self) -> None:
        send(self._mark, signal.SIGTERM)

    def lives(self) -> bool:
        return not self.ended.done() or bool(marked(self._mark))

    async def kill(self) -> bool:
        if not self.ended.done():  # until it is waited for, no stranger gets its number
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self.pid, signal.SIGKILL)
        gone = await asyncio.to_thread(kill_all, self._mark, _KILL_S)
        if gone:
            await self.ended
            self._close_output()
        return gone

    def _on_end(self) -> None:
        self._loop.remove_reader(self._watched)
        os.close(self._watched)
        self._on_output()  # its last words
        if not self.ended.done():
            self.ended.set_result(self._popen.wait())

    def _on_output(self) -> None:
        if self._output < 0:
            return
        try:
            chunk = os.read(self._output, _CHUNK)
        except BlockingIOError:
            return
        for line in self._cutter.feed(chunk):
            self._show(line)
        if not chunk:
            self._close_output()

    def _close_output(self) -> None:
        if self._output >= 0:
            self._loop.remove_reader(self._output)
            os.close(self._output)
            self._output = -1
            for line in self._cutter.rest():
                self._show(line)

    def _show(self, line: str) -> None:
        self.last_line = self._on_line(self._program.name, line) or self.last_line


async def listens(address: str) -> bool:
    """Whether something accepts TCP connections at HOST:PORT."""
    host, _, port = address.rpartition(":")
    try:
        async with asyncio.timeout(_PROBE_S):
            _, writer = await asyncio.open_connection(host.strip("[]"), int(port))
    except (OSError, TimeoutError):
        return False
    writer.close()
    return True
