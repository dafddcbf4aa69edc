"""A coordinator's status for people: plain lines, the same in a pipe and on a terminal; and as JSON."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict
from typing import Any

from clients.plain_text import printable
from server.findings import Finding, exit_code
from server.status_facts import Facts, MemberFacts, NotKnown, TaskFacts
from server.words import clock_time


def lines(facts: Facts, found: list[Finding]) -> Iterator[str]:
    """All of it, what needs a person first; of what others have said only what can be printed."""
    return (printable(line) for line in _lines(facts, found))


def _lines(facts: Facts, found: list[Finding]) -> Iterator[str]:
    needs = [one for one in found if one.needs_a_person]
    yield f"{clock_time(facts.at_s, facts.at_s)}: " + ("needs you:" if needs else "healthy.")
    yield from (f"  {one.sentence}" for one in needs)
    told = [one for one in found if not one.needs_a_person]
    if told:
        yield "Also:"
        yield from (f"  {one.sentence}" for one in told)
    yield _processes(facts)
    yield _ledger(facts)
    yield from _members(facts)
    for task in facts.tasks:
        yield from _task(task, facts.at_s)


def document(facts: Facts, found: list[Finding]) -> dict[str, Any]:
    """All of it as JSON has it."""
    processes = None
    if facts.processes is not None:
        processes = {key: value for key, value in facts.processes.document().items() if key != "token"}
        processes["up"] = facts.up
    return {
        "ok": exit_code(facts, found) == 0,
        "at_s": facts.at_s,
        "findings": [{**asdict(one), "needs_a_person": one.needs_a_person} for one in found],
        "processes": processes,
        "ledger": _known(facts.ledger),
        "members": _known(facts.members),
        "runner": None if facts.runner is None else {"seen_s": facts.runner[0], "problem": facts.runner[1]},
        "tasks": [_task_facts(one) for one in facts.tasks],
        "awaited": None if facts.awaited is None else list(facts.awaited),
    }


def _known(part: Any) -> Any:
    if isinstance(part, NotKnown):
        return {"not_known": part.why}
    return [asdict(one) for one in part] if isinstance(part, tuple) else asdict(part)


def _task_facts(task: TaskFacts) -> dict[str, Any]:
    facts = asdict(task)
    if task.order is not None:
        for private in ("ticket", "said", "said_why"):
            del facts["order"][private]
    return facts


def _processes(facts: Facts) -> str:
    at = facts.processes
    if at is None or not facts.up:
        return "Processes: none"
    states = (f"{one.name} {one.state}{f' ({one.restarts} restarts)' if one.restarts else ''}" for one in at.programs)
    return f"Processes: {', '.join(states)}"


def _ledger(facts: Facts) -> str:
    at = facts.ledger
    if facts.awaited is not None:
        return "Ledger: none before the founding"
    if isinstance(at, NotKnown):
        return f"Ledger: not known: {at.why}"
    late = ", ".join(f"{member} {lack} entries behind" for member, (lack, _) in at.behind.items())
    return f"Ledger: {at.size} entries, {at.final_size} final; {late or 'all witnesses are up to date'}"


def _members(facts: Facts) -> Iterator[str]:
    if facts.awaited is not None:
        yield "Members: none before the founding"
        return
    if isinstance(facts.members, NotKnown):
        yield f"Members: not known: {facts.members.why}"
        return
    firms = [one for one in facts.members if one.kind == "firm"]
    there = sum(one.online for one in firms)
    yield f"Members: {there} of {len(firms)} firms connected, {len(facts.members) - len(firms)} banks"
    yield from (f"  {_member(one, facts.at_s)}" for one in facts.members if one.kind == "firm" or one.release)


def _member(one: MemberFacts, now_s: float) -> str:
    release = f", artesian {one.release}" if one.release else ""
    if one.kind != "firm":
        return f"{one.member}: {one.kind}{release}"
    seen = "never seen" if one.last_seen_s is None else f"last seen {clock_time(one.last_seen_s, now_s)}"
    return f"{one.member}: {'connected, ' if one.online else 'away, '}{seen}{release}"


def _task(task: TaskFacts, now_s: float) -> Iterator[str]:
    coming = f"next {clock_time(task.next_s, now_s)}" if task.next_s is not None else task.wish.wanted
    yield f"Task {task.name}: {f'{task.schedule}, {coming}' if task.schedule else 'no schedule'}"
    order, at = task.order, task.progress
    if order is not None:
        when = clock_time(order.ended_s or order.begun_s or order.ordered_s, now_s)
        told = f"{order.outcome} {when}" if order.phase == "ended" else f"{order.phase} since {when}"
        yield f"  order {order.number}: {told}, {order.attempts} {'try' if order.attempts == 1 else 'tries'}"
    if at is not None:
        where = f"round {at.number} of {at.rounds}, " if at.number else ""
        taken = f"; contributed: {', '.join(at.contributed)}" if at.contributed else ""
        yield f"  {where}{at.step} since {clock_time(at.since_s, now_s)}{taken}"
