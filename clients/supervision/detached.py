"""`up --detach`: the same command in a session of its own, which this one leaves when all is ready."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from clients.supervision.errors import EndedEarly, NeedsMending, NeverReady
from clients.supervision.status import LOGS, READY, RUN, SetStatus, read_status

OUTPUT = "up.log"
"""What the supervisor itself writes before its log begins: an error, as a rule, or nothing."""
_POLL_S = 0.1


def detach(
    home: Path,
    words: Sequence[str],
    within_s: float,
    *,
    clock: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], None] = time.sleep,
) -> SetStatus:
    """Start `artesian WORDS`, which is to supervise `home`, and return when its set is ready.

    Raises:
        EndedEarly: it ended; with its own words and exit code.
        NeedsMending: something that it cannot do without ended with what only a person mends; it goes on trying.
        NeverReady: it is not ready after `within_s`; it goes on.
    """
    (home / LOGS).mkdir(parents=True, exist_ok=True, mode=0o700)
    output = home / LOGS / OUTPUT
    with output.open("wb") as out:
        process = subprocess.Popen(
            [sys.executable, "-m", "artesian", *words],
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=out,
            start_new_session=True,
        )
    end_s = clock() + within_s
    while True:
        status = read_status(home)
        if status is not None and status.alive and status.pid == process.pid:
            if (home / RUN / READY).exists():
                return status
            _require_no_mending(home, status)
        if (code := process.poll()) is not None:
            raise EndedEarly(_last_line(output), code)
        if clock() > end_s:
            raise NeverReady(
                f"{home}: not ready after {within_s:g} s; process {process.pid} goes on; see {home / LOGS}"
            )
        sleep(_POLL_S)


def _require_no_mending(home: Path, status: SetStatus) -> None:
    wrong = next((one for one in status.programs if one.state == "needs-mending" and one.essential), None)
    if wrong is not None:
        why = wrong.last_exit.line if wrong.last_exit is not None and wrong.last_exit.line else wrong.why
        raise NeedsMending(f"{home}: {wrong.name}: {why}; mend that, and it comes up by itself; or give `down`")


def _last_line(path: Path) -> str:
    lines = path.read_text(encoding="utf-8", errors="replace").split("\n")
    return next((line for line in reversed(lines) if line.strip()), "it ended and said nothing").strip()
