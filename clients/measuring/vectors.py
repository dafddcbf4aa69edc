"""What each privacy unit adds to a measurement: one vector, bounded whatever the model and the records say."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import sparse
from scipy.special import expit

from clients.data import Table
from clients.measuring.statistic import DEMAND_PARTS, Statistic, grouping, score_centres, values_of
from clients.plan import Plan
from clients.tasks.credit import CreditTask
from clients.tasks.demand import DemandTask
from clients.tasks.examples import Examples, average_within_units
from clients.tasks.task import Task
from clients.training.clipping import clip_factors

Floats = NDArray[np.float64]
Codes = NDArray[np.int64]


def bounded_sum(vectors: sparse.csr_array, norm: float, box: float, chosen: NDArray[np.bool_] | None) -> Floats:
    """float64[size]: the sum of the units' vectors, none longer than `norm`, projected to [-box, box].

    Adding or removing one unit moves it by at most `norm` in Euclidean norm.

    Args:
        vectors: float64[units, size].
        chosen: bool[units], the units that are measured; None takes all.
    """
    squares = np.asarray(vectors.multiply(vectors).sum(axis=1)).ravel()
    weights = clip_factors(np.sqrt(squares), norm)
    if chosen is not None:
        weights = weights * chosen
    total = np.asarray(weights @ vectors, dtype=np.float64).ravel()
    np.clip(total, -box, box, out=total)
    return total


def unit_vectors(
    task: Task, statistic: Statistic, plan: Plan, parameters: Floats, examples: Examples, groups: Codes | None
) -> sparse.csr_array:
    """float64[units, size]: the mean of what a unit's examples say.

    Args:
        parameters: float64[d], the model that is measured.
        groups: int64[n], for fairness the group of each example.
    """
    averaging = average_within_units(examples.unit, examples.units)
    rows = _rows(task, statistic, plan, parameters, examples, groups)
    means = sparse.csr_array(averaging @ rows)
    # Shares and counts are between 0 and 1; a demand task's errors are cut there, for each unit as a whole.
    means.data = np.clip(np.nan_to_num(means.data, nan=0.0), 0.0, 1.0)
    return means


def _rows(
    task: Task, statistic: Statistic, plan: Plan, parameters: Floats, examples: Examples, groups: Codes | None
) -> Any:
    n = len(examples.targets)
    if statistic.what == "units":
        return sparse.csr_array(np.ones((n, 1)))
    if statistic.what == "columns":
        active = sparse.csr_array(examples.inputs)[:, : statistic.size]
        return sparse.csr_array((np.full(active.nnz, statistic.scale), active.indices, active.indptr), active.shape)
    with np.errstate(over="ignore", invalid="ignore"):
        outputs = task.architecture.forward(parameters, examples.inputs) + examples.offset
    if isinstance(task, DemandTask):
        return sparse.csr_array(_demand_rows(task, outputs, examples))
    bins = plan.measure_bins
    place = (examples.targets > 0.5).astype(np.int64) * bins
    if groups is not None:
        place = place + groups * (2 * bins)
    return _shared_out(np.nan_to_num(expit(outputs[:, 0]), nan=0.5), place, bins, statistic.size)


def _shared_out(pd: Floats, place: Codes, bins: int, size: int) -> sparse.csr_array:
    """Rows [n, size] with one record each, shared out between the two centres next to it so that their mean is `pd`.

    A bin would keep less of it: that the mean score of a bin is its centre is then true by construction.
    """
    centres = np.array(score_centres(bins))
    below = np.clip(np.floor(np.sqrt(pd) * (bins - 1)).astype(np.int64), 0, bins - 2)
    above = (pd - centres[below]) / (centres[below + 1] - centres[below])
    above = np.clip(above, 0.0, 1.0)
    columns = np.column_stack([place + below, place + below + 1])
    values = np.column_stack([1.0 - above, above])
    pointers = np.arange(len(pd) + 1, dtype=np.int64) * 2
    return sparse.csr_array((values.ravel(), columns.ravel(), pointers), shape=(len(pd), size))


def _demand_rows(task: DemandTask, outputs: Floats, examples: Examples) -> Floats:
    """[n, 5] of one day each, in units of the series' own recent mean: see `DEMAND_PARTS`.

    A mean error of half the level, or a level of twice the recent one, is where a unit is cut.
    """
    quantiles, actual = np.maximum(outputs, 0.0), examples.targets
    median = task.spec.model.quantiles.index(0.5)
    inside = (actual >= quantiles[:, 0]) & (actual <= quantiles[:, -1])
    with np.errstate(over="ignore", invalid="ignore"):
        parts = {
            "error": 2.0 * np.abs(actual - quantiles[:, median]),
            "baseline error": 2.0 * np.abs(actual - examples.offset[:, median]),
            "value": 0.5 * actual,
            "inside": inside.astype(np.float64),
            "units": np.ones(len(actual)),
        }
    return np.nan_to_num(np.column_stack([parts[name] for name in DEMAND_PARTS]), nan=0.0, posinf=1.0, neginf=0.0)


def groups_of_records(task: CreditTask, table: Table) -> dict[str, Codes]:
    """int64[n] of each column with groups: for every example of a table, in their order, the one of its record."""
    rows = task.rows(table)
    return {name: _codes(values_of(task.spec, name), table.columns[name][rows]) for name in grouping(task.spec)}


def _codes(values: tuple[str, ...], cells: NDArray[Any]) -> Codes:
    if cells.dtype.kind == "f":
        return np.where(np.isnan(cells), 2, np.nan_to_num(cells)).astype(np.int64)
    number = {value: place for place, value in enumerate(values)}
    return np.array([number.get(cell, len(values) - 1) for cell in cells.tolist()], dtype=np.int64)
