"""What can be measured: for each kind the length of the sum, and the most that one privacy unit can add to it.

Every privacy unit adds one vector, whatever the number of its examples: the mean of theirs, cut to a public norm. So a
measurement round is a training round whose sum is not a gradient: the same plan, grid, noise, masks and wallet.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from clients.plan import Plan, PlanInvalid
from clients.plan_record import MEASUREMENTS
from clients.tasks.spec import Column, TaskSpec

DEMAND_PARTS = ("error", "baseline error", "value", "inside", "units")
"""What a unit of a demand task adds to an evaluation, each between 0 and 1, see `clients.measuring.vectors`."""
_MISSING = "missing"


@dataclass(frozen=True)
class Statistic:
    """A kind of sum.

    Attributes:
        what: one of `MEASUREMENTS`.
        size: values in it.
        norm: no unit's vector is longer.
        scale: a count of one in the statistic is this much in the sum.
        labels: what each part is about, for people: bins of a feature, values of a column.
    """

    what: str
    size: int
    norm: float
    scale: float = 1.0
    labels: tuple[tuple[str, tuple[str, ...]], ...] = ()


def statistic_of(spec: TaskSpec, what: str, bins: int = 0, column: str = "") -> Statistic:
    """The statistic that a plan or an operator names.

    Raises:
        PlanInvalid: the task has no such measurement.
    """
    if what not in MEASUREMENTS:
        raise PlanInvalid(f"measurement: {what!r} is none of {', '.join(MEASUREMENTS)}")
    if (what == "fairness") != bool(column):
        known = ", ".join(one.name for one in spec.column if one.kind in ("category", "flag"))
        raise PlanInvalid(f"measurement: fairness names a column (--column: {known}), and nothing else does")
    if what == "units":
        return Statistic(what, 1, 1.0)
    if spec.kind == "demand" and what == "evaluation":
        return Statistic(what, len(DEMAND_PARTS), math.sqrt(len(DEMAND_PARTS)))
    if spec.kind != "credit":
        raise PlanInvalid(f"measurement: {what} is for credit tasks; a demand task has evaluation and units")
    if what == "columns":
        from clients.tasks.encoding import Encoder  # imports pandas

        groups = Encoder(spec).groups
        labels = tuple((group.code, group.labels) for group in groups)
        return Statistic(what, sum(group.width for group in groups), 1.0, 1.0 / math.sqrt(len(groups)), labels)
    if bins < 2:
        raise PlanInvalid(f"measurement: {what} takes at least 2 score bins, not {bins}")
    if what == "evaluation":
        return Statistic(what, 2 * bins, 1.0)
    values = values_of(spec, column)
    return Statistic(what, 2 * bins * len(values), 1.0, 1.0, ((column, values),))


def statistic_of_plan(spec: TaskSpec, plan: Plan) -> Statistic:
    """The statistic that a plan measures.

    Raises:
        PlanInvalid: the task has no such measurement.
    """
    return statistic_of(spec, plan.measures, plan.measure_bins, plan.measure_column)


def grouping(spec: TaskSpec) -> tuple[str, ...]:
    """The columns that `values_of` knows: of a few public values."""
    return tuple(one.name for one in spec.column if one.kind in ("category", "flag"))


def values_of(spec: TaskSpec, column: str) -> tuple[str, ...]:
    """The groups that a column divides records into, the missing ones last.

    Raises:
        PlanInvalid: the spec has no such column of a few public values.
    """
    found: Column | None = next((one for one in spec.column if one.name == column), None)
    if found is None or column not in grouping(spec):
        raise PlanInvalid(f"measurement: {column!r} is no category or flag of the task's spec")
    values = found.values if found.kind == "category" else ("no", "yes")
    return (*values, _MISSING) if found.missing == "allowed" else values


def score_centres(bins: int) -> list[float]:
    """The probabilities of default between which scores are shared out: finer where defaults are rare."""
    return [(k / (bins - 1)) ** 2 for k in range(bins)]
