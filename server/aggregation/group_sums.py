"""A round's opened sums, one a group, as one step of the model."""

from __future__ import annotations

import functools
import operator
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from clients.model_files import read_vector, write_vector
from clients.plan import MICRO, Plan
from clients.vote import groups_hash
from server.aggregation.evidence import ArtifactMismatch
from server.aggregation.robust import GroupMean, Vector, capped, combine
from server.aggregation.votes import read_vote, require_votes, shares
from server.descent import Descent, counted_units


@dataclass(frozen=True)
class GroupSum:
    """An opened sum.

    Attributes:
        total: float64[plan.values], the sum of clipped unit gradients, in gradient units; with summed weights, theirs
            comes last.
        units: declared units of the firms in it.
    """

    total: Vector
    units: int


@dataclass(frozen=True)
class Evidence:
    """What the rules took beside the sums, as it is stored.

    Attributes:
        root: the root table's mean gradient, float64[d] as a model file; empty where the plan names no root table.
        votes: the firms' signed votes, by firm; empty where the plan has none.
    """

    root: bytes = b""
    votes: Mapping[str, bytes] = field(default_factory=dict)


@dataclass(frozen=True)
class Electorate:
    """Who may vote on the groups of a round.

    Attributes:
        cid: the consortium's id.
        round_id: 16 bytes.
        keys: by firm that contributed to the round, the key under which it is enrolled, 32 bytes.
    """

    cid: str
    round_id: bytes
    keys: Mapping[str, bytes]


def after_round(
    before: Descent, plan: Plan, sums: Sequence[GroupSum], evidence: Evidence, electorate: Electorate
) -> Descent:
    """The model after a round; the same bytes for the coordinator and for whoever audits it.

    Raises:
        ModelFileInvalid, ArtifactMismatch: the root gradient is not a vector of the model's size, or the votes are
            too few, by others, or on something else.
    """
    if plan.measures:
        return before
    if plan.combine == "sum":
        return before.step(functools.reduce(operator.add, [one.total for one in sums]), plan)
    means = [group_mean(one, plan) for one in sums]
    root = _root(before, evidence) if plan.root else None
    kept = None
    if plan.votes:
        require_votes(evidence.votes, electorate.keys, ArtifactMismatch)
        votes = [
            read_vote(raw, electorate.cid, electorate.round_id, member, electorate.keys[member])
            for member, raw in sorted(evidence.votes.items())
        ]
        kept = shares(votes, plan, groups_hash(voted_on(sums, plan)))
    return before.along(combine(means, plan, root, kept).gradient, plan)


def voted_on(sums: Sequence[GroupSum], plan: Plan) -> list[bytes]:
    """The groups' mean gradients as firms judge them, none longer than the plan allows, as model files."""
    return [write_vector(one) for one in capped([group_mean(one, plan) for one in sums], plan)[0]]


def _root(before: Descent, evidence: Evidence) -> Vector:
    root = read_vector(evidence.root, "root gradient")
    if root.shape != before.parameters.shape or not np.isfinite(root).all():
        raise ArtifactMismatch("root gradient: it does not fit the model")
    return root


def group_mean(opened: GroupSum, plan: Plan) -> GroupMean:
    """The mean over the units that a group trained on."""
    if plan.weighting == "summed":
        counted = counted_units(opened.total, plan)
        return GroupMean(opened.total[:-1] / counted, counted)
    trained = opened.units * plan.trained_share
    return GroupMean(opened.total / (trained * (plan.sampling_micro / MICRO)), trained)


def units_of(members: Sequence[str], declared: Mapping[str, int]) -> int:
    """Declared units of the firms in a sum."""
    return sum(declared[member] for member in members)
