"""Whether the processes of a home are up, as their supervisor has noted."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from clients.doctor.check import Check, Finding, ok
from clients.supervision.status import read_status


def process_checks(home: Path, role: str) -> list[Check]:
    """Of `artesian ROLE up`."""
    return [Check("processes", lambda: _processes(home, role))]


def _processes(home: Path, role: str) -> Iterator[Finding]:
    start = f"artesian {role} up --home {home}"
    status = read_status(home)
    if status is None:
        yield Finding("warn", f"{home}: its processes were never started", start)
        return
    if status.state in ("stopped", "killed"):
        yield Finding("warn", f"{home}: its processes are {status.state}", start)
        return
    for one in status.programs:
        last = f"; its last line: {one.last_exit.line}" if one.last_exit and one.last_exit.line else ""
        if one.state == "needs-mending":
            yield Finding("fail", f"{one.name} ended{last}", "mend what the line names; it is started again by itself")
        elif one.state == "restarting":
            yield Finding("warn", f"{one.name} ended and is started again{last}", f"see {home / 'logs'}")
        elif one.state in ("waiting", "starting"):
            yield Finding("warn", f"{one.name} is {one.state}{f': {one.why}' if one.why else ''}", "wait, or see logs/")
    ready = [one.name for one in status.programs if one.state == "ready"]
    if ready:
        yield ok(f"up: {', '.join(ready)}")
