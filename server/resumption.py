"""Where a task stands: which rounds are done, which model came out, and what is left to do."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from clients.plan import Plan
from ledger.open_ledger import OpenLedger
from ledger.rules import Phase, Round, State, Task
from ledger.statement import decode_statement

_SAME_RUN = (
    "rounds",
    "spec",
    "privacy",
    "noise_micro",
    "clip_micro",
    "sampling_micro",
    "delta_nano",
    "rate_micro",
    "momentum_micro",
    "average_from",
    "groups",
    "combine",
    "norm_cap_milli",
    "root",
    "held_out_micro",
    "vote_clip_micro",
    "weighting",
    "weight_micro",
    "optimiser",
    "second_micro",
    "floor_nano",
    "local_steps",
    "local_rate_micro",
    "correlation",
)
"""What the rounds of one run have in common. Firms may come and go in between; what a round costs may not change."""


@dataclass(frozen=True)
class Standing:
    """What a run begins with.

    Attributes:
        parent: 32 bytes, the model that the next round must start from; None takes the initial one.
        done: rounds of this run that are aggregated.
        round_id: the round that made `parent`; empty where none did.
        published: `parent` is the task's latest publication, whose place at the coordinator may be missing.
    """

    parent: bytes | None
    done: int
    round_id: bytes
    published: bool = False


def open_round(log: OpenLedger, task_name: str) -> Round | None:
    """The task's round that was left open, if there is one."""
    task = log.state.tasks.get(task_name)
    last = None if task is None or task.latest is None else log.state.rounds.get(task.latest)
    return last if last is not None and last.phase is Phase.OPEN else None


def standing(log: OpenLedger, task_name: str, plans: Sequence[Plan]) -> Standing:
    """Read from the ledger where a run with these plans begins; a round that is open does not count.

    A run that stopped goes on after its last aggregated round. Another run, or one after a publication, begins at
    its first round, from the model that the ledger's rules ask for: the last aggregated, or the last published.
    """
    task = log.state.tasks.get(task_name)
    parent = None if task is None else _parent(log.state, task)
    made = None if parent is None else _round_of(log, task_name, parent)
    if made is None:
        return Standing(parent, 0, b"")
    plan = _plan(log, made)
    if plan is None or plans[0].measures or not same_run(plan, plans[0]):
        return Standing(parent, 0, made.id)
    if made.phase is Phase.AGGREGATED:
        return Standing(parent, plan.number, made.id)
    last = max(one.index for one in log.state.releases.values() if one.task == task_name)
    release = None if made.model is None else log.state.releases.get(made.model)
    latest = release is not None and release.index == last
    return Standing(parent, 0, made.id, published=latest and plan.number == len(plans))


def _parent(state: State, task: Task) -> bytes | None:
    """The model that the rules accept as the next round's parent; None where any will do."""
    release = state.releases.get(task.model) if task.model is not None else None
    if task.model is not None and (release is None or release.revoked is None):
        return task.model
    published = [one for one in state.releases.values() if one.task == task.name and one.revoked is None]
    newest = max(published, key=lambda one: one.index, default=None)
    return None if newest is None else newest.model


def _round_of(log: OpenLedger, task_name: str, model: bytes) -> Round | None:
    """The latest round that trained this model; a measurement leaves the model as it was."""
    made = [
        one
        for one in log.state.rounds.values()
        if one.task == task_name and one.model == model and one.phase in (Phase.AGGREGATED, Phase.PUBLISHED)
    ]
    for one in sorted(made, key=lambda one: one.index, reverse=True):
        plan = _plan(log, one)
        if plan is None or not plan.measures:
            return one
    return None


def _plan(log: OpenLedger, made: Round) -> Plan | None:
    payload = decode_statement(log.entries(made.index, made.index + 1)[0]).payload
    return Plan.from_map(payload["plan"]) if isinstance(payload["plan"], dict) else None


def same_run(one: Plan, other: Plan) -> bool:
    """Whether two rounds can be of one run, by their terms."""
    return all(getattr(one, name) == getattr(other, name) for name in _SAME_RUN)
