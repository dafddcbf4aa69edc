"""`run/status.json`: how the processes of a home stand, written at every change and read by whoever wants to know."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from clients.supervision.marked import started_at
from ledger.whole_file import write_whole

RUN, LOGS = "run", "logs"
STATUS = "status.json"
READY = "ready"
"""In `run/`: there while all that is essential is ready; a supervisor above this one waits for it."""

State = Literal["waiting", "starting", "ready", "restarting", "needs-mending", "stopping", "stopped"]
Standing = Literal["starting", "ready", "stopping", "stopped", "killed"]


@dataclass(frozen=True)
class Exit:
    """How a process ended: exit code, or minus the signal; when, in seconds since 1970; the last line that it wrote."""

    code: int
    at_s: float
    line: str


@dataclass(frozen=True)
class ProgramStatus:
    """One process.

    Attributes:
        name: the program's.
        state: `waiting` for others or for files; `restarting` in the pause after an end; `needs-mending` in that
            after an exit that says the configuration is wrong.
        pid: its number, while it runs.
        started: when it started, in clock ticks since boot: with the pid it names one process.
        since_s: when the state began, in seconds since 1970.
        restarts: how often it was started again.
        why: what it waits for, or how long the pause is; in words.
        last_exit: its last end, if there was one.
        essential: whether the set counts as ready only with it.
    """

    name: str
    state: State
    pid: int | None = None
    started: int | None = None
    since_s: float = 0.0
    restarts: int = 0
    why: str = ""
    last_exit: Exit | None = None
    essential: bool = True


@dataclass(frozen=True)
class SetStatus:
    """All processes of a home.

    Attributes:
        state: `killed` where the supervisor ended without saying so.
        pid, started: the supervisor's.
        token: the mark of its processes (see marked.py).
        since_s: when the state began, in seconds since 1970.
        programs: in the order in which they are started.
    """

    state: Standing
    pid: int
    started: int
    token: str
    since_s: float
    programs: tuple[ProgramStatus, ...]

    @property
    def alive(self) -> bool:
        """Whether the supervisor runs."""
        return self.state != "stopped" and started_at(self.pid) == self.started

    def document(self) -> dict[str, Any]:
        """As JSON has it."""
        return asdict(self)


def write_status(home: Path, status: SetStatus) -> None:
    """Replace `run/status.json`. Not synchronised: after a power cut none of these processes lives."""
    path = home / RUN / STATUS
    write_whole(path, json.dumps(status.document(), ensure_ascii=False), mode=0o644, durable=False)


def read_status(home: Path) -> SetStatus | None:
    """How the home's processes stand; None where `up` was never given, or nothing of it can be read."""
    try:
        facts = json.loads((home / RUN / STATUS).read_text(encoding="utf-8"))
        programs = tuple(_program(one) for one in facts.pop("programs"))
        status = SetStatus(programs=programs, **facts)
    except (OSError, ValueError, TypeError, KeyError, AttributeError):
        return None
    if status.state == "stopped" or status.alive:
        return status
    return SetStatus("killed", status.pid, status.started, status.token, status.since_s, status.programs)


def _program(facts: dict[str, Any]) -> ProgramStatus:
    last = facts.pop("last_exit")
    return ProgramStatus(last_exit=None if last is None else Exit(**last), **facts)
