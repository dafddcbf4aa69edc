"""What goes on at a firm now, from its own files alone: nothing is asked of anybody, and nothing leaves."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from clients.certificates import TLS_CERTIFICATE, BadCertificate, facts_of
from clients.connection import CONNECTION, ConnectionInvalid, load_connection
from clients.errors import ClientError
from clients.firm import Firm
from clients.own_mirror import MIRROR
from clients.refusal_log import RefusalLog
from clients.sitting_out import ALL, moment, pause_of, pauses
from clients.supervision.status import read_status
from ledger.rules import Phase, State

_SHOWN = 5


def live(firm: Firm) -> dict[str, Any]:
    """The part of `artesian firm status` that changes by the minute. Times are seconds since 1970."""
    return {
        "processes": _processes(firm.home),
        "coordinator": _coordinator(firm.home),
        "certificate_until_s": _certificate(firm.home),
        "sits_out": _sits_out(firm),
        "refusals": _refusals(firm.home),
    }


def _processes(home: Path) -> dict[str, Any] | None:
    status = read_status(home)
    if status is None:
        return None
    return {"up": status.alive, "state": status.state, "programs": {one.name: one.state for one in status.programs}}


def _coordinator(home: Path) -> dict[str, Any] | None:
    """Where the consortium's ledger is, and when anything last came from there: when the mirror was last written."""
    if not (home / CONNECTION).exists():
        return None
    try:
        ledger = load_connection(home).ledger
    except ConnectionInvalid as error:
        return {"problem": str(error)}
    files = (home / name for name in (MIRROR, f"{MIRROR}-wal"))
    return {"ledger": ledger, "last_news_s": max((one.stat().st_mtime for one in files if one.exists()), default=None)}


def _certificate(home: Path) -> float | None:
    try:
        return facts_of((home / TLS_CERTIFICATE).read_bytes()).until_s
    except (OSError, BadCertificate):
        return None


def _sits_out(firm: Firm) -> dict[str, Any]:
    """Until when the firm sits out, by task or `*` for all; None until it resumes."""
    try:
        known = pauses(firm.home)
    except ClientError as error:
        return {ALL: str(error)}
    now_s = firm.now()
    return {task: one.until_s for task, one in known.items() if pause_of({task: one}, task, now_s) is not None}


def waited_for(member: str, state: State) -> list[dict[str, Any]]:
    """Open rounds with this firm in the cohort, and whether its contribution is on the ledger."""
    open_rounds = (one for one in state.rounds.values() if one.phase is Phase.OPEN and member in one.cohort)
    return [
        {"task": one.task, "round": one.id.hex(), "entry": one.index, "contributed": member in one.contributions}
        for one in sorted(open_rounds, key=lambda one: one.index)
    ]


def _refusals(home: Path) -> list[dict[str, Any]]:
    latest = RefusalLog(home).latest(_SHOWN)
    return [{"at_s": one.at_s, "asked": one.asked, "code": one.code, "detail": one.detail} for one in latest]


def lines_of(facts: Mapping[str, Any]) -> list[str]:
    """The same in words."""
    said = []
    processes = facts["processes"]
    if processes is not None:
        states = ", ".join(f"{name} {state}" for name, state in processes["programs"].items())
        said.append(f"Processes: {states}" if processes["up"] else f"Processes: {processes['state']}; nothing runs")
    at = facts["coordinator"]
    if at is not None:
        news = at.get("last_news_s")
        heard = "nothing has come yet" if news is None else f"last news {moment(news)}"
        said.append(f"Coordinator: {at.get('problem') or at['ledger']}{'' if 'problem' in at else f', {heard}'}")
    if facts["certificate_until_s"] is not None:
        said.append(f"Certificate: until {moment(facts['certificate_until_s'])}")
    for task, until in facts["sits_out"].items():
        if isinstance(until, float):
            until = f"until {moment(until)}"
        when = "until artesian firm resume" if until is None else until
        said.append(f"Sits out of {'all tasks' if task == ALL else task}: {when}")
    for one in facts["refusals"]:
        said.append(f"Refused {one['asked']} at {moment(one['at_s'])} with {one['code']}: {one['detail']}")
    return said
