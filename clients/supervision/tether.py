"""Become another program that is killed by the kernel when the parent ends. A script: PARENT-PID PROGRAM WORD…

prctl(PR_SET_PDEATHSIG), Linux only. It holds for the program itself; its children are the guard's (see marked.py).
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys

_PR_SET_PDEATHSIG = 1


def _main(parent: int, command: list[str]) -> None:
    if ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0) != 0:
        sys.exit(f"prctl: {os.strerror(ctypes.get_errno())}")
    if os.getppid() != parent:  # it ended before the line above
        sys.exit("the supervisor has ended")
    try:
        os.execv(command[0], command)
    except OSError as error:
        print(f"{command[0]}: cannot be started: {error.strerror}", file=sys.stderr)
        sys.exit(2)


if __name__ == "__main__":
    _main(int(sys.argv[1]), sys.argv[2:])
