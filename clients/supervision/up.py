"""One supervisor for a home: the lock, what an earlier one left, signals, the status file, the log."""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import os
import secrets
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from random import SystemRandom
from typing import IO

from clients.supervision import marked
from clients.supervision.errors import AlreadyUp, NotStopped
from clients.supervision.keeper import Says
from clients.supervision.log_stream import LogFormat, LogStream
from clients.supervision.program import Program
from clients.supervision.starting import OsStarter
from clients.supervision.status import LOGS, READY, RUN, ProgramStatus, SetStatus, Standing, read_status, write_status
from clients.supervision.supervisor import Supervisor

LOCK = "up.lock"
_LEFTOVERS_S = 10.0
_LOCK_S = 1.0  # whoever asks whether a home is up holds its lock for a moment
_AGAIN_S = 5.0
_POLL_S = 0.1


def keep_up(
    home: Path, programs: Sequence[Program], log_format: LogFormat, on_ready: Callable[[SetStatus], None]
) -> None:
    """Run the home's programs until SIGTERM or SIGINT; SIGHUP starts those again that read files at their start.

    Args:
        on_ready: is called once, when all that is essential is ready for the first time.

    Raises:
        AlreadyUp: another supervisor has this home.
    """
    with _only_one(home), contextlib.closing(LogStream(home / LOGS, log_format, time.time)) as stream:
        _end_leftovers(home, stream)
        token = secrets.token_hex(16)
        with _guarded(token):
            asyncio.run(_run(home, programs, token, stream, on_ready))


def stop_set(home: Path, within_s: float) -> bool:
    """Ask the home's supervisor to stop, and wait until it has; False if there is none.

    One that has only just started has not said yet which process it is: it is waited for.

    Raises:
        NotStopped: it is still there after `within_s`.
    """
    end_s = time.monotonic() + within_s
    while (status := read_status(home)) is None or not status.alive:
        if not _is_up(home):
            return False
        if time.monotonic() > end_s:
            raise NotStopped(
                f"{home}: a process that keeps it up has not begun within {within_s:g} s; see {home / LOGS}"
            )
        time.sleep(_POLL_S)
    try:
        supervisor = os.pidfd_open(status.pid)
    except ProcessLookupError:
        return False
    try:
        if status.alive:  # looked at again: the descriptor holds on to one process
            signal.pidfd_send_signal(supervisor, signal.SIGTERM)
        while status.alive:
            if time.monotonic() > end_s:
                raise NotStopped(
                    f"{home}: process {status.pid} has not stopped within {within_s:g} s; see {home / LOGS}"
                )
            time.sleep(_POLL_S)
    finally:
        os.close(supervisor)
    return True


async def _run(
    home: Path, programs: Sequence[Program], token: str, stream: LogStream, on_ready: Callable[[SetStatus], None]
) -> None:
    told = _Told(home, token, on_ready, stream.say)
    supervisor = Supervisor(
        programs,
        OsStarter(token, stream.take),
        told=told,
        say=stream.say,
        now=time.time,
        random=SystemRandom().random,
    )
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, supervisor.stop)
    loop.add_signal_handler(signal.SIGHUP, supervisor.reload)
    await supervisor.run()


class _Told:
    """Writes the status at every change, the marker of readiness, and calls `on_ready` the first time.

    A disk that is full stops no process: what could not be written is said once, and tried again.
    """

    def __init__(self, home: Path, token: str, on_ready: Callable[[SetStatus], None], say: Says) -> None:
        self._home, self._token, self._on_ready, self._say = home, token, on_ready, say
        self._started = marked.started_at(os.getpid()) or 0
        self._state: Standing = "starting"
        self._since_s = time.time()
        self._was_ready = self._is_behind = False
        self._latest: SetStatus | None = None
        self._marker = home / RUN / READY
        self._marker.unlink(missing_ok=True)

    def __call__(self, state: Standing, programs: Sequence[ProgramStatus]) -> None:
        if state != self._state:
            self._state, self._since_s = state, time.time()
        self._latest = SetStatus(state, os.getpid(), self._started, self._token, self._since_s, tuple(programs))
        if not self._is_behind or state in ("stopping", "stopped"):
            self._write()
        if state == "ready" and not self._was_ready:
            self._was_ready = True
            with contextlib.suppress(OSError):  # whoever was to be told has gone
                self._on_ready(self._latest)

    def _write(self) -> None:
        assert self._latest is not None
        try:
            write_status(self._home, self._latest)
            if self._latest.state == "ready":
                self._marker.touch()
            else:
                self._marker.unlink(missing_ok=True)
        except OSError as error:
            if not self._is_behind:
                self._say(f"what is up cannot be written: {error}; tried again every {_AGAIN_S:g} s", "error")
            self._is_behind = True
            asyncio.get_running_loop().call_later(_AGAIN_S, self._write)
        else:
            self._is_behind = False


@contextmanager
def _only_one(home: Path) -> Iterator[None]:
    """Hold the home's lock. The kernel lets go of it when the supervisor ends, however that is."""
    (home / RUN).mkdir(parents=True, exist_ok=True, mode=0o700)
    end_s = time.monotonic() + _LOCK_S
    with (home / RUN / LOCK).open("a+") as file:
        while not _locked(file):
            if time.monotonic() > end_s:
                status = read_status(home)
                who = f"process {status.pid} keeps" if status is not None and status.alive else "another process keeps"
                raise AlreadyUp(f"{home}: {who} this home's processes already; stop it with `down`")
            time.sleep(_POLL_S)
        yield


def _is_up(home: Path) -> bool:
    """Whether a supervisor holds the home's lock."""
    try:
        with (home / RUN / LOCK).open("a+") as file:
            return not _locked(file)
    except FileNotFoundError:
        return False


def _locked(file: IO[str]) -> bool:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _end_leftovers(home: Path, stream: LogStream) -> None:
    """Kill what an earlier supervisor of this home, which ended without saying so, has left behind."""
    earlier = read_status(home)
    if earlier is None or not earlier.token:
        return
    left = marked.marked(f"{earlier.token}/")
    if left:
        stream.say(f"an earlier supervisor left {len(left)} processes behind; they are ended", "warning")
        if not marked.kill_all(f"{earlier.token}/", _LEFTOVERS_S):
            stream.say("some of them cannot be killed", "error")


@contextmanager
def _guarded(token: str) -> Iterator[None]:
    """A process of its own that ends all of ours when this one is killed. It sees that by the end of its input."""
    environment = {name: value for name, value in os.environ.items() if name != marked.VARIABLE}
    guard = subprocess.Popen(
        [sys.executable, "-I", "-S", marked.__file__, token],
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        env=environment,
        start_new_session=True,
    )
    try:
        yield
    finally:
        assert guard.stdin is not None
        guard.stdin.close()
        guard.wait()
