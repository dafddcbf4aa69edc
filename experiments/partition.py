"""Dividing one table among firms: evenly, with skewed sizes and labels, or by a column."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from clients.data import Table, label_mask
from clients.tasks.spec import TaskSpec
from experiments.errors import ExperimentError

Kind = Literal["iid", "dirichlet", "column"]
FEWEST_RECORDS = 20  # of a firm; and of each class at least FEWEST_OF_A_CLASS
FEWEST_OF_A_CLASS = 3
_ATTEMPTS = 1000


class PartitionImpossible(ExperimentError):
    """The table cannot be divided as asked."""


def divide(
    table: Table, spec: TaskSpec, firms: int, kind: Kind, *, alpha: float, column: str | None, seed: int
) -> list[NDArray[np.int64]]:
    """Row indices of each firm, disjoint and together complete.

    `iid`: shuffled, equal sizes. `dirichlet`: for every class of the label (or for all series), the firms' shares are
    drawn from a Dirichlet distribution with concentration `alpha` (Hsu et al. 2019), so sizes and mixes both differ.
    `column`: the values of `column` (a series' id for demand) are dealt to the firms at random; none is split.

    Raises:
        PartitionImpossible: too few records or values, or no division leaves every firm enough of each class.
    """
    if firms < 1 or firms > table.rows:
        raise PartitionImpossible(f"partition: {firms} firms for {table.rows} records; give fewer firms")
    rng = np.random.Generator(np.random.PCG64([seed, 1]))
    if kind == "column" or spec.kind == "demand":
        return _by_column(table, spec, firms, column, alpha if kind == "dirichlet" else None, rng)
    if column is not None:
        raise PartitionImpossible(f"partition: 'column' goes with kind 'column', not {kind!r}")
    if kind == "iid":
        return [np.sort(part) for part in np.array_split(rng.permutation(table.rows), firms)]
    return _dirichlet(_classes(table, spec), firms, alpha, rng)


def _classes(table: Table, spec: TaskSpec) -> NDArray[np.int64]:
    assert spec.label is not None
    return label_mask(table.columns[spec.label.column], spec.label.positive).astype(np.int64)


def _dirichlet(
    classes: NDArray[np.int64], firms: int, alpha: float, rng: np.random.Generator
) -> list[NDArray[np.int64]]:
    counts = np.bincount(classes, minlength=2)
    if counts.min() < firms * FEWEST_OF_A_CLASS or counts.sum() < firms * FEWEST_RECORDS:
        raise PartitionImpossible(f"partition: {counts.sum()} records are too few for {firms} firms")
    for _ in range(_ATTEMPTS):
        shares = rng.dirichlet(np.full(firms, alpha), size=len(counts))
        sizes = np.stack([_apportion(share, int(count)) for share, count in zip(shares, counts, strict=True)])
        sizes = _lift(sizes)
        if sizes.sum(axis=0).min() >= FEWEST_RECORDS:
            break
    else:
        raise PartitionImpossible(f"partition: no draw leaves {firms} firms {FEWEST_RECORDS} records each; raise alpha")
    parts: list[list[NDArray[np.int64]]] = [[] for _ in range(firms)]
    for which, row in enumerate(sizes):
        members = rng.permutation(np.flatnonzero(classes == which))
        for firm, part in enumerate(np.split(members, np.cumsum(row)[:-1])):
            parts[firm].append(part)
    return [np.sort(np.concatenate(part)) for part in parts]


def _apportion(shares: NDArray[np.float64], count: int) -> NDArray[np.int64]:
    """Whole numbers near `shares * count` that sum to `count`."""
    edges = np.round(np.cumsum(shares) * count).astype(np.int64)
    edges[-1] = count
    return np.diff(edges, prepend=0)


def _lift(sizes: NDArray[np.int64]) -> NDArray[np.int64]:
    """Give every firm `FEWEST_OF_A_CLASS` of each class, taken from the firm with most."""
    sizes = sizes.copy()
    for row in sizes:
        for firm in np.flatnonzero(row < FEWEST_OF_A_CLASS):
            lacking = FEWEST_OF_A_CLASS - row[firm]
            row[np.argmax(row)] -= lacking
            row[firm] += lacking
    return sizes


def _by_column(
    table: Table,
    spec: TaskSpec,
    firms: int,
    column: str | None,
    alpha: float | None,
    rng: np.random.Generator,
) -> list[NDArray[np.int64]]:
    name = column or (spec.series.id if spec.series is not None else None)
    if name is None or name not in table.columns:
        raise PartitionImpossible(f"partition: 'column' must name a column of the task spec, not {name!r}")
    values, inverse = np.unique(_keys(table.columns[name]), return_inverse=True)
    if len(values) < firms:
        raise PartitionImpossible(f"partition: column {name!r} has {len(values)} values for {firms} firms")
    order = rng.permutation(len(values))
    if alpha is None:
        groups = np.array_split(order, firms)
    else:
        sizes = _apportion(rng.dirichlet(np.full(firms, alpha)), len(values) - firms) + 1
        groups = np.split(order, np.cumsum(sizes)[:-1])
    return [np.flatnonzero(np.isin(inverse, group)) for group in groups]


def _keys(values: NDArray[Any]) -> NDArray[Any]:
    return values.astype(str) if values.dtype.kind == "O" else values
