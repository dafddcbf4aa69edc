"""A process that takes tasks and forks one child for each: what is imported once serves them all.

The parent starts no thread and opens no channel that a child would use: it imports, asks for tasks over one plain
connection, forks, reaps, and kills what hangs. A child is told by the kernel to die with it (Linux, prctl(2)
PR_SET_PDEATHSIG). Whatever ends a child otherwise than well, its task is failed at once, so that nobody waits for it;
tasks whose executor was killed are failed by the next one, which finds their tokens in a file.
"""

from __future__ import annotations

import contextlib
import ctypes
import gc
import json
import logging
import os
import signal
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from clients.errors import ClientError
from ledger.whole_file import write_whole

POLL_S = 0.05
"""Between two questions for a task; a SuperNode of ours keeps who asks waiting until there is one."""
MOST_SECONDS = 3600.0
"""A child that runs longer hangs."""

_LONGEST_BACKOFF_S = 5.0
_PR_SET_PDEATHSIG = 1
_CRASHED = 70  # EX_SOFTWARE of sysexits.h

log = logging.getLogger("artesian.executor")


class ExecutorUnreachable(ClientError):
    """Whoever hands out the tasks does not answer."""

    exit_code = 3


@dataclass(frozen=True)
class Task:
    """One task that was taken.

    Attributes:
        token: what shows that it is ours; a secret.
        fab_hash: hex, of the bundle that the run names; whoever runs the task checks it against the bundle itself.
    """

    task_id: int
    run_id: int
    token: str
    fab_hash: str


class Source(Protocol):
    """Where tasks come from."""

    def take(self) -> Task | None:
        """The next task, or None.

        Raises:
            ExecutorUnreachable: it does not answer.
        """
        ...

    def fail(self, token: str, why: str) -> None:
        """Say that a task has failed; what is over, or cannot be said, is let be."""
        ...


Start = Callable[[Task], int]
"""Starts a child for a task; returns its process id."""
Reap = Callable[[int], int | None]
"""The exit code of a child that has ended (negative: the signal), None while it runs."""


class Executor:
    """Takes tasks, starts a child for each, and sees it end.

    Args:
        source: where tasks come from.
        book: remembers tokens of tasks under way.
        start: see `Start`.
        most_children: at once; no more tasks are taken meanwhile.
        most_s: how long a child may take.
        poll_s: between two questions for a task.
        clock: seconds, monotonic.
    """

    def __init__(
        self,
        source: Source,
        book: TokenBook,
        start: Start,
        *,
        most_children: int,
        most_s: float = MOST_SECONDS,
        poll_s: float = POLL_S,
        reap: Reap | None = None,
        kill: Callable[[int], None] | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._source, self._book, self._start = source, book, start
        self._most_children, self._most_s, self._poll_s = most_children, most_s, poll_s
        self._reap, self._kill, self._clock = reap or reaped, kill or killed, clock
        self._children = dict[int, tuple[Task, float]]()
        self._failures = 0

    @property
    def running(self) -> int:
        """How many children there are."""
        return len(self._children)

    def fail_forgotten(self) -> None:
        """Fail the tasks whose executor was killed: their children died with it."""
        for task_id, token in self._book.tokens().items():
            self._source.fail(token, "the executor was restarted")
            self._book.remove(task_id)

    def step(self) -> float:
        """Reap, kill what hangs, take a task if there is room; returns seconds until the next step."""
        self._tend()
        if len(self._children) >= self._most_children:
            return self._poll_s
        try:
            task = self._source.take()
        except ExecutorUnreachable as error:
            self._failures += 1
            if self._failures == 1:
                log.warning("%s; asking again", error)
            return float(min(_LONGEST_BACKOFF_S, self._poll_s * 2 ** min(self._failures, 10)))
        if self._failures:
            log.info("tasks can be taken again")
        self._failures = 0
        if task is not None:
            self._begin(task)
        return self._poll_s

    def stop(self, within_s: float, sleep: Callable[[float], None] = time.sleep) -> None:
        """Let children end; after `within_s` kill and fail them."""
        until_s = self._clock() + within_s
        while self._children and self._clock() < until_s:
            self._tend()
            sleep(POLL_S)
        self._most_s = 0.0
        while self._children:
            self._tend()
            sleep(POLL_S)

    def _begin(self, task: Task) -> None:
        self._book.add(task)
        try:
            pid = self._start(task)
        except OSError as error:  # no memory, no process ids
            log.error("task %d: cannot start a process: %s", task.task_id, error)
            self._end(task, "no process could be started")
            return
        self._children[pid] = (task, self._clock())

    def _tend(self) -> None:
        for pid, (task, began_s) in list(self._children.items()):
            code = self._reap(pid)
            if code is None:
                if self._clock() - began_s >= self._most_s:
                    log.error("task %d: killed after %.0f s", task.task_id, self._clock() - began_s)
                    self._kill(pid)
                continue
            del self._children[pid]
            if code:
                log.error("task %d: its process ended with %d", task.task_id, code)
            self._end(task, f"its process ended with {code}" if code else "")

    def _end(self, task: Task, why: str) -> None:
        if why:
            self._source.fail(task.token, why)
        self._book.remove(task.task_id)


class TokenBook:
    """A file with the tokens of tasks under way, for the executor that comes after a killed one. Mode 0600."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._tokens = self._read()

    def tokens(self) -> Mapping[int, str]:
        """Tokens by task id."""
        return dict(self._tokens)

    def add(self, task: Task) -> None:
        self._tokens[task.task_id] = task.token
        self._write()

    def remove(self, task_id: int) -> None:
        if self._tokens.pop(task_id, None) is not None:
            self._write()

    def _read(self) -> dict[int, str]:
        try:
            return {int(task): str(token) for task, token in json.loads(self._path.read_text("utf-8")).items()}
        except (OSError, ValueError, AttributeError):
            return {}  # missing, or cut short: their tasks end by their heartbeat

    def _write(self) -> None:
        # Not durable: a power cut ends what hands out the tasks as well.
        write_whole(self._path, json.dumps(self._tokens), durable=False)


def fork(work: Callable[[], None]) -> int:
    """Do `work` in a child that dies with this process; returns the child's process id.

    `work` may end by SystemExit, whose code is the child's. The child runs no exit handler of the parent.

    Raises:
        OSError: there is no memory or no process id for it.
    """
    parent = os.getpid()
    sys.stdout.flush()
    sys.stderr.flush()
    gc.freeze()  # what is imported stays in pages that all children share
    pid = os.fork()
    if pid:
        return pid
    code = _CRASHED
    try:
        _die_with(parent)
        for one in (signal.SIGTERM, signal.SIGINT):
            signal.signal(one, signal.default_int_handler if one == signal.SIGINT else signal.SIG_DFL)
        work()
        code = 0
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else int(end.code is not None)
    except BaseException:
        log.exception("the task's process failed")
    finally:
        with contextlib.suppress(Exception):
            sys.stdout.flush()
            sys.stderr.flush()
        os._exit(code & 0xFF)


def reaped(pid: int) -> int | None:
    """As `Reap` says."""
    try:
        done, status = os.waitpid(pid, os.WNOHANG)
    except ChildProcessError:
        return _CRASHED
    return os.waitstatus_to_exitcode(status) if done else None


def killed(pid: int) -> None:
    """Kill one child of ours, which is still to be reaped."""
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)


def _die_with(parent: int) -> None:
    with contextlib.suppress(OSError, AttributeError):  # elsewhere than on Linux it outlives the parent, to its end
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != parent:  # it died in between
        os._exit(_CRASHED)
