"""What becomes of opened group sums: the rules that keep one poisoned group from moving the model where it wants.

All of it is float64 arithmetic, element by element in one fixed order, so that an audit gets the same bytes on any
machine: no library's dot product, whose order of additions is its own.

    shorten   a group's mean gradient to a multiple of the median of the groups' norms
    weigh     it by the units that it is of, but by no more than twice the median group's; times what its cosine to a
              root gradient leaves of it, max(0, cos) (FLTrust: Cao, Fang, Liu, Gong, NDSS 2021, section 4.2)
    leave out the groups that the firms' votes are against, or leave them less weight
    combine   by weighted mean, or by the median of each coordinate (Yin et al., ICML 2018, definition 1)
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from clients.plan import Plan

Vector = NDArray[np.float64]
_MOST_OF_THE_MEDIAN = 2.0
MILLI = 1_000


@dataclass(frozen=True)
class GroupMean:
    """The mean over units of their clipped gradients, of one group.

    Attributes:
        gradient: float64[d].
        units: of the firms in the sum, as far as they are trained on: declared, or counted by the sum itself.
    """

    gradient: Vector
    units: float


@dataclass(frozen=True)
class Combined:
    """What the rules make of the groups.

    Attributes:
        gradient: float64[d]; zeros where no group is left.
        weights: each group's share of it before the combination, at least 0; all of them 0 where no group is left.
        norms: Euclidean norm of each group's mean gradient as it was opened.
    """

    gradient: Vector
    weights: tuple[float, ...]
    norms: tuple[float, ...]


def capped(groups: Sequence[GroupMean], plan: Plan) -> tuple[list[Vector], list[float]]:
    """The groups' mean gradients, none longer than the plan allows, and their norms before; see the module."""
    norms = [norm(one.gradient) for one in groups]
    if not plan.norm_cap_milli:
        return [one.gradient for one in groups], norms
    cap = median(norms) * (plan.norm_cap_milli / MILLI)
    return [
        one.gradient if size <= cap else one.gradient * (cap / size) for one, size in zip(groups, norms, strict=True)
    ], norms


def combine(
    groups: Sequence[GroupMean], plan: Plan, root: Vector | None = None, votes: Sequence[float] | None = None
) -> Combined:
    """One mean gradient from those of the groups.

    Args:
        root: float64[d], the root table's mean gradient, where the plan names a root table.
        votes: for each group the share of its weight, from 0 to 1, that the firms' votes leave it, where there are any.
    """
    gradients, norms = capped(groups, plan)
    most = _MOST_OF_THE_MEDIAN * median([one.units for one in groups])
    weights = [min(one.units, most) for one in groups]
    if root is not None:
        weights = [weight * max(0.0, cosine(one, root)) for weight, one in zip(weights, gradients, strict=True)]
    if votes is not None:
        weights = [weight * share for weight, share in zip(weights, votes, strict=True)]
    return Combined(_combination(gradients, weights, plan), tuple(weights), tuple(norms))


def _combination(gradients: Sequence[Vector], weights: Sequence[float], plan: Plan) -> Vector:
    left = [(one, weight) for one, weight in zip(gradients, weights, strict=True) if weight > 0.0]
    if not left:
        return np.zeros_like(gradients[0])
    if plan.combine == "median":
        ordered = np.sort(np.stack([one for one, _ in left]), axis=0)
        return np.asarray((ordered[(len(left) - 1) // 2] + ordered[len(left) // 2]) / 2.0)
    total, mass = np.zeros_like(gradients[0]), 0.0
    for one, weight in left:
        total += one * weight
        mass += weight
    return total / mass


def norm(vector: Vector) -> float:
    """The Euclidean norm of float64[d]."""
    return float(np.sqrt(_added_up(vector * vector)))


def cosine(one: Vector, other: Vector) -> float:
    """The cosine of the angle between two vectors float64[d]; 0 where one of them is nothing."""
    lengths = norm(one) * norm(other)
    return _added_up(one * other) / lengths if lengths > 0.0 else 0.0


def median(values: Sequence[float]) -> float:
    """The middle of some numbers, or the mean of the two in the middle."""
    ordered = sorted(values)
    return (ordered[(len(ordered) - 1) // 2] + ordered[len(ordered) // 2]) / 2.0


def _added_up(values: Vector) -> float:
    """A sum by halves, element by element: the same bits wherever IEEE 754 holds. Uses up `values`."""
    while len(values) > 1:
        half = len(values) // 2
        values[:half] += values[len(values) - half :]
        values = values[: len(values) - half]
    return float(values[0])
