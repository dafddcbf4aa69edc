"""Processes that carry a supervisor's mark in their environment, whoever started them: found, and ended.

A mark is random and inherited, so it finds the children of children, those that left the group or the session, and
those of a supervisor that was killed; and never a stranger's process that has got a number of ours. Linux only (/proc).

As a script this is the guard of one supervisor: it waits until the supervisor is gone, in whatever way, and then ends
what carries its mark. It imports nothing but the standard library, so that it weighs little.
"""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import time
from collections.abc import Iterator

VARIABLE = "ARTESIAN_SUPERVISED"
_POLL_S = 0.05


def mark_of(token: str, name: str) -> str:
    """The value of `VARIABLE` for one program of the supervisor with this token."""
    return f"{token}/{name}/"


def started_at(pid: int) -> int | None:
    """When a process started, in clock ticks since boot; None if it has ended. With the pid it names one process."""
    found = _stat(pid)
    return None if found is None or found[0] == "Z" else found[1]


def marked(mark: str) -> list[int]:
    """The pids of all that live and whose mark begins with `mark`."""
    return [pid for pid in _pids() if _carries(pid, mark)]


def send(mark: str, number: int) -> int:
    """Signal all that carry `mark`; returns how many there were."""
    count = 0
    for pid in marked(mark):
        # The descriptor holds on to one process: it is looked at again, and no other can get the signal.
        with contextlib.suppress(ProcessLookupError, OSError):
            descriptor = os.pidfd_open(pid)
            try:
                if _carries(pid, mark):
                    signal.pidfd_send_signal(descriptor, number)
                    count += 1
            finally:
                os.close(descriptor)
    return count


def kill_all(mark: str, within_s: float) -> bool:
    """Kill all that carry `mark`, also those that they start meanwhile; False if some outlived `within_s`."""
    end_s = time.monotonic() + within_s
    while send(mark, signal.SIGKILL):
        if time.monotonic() > end_s:
            return False
        time.sleep(_POLL_S)
    return True


def _pids() -> Iterator[int]:
    return (int(name) for name in os.listdir("/proc") if name.isdecimal())


def _carries(pid: int, mark: str) -> bool:
    wanted = f"{VARIABLE}={mark}".encode()
    try:
        with open(f"/proc/{pid}/environ", "rb") as file:
            if not any(value.startswith(wanted) for value in file.read().split(b"\0")):
                return False
    except OSError:  # it has ended, or is another user's
        return False
    found = _stat(pid)
    return found is not None and found[0] != "Z"


def _stat(pid: int) -> tuple[str, int] | None:
    """State and start of a process; None if there is none."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            fields = file.read().rpartition(b")")[2].split()  # the name before may hold anything
    except OSError:
        return None
    return fields[0].decode(), int(fields[19])


def _guard(token: str) -> None:
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)  # it ends when the supervisor does, and not before
    while sys.stdin.buffer.read(1):
        pass
    kill_all(f"{token}/", within_s=30.0)


if __name__ == "__main__":
    _guard(sys.argv[1])
