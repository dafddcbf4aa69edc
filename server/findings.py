"""What is wrong with a coordinator, or merely worth knowing: one plain sentence each, the worst first."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Literal

from clients.sitting_out import SittingOut
from clients.versions import SOFTWARE, misfit
from server.progress import Said, TaskProgress
from server.round_journal import Step
from server.status_facts import Facts, LedgerFacts, MemberFacts, NotKnown, TaskFacts
from server.words import clock_time, span, times_in_a_row

Weight = Literal["stops", "hinders", "told"]
"""`stops`: nothing goes on; `hinders`: something a person must see to; `told`: worth knowing, and nothing to do."""

RUNNER_GONE_S = 30.0
SITTING_OUT = SittingOut.__name__
_BEHIND_S = 120.0
_HELD = ("HeldBetweenRounds", "Superseded")  # the runner's own doing
_NO_ANSWER = ("NoAnswer", "Unreachable", "ClientFailed")


@dataclass(frozen=True)
class Finding:
    """One of them.

    Attributes:
        code: for programs.
        sentence: for people: what, since when, and what mends it.
    """

    weight: Weight
    code: str
    sentence: str

    @property
    def needs_a_person(self) -> bool:
        return self.weight != "told"


def findings(facts: Facts) -> list[Finding]:
    """All that is to be said, the worst first."""
    order = ("stops", "hinders", "told")
    found = [*_processes(facts), *_founding(facts)]
    if facts.awaited is None:
        found += [*_runner(facts), *_ledger(facts), *_members(facts)]
    for task in facts.tasks:
        found += [*_waiting(task, facts.at_s), *_order(task, facts.at_s), *_round(task, facts.at_s), *_said(task)]
    whole = [replace(one, sentence=f"{one.sentence.rstrip('.')}.") for one in found]
    return sorted(whole, key=lambda one: order.index(one.weight))


def exit_code(facts: Facts, found: list[Finding]) -> int:
    """0 healthy, 1 something needs a person, 3 there is nothing to reach."""
    if not facts.up and isinstance(facts.ledger, NotKnown):
        return 3
    return 1 if any(one.needs_a_person for one in found) else 0


def _processes(facts: Facts) -> Iterator[Finding]:
    at = facts.processes
    if at is None or not facts.up:
        how = "was never up" if at is None else "was killed" if at.state == "killed" else "is down"
        yield Finding("stops", "down", f"The coordinator {how}: start artesian coordinator up.")
        return
    for one in at.programs:
        since = clock_time(one.since_s, facts.at_s)
        last = f": {one.last_exit.line}" if one.last_exit is not None and one.last_exit.line else ""
        if one.state == "needs-mending":
            yield Finding("stops", "needs-mending", f"{one.name} cannot run since {since}{last}.")
        elif one.state == "restarting":
            yield Finding("hinders", "restarting", f"{one.name} has ended and is started again{last}.")
        elif one.state == "waiting" and facts.awaited is not None:
            continue  # for the founding
        elif one.state in ("waiting", "starting") and facts.at_s - one.since_s > _BEHIND_S:
            why = f": {one.why}" if one.why else ""
            yield Finding("hinders", "not-ready", f"{one.name} is not ready since {since}{why}.")


def _founding(facts: Facts) -> Iterator[Finding]:
    if facts.awaited is not None:
        who = f"{', '.join(facts.awaited)} {'is' if len(facts.awaited) == 1 else 'are'} still to join and be admitted"
        said = who if facts.awaited else "all are admitted"
        yield Finding(
            "hinders", "not-founded", f"The consortium is not founded yet: {said}; see artesian coordinator admit."
        )


def _runner(facts: Facts) -> Iterator[Finding]:
    if facts.up and (facts.runner is None or facts.at_s - facts.runner[0] > RUNNER_GONE_S):
        seen = "was never there" if facts.runner is None else f"is away since {clock_time(facts.runner[0], facts.at_s)}"
        yield Finding("stops", "no-runner", f"The runner {seen}: no order is carried out.")
    elif facts.runner is not None and facts.up and facts.runner[1]:
        yield Finding("hinders", "runner-hindered", f"The runner cannot go on: {facts.runner[1]}.")


def _ledger(facts: Facts) -> Iterator[Finding]:
    at = facts.ledger
    if isinstance(at, NotKnown):
        if facts.up:
            yield Finding("stops", "ledger-unreachable", f"The ledger does not say how it is: {at.why}.")
        return
    late = {member: since for member, (_, since) in at.behind.items() if since and facts.at_s - since > _BEHIND_S}
    if at.waiting_s > _BEHIND_S and at.final_size < at.size:
        there = at.members - len(at.behind)
        yield Finding(
            "stops",
            "quorum-lost",
            f"The ledger has no quorum for {span(at.waiting_s)}: {at.size - at.final_size} of {at.size} entries are "
            f"not final; {there} of {at.members} witnesses are there, it takes {at.quorum}; "
            f"missing: {_late(at, facts.at_s)}.",
        )
    else:
        known = () if isinstance(facts.members, NotKnown) else facts.members
        banks = {one.member for one in known if one.kind == "bank"}
        for member, since in late.items():
            weight: Weight = "told" if member in banks else "hinders"  # a bank need not run a witness
            said = f"{member}'s witness is behind since {clock_time(since, facts.at_s)}"
            yield Finding(weight, "witness-behind", said)


def _late(at: LedgerFacts, now_s: float) -> str:
    return ", ".join(
        name if since is None else f"{name} (behind since {clock_time(since, now_s)})"
        for name, (_, since) in at.behind.items()
    )


def _members(facts: Facts) -> Iterator[Finding]:
    if isinstance(facts.members, NotKnown):
        if facts.up:
            yield Finding("hinders", "members-unknown", f"Who is connected is not known: {facts.members.why}.")
        return
    for one in facts.members:
        if one.refused:
            why = f"SuperLink does not take the SuperNode of {one.member}: {one.refused}"
            yield Finding("hinders", "node-refused", f"{why}. artesian coordinator doctor says how to mend it.")
        elif one.kind == "firm" and not one.online:
            yield _away(one, facts.at_s)
        apart = misfit(one.member, one.release, "the coordinator", SOFTWARE)
        if apart:
            yield Finding("hinders", "other-release", f"{apart}.")


def _away(one: MemberFacts, now_s: float) -> Finding:
    if one.last_seen_s is None:
        return Finding("told", "never-seen", f"{one.member} was never connected.")
    seen = clock_time(one.last_seen_s, now_s)
    return Finding("told", "away", f"{one.member} is not connected; it was last seen {seen}.")


def _waiting(task: TaskFacts, now_s: float) -> Iterator[Finding]:
    wish, order = task.wish, task.order
    if wish.wanted != "scheduled":
        why = f": {wish.reason}" if wish.reason else ""
        since = clock_time(wish.since_s, now_s)
        yield Finding("told", wish.wanted, f"{task.name} is {wish.wanted} since {since}{why}.")
    elif order is not None and order.phase == "waiting" and order.waits_for:
        until = "" if task.gives_up_s is None else f", gives up at {clock_time(task.gives_up_s, now_s)}"
        yield Finding("hinders", "cohort-too-small", f"{task.name}: waits for {order.waits_for}{until}.")


def _order(task: TaskFacts, now_s: float) -> Iterator[Finding]:
    order = task.order
    if order is None:
        return
    if order.phase == "ended" and order.outcome in ("failed", "given-up"):
        ended = clock_time(order.ended_s or now_s, now_s)
        yield Finding("hinders", "run-failed", f"{task.name}: order {order.number} failed at {ended}: {order.reason}.")
    elif order.phase != "ended" and order.failures:
        again = f"; next try {clock_time(order.not_before_s, now_s)}" if order.phase == "waiting" else ""
        why = f": {order.reason}" if order.reason else ""
        yield Finding(
            "hinders",
            "run-failing",
            f"{task.name}: order {order.number} has failed {times_in_a_row(order.failures)}{again}{why}.",
        )


def _round(task: TaskFacts, now_s: float) -> Iterator[Finding]:
    """Whom a round waits for, and until when."""
    at = task.progress
    if at is None or at.over or at.waiting is None:
        return
    wait, late = at.waiting, now_s > at.waiting.deadline_s + _BEHIND_S
    who = ", ".join(wait.members) or "nobody in particular"
    until = f"until {clock_time(wait.deadline_s, now_s)}"
    sentence = f"{place(at)} waits for {who} ({wait.kind}) since {clock_time(wait.since_s, now_s)}, {until}."
    if late:
        yield Finding("hinders", "overdue", f"{sentence} That is over: see whether its processes run.")
    else:
        yield Finding("told", "waits", sentence)


def place(at: TaskProgress) -> str:
    """`credit, round 3 of 10`, or before the first round the task alone."""
    return f"{at.task}, round {at.number} of {at.rounds}" if at.number else at.task


def _said(task: TaskFacts) -> Iterator[Finding]:
    """Each firm's last refusal for each reason, and rounds that were given up."""
    at = task.progress
    if at is None:
        return
    last = {(one.member, one.code): one for one in at.refusals}
    for one in last.values():
        yield _refusal(at, one)
    for one in [one for one in at.failures if one.code not in _HELD][-1:]:
        number = f"round {one.number}" if one.number else "the run"
        yield Finding(_weight(at, one), "round-failed", f"{at.task}: {number} was given up: {one.detail}")


def _weight(at: TaskProgress, one: Said) -> Weight:
    """What rounds have gone on past, or a run that has reached its end, is told and no more."""
    return "told" if at.step is Step.OVER or one.number < at.number else "hinders"


def _refusal(at: TaskProgress, one: Said) -> Finding:
    where, weight = f"{at.task}, round {one.number}" if one.number else at.task, _weight(at, one)
    why = one.detail.removeprefix(f"{one.code}: ")
    if SITTING_OUT in (one.code, one.detail.partition(":")[0]):
        return Finding("told", "sitting-out", one.detail.removeprefix(f"{SITTING_OUT}: "))
    if one.code in ("SchemaMismatch", "spec", "dimension"):
        return Finding(weight, "schema-mismatch", f"{where}: {one.member}'s table does not fit: {why}")
    if one.code in _NO_ANSWER:
        return Finding(weight, "no-answer", f"{where}: {one.member} did not answer: {why}")
    return Finding(weight, "refused", f"{where}: {one.member} refused with {one.code}: {why}")
