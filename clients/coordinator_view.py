"""What the coordinator says that it runs and waits for, asked by a member, and in words for its operator."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any

from clients.connection import CONNECTION, load_connection
from clients.enrolment.errors import OlderDesk
from clients.enrolment.state import CoordinatorState, TaskState
from clients.errors import ClientError
from clients.homes import SIGNING_KEY
from clients.sitting_out import moment
from ledger.errors import LedgerError

TIMEOUT_S = 5.0
RUNNER_GONE_S = 30.0
OVER_S = 120.0
"""A wait that has been over for so long is one that nobody ended."""

_WHAT: Mapping[str, str] = {
    "firms": "its SuperNode",
    "nodes": "its SuperNode",
    "finality": "the cosignature of its witness",
    "query.hello": "its greeting",
    "query.pair": "its masking keys",
    "query.witness": "its cosignature",
    "query.release": "its word that it has the release",
    "train.update": "its update",
    "train.open": "its part in opening the sum",
    "train.validate": "its vote",
    "train.measure": "its part in the measurement",
}


def ask(home: Path, now: Callable[[], float], timeout_s: float = TIMEOUT_S) -> CoordinatorState:
    """Ask the join desk, in the member's name; it learns which release this is.

    Raises:
        ConnectionInvalid: the home has not joined.
        OlderDesk, NotAdmitted, DeskUnreachable: it does not say.
    """
    from clients.renewal import desk_of
    from ledger.keys import SigningKey

    connection, key = load_connection(home), SigningKey.load(home / SIGNING_KEY)
    with desk_of(home, now, timeout_s) as desk:
        return desk.state(connection.cid, connection.member, key)


def say_release(home: Path, now: Callable[[], float]) -> None:
    """Tell the coordinator which release this is; one that is too old to be told is not.

    Raises:
        NotAdmitted, DeskUnreachable: it cannot be told now.
    """
    with suppress(OlderDesk):
        ask(home, now)


def asked(home: Path, now: Callable[[], float]) -> dict[str, Any] | None:
    """What the coordinator says, as JSON has it, or why it is not known; None for a home that joined by no invite."""
    if not (home / CONNECTION).exists():
        return None
    try:
        at = ask(home, now)
    except (ClientError, LedgerError) as error:
        return {"not_known": str(error)}
    facts = asdict(at)
    facts["messages"] = None if at.messages is None else [at.messages.lowest, at.messages.highest]
    return {**facts, "words": list(lines_of(at, load_connection(home).member))}


def shown(said: Mapping[str, Any] | None) -> Iterator[str]:
    """What `asked` has brought, as lines."""
    if said is None:
        return
    if "not_known" in said:
        yield f"What the coordinator waits for is not known: {said['not_known']}"
        return
    yield f"The coordinator (artesian {said['release']}) says:"
    yield from (f"  {line}" for line in said["words"] or ["nothing waits"])


def lines_of(at: CoordinatorState, member: str) -> Iterator[str]:
    """What waits, one line a task, for a member's operator."""
    gone_s = None if at.runner_seen_s is None else at.at_s - at.runner_seen_s
    if gone_s is not None and gone_s > RUNNER_GONE_S:
        yield f"The coordinator's runner is away since {moment(at.at_s - gone_s)}: it begins no run meanwhile"
    if at.tasks is None:
        yield "The coordinator cannot read its own tables; its operator has to see to it"
    for task in at.tasks or ():
        yield _line(task, member, at.at_s)


def _line(one: TaskState, member: str, now_s: float) -> str:
    place = f"{one.task}, round {one.number} of {one.rounds}" if one.number else one.task
    since = "" if one.since_s is None else f" since {moment(one.since_s)}"
    match one.phase:
        case "runs" if one.kind:
            who = _who(one, member)
            return f"{place}: waits for {who}{_times(one, now_s)}"
        case "runs":
            return f"{place}: {one.step or 'is begun'}{since}"
        case "waits-for-firms":
            who = f" ({_named(one, member)}: {_what(one)})" if one.members else ""
            return f"{place}: waits for {one.more} more firm{'' if one.more == 1 else 's'}{who}{_times(one, now_s)}"
        case "waits-for-turn":
            return f"{place}: waits for its turn{since}"
        case "tries-again":
            return f"{place}: failed, and is tried again{_at(one.until_s)}"
        case "paused" | "stopped":
            return f"{place}: {one.phase} by the coordinator's operator{since}"
        case "idle":
            return f"{place}: nothing is ordered{_next(one.until_s)}"
        case _:
            return f"{place}: in a phase that this release does not know"


def _who(one: TaskState, member: str) -> str:
    """Who is waited for, this member first, and for what."""
    unnamed = f"{one.more} firm{'' if one.more == 1 else 's'} not known by name yet" if one.more else ""
    names = ", ".join(filter(None, (_named(one, member), unnamed)))
    return f"{names or 'nobody in particular'}: {_what(one)}"


def _named(one: TaskState, member: str) -> str:
    others = [other for other in one.members if other != member]
    return ", ".join((["this firm"] if member in one.members else []) + others)


def _what(one: TaskState) -> str:
    return _WHAT.get(one.kind, one.kind)


def _times(one: TaskState, now_s: float) -> str:
    since = "" if one.waits_since_s is None else f", since {moment(one.waits_since_s)}"
    if one.until_s is None:
        return since
    over = "; that is over, so see whether the coordinator runs" if now_s > one.until_s + OVER_S else ""
    return f"{since}, until {moment(one.until_s)} at most{over}"


def _at(at_s: float | None) -> str:
    return "" if at_s is None else f" at {moment(at_s)}"


def _next(at_s: float | None) -> str:
    return "" if at_s is None else f"; the schedule's next time is {moment(at_s)}"
