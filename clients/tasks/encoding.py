"""Public bins: turn the records of a table into one active bin per feature, by the task spec alone."""

from __future__ import annotations

import functools
import itertools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from clients.data import Table
from clients.tasks.questions import can_be_missing
from clients.tasks.spec import Column, Derived, Feature, TaskSpec
from clients.tasks.trees import PublicTrees


@dataclass(frozen=True)
class Group:
    """The bins of one feature: columns `start` to `start + width`.

    Attributes:
        labels: what each bin holds, in words.
        possible: whether a record can be in each bin: not where it is of values that must not be missing.
    """

    code: str
    text: str
    labels: tuple[str, ...]
    possible: tuple[bool, ...]
    start: int

    @property
    def width(self) -> int:
        return len(self.labels)


class Encoder:
    """Maps tables to bins and leaves. Built from a spec only: no fit, so nothing of the data is learned.

    Attributes:
        groups: one per feature, in the order of the spec.
        trees: the spec's public trees, whose columns come after those of the features; None without.
        width: number of one-hot columns over all groups and trees.
        active: how many of them are active for a record: one of each group and each tree.
    """

    def __init__(self, spec: TaskSpec) -> None:
        self._spec = spec
        self._columns = {column.name: column for column in spec.column}
        self._derived = {derived.name: derived for derived in spec.derived}
        groups: list[Group] = []
        start = 0
        labels: dict[str, tuple[str, ...]] = {}
        possible: dict[str, tuple[bool, ...]] = {}
        missing = can_be_missing(spec)
        for feature in spec.feature:
            labels[feature.code] = self._labels(feature, labels)
            if feature.source is not None:
                possible[feature.code] = (*(True for _ in labels[feature.code][1:]), missing[feature.source])
            else:
                parts = [possible[part] for part in feature.cross]
                possible[feature.code] = tuple(all(bins) for bins in itertools.product(*parts))
            groups.append(Group(feature.code, feature.text, labels[feature.code], possible[feature.code], start))
            start += len(labels[feature.code])
        self.groups = tuple(groups)
        self.trees = None if spec.trees is None else PublicTrees(spec, start)
        self.width = start + (0 if self.trees is None else self.trees.width)
        self.active = len(groups) + (0 if self.trees is None else len(self.trees.questions))

    def encode(self, table: Table) -> NDArray[np.int32]:
        """The active column of every group and every tree.

        Returns:
            int32[rows, groups + trees], values in [0, width), strictly inside their group's or tree's columns.
        """
        numbers = self._numbers(table)
        bins: dict[str, NDArray[np.int64]] = {}
        for feature in self._spec.feature:
            bins[feature.code] = self._bin(feature, table, numbers, bins)
        inside = np.column_stack([*bins.values()])
        out = (inside + np.array([group.start for group in self.groups])).astype(np.int32)
        return out if self.trees is None else np.column_stack([out, self.trees.encode(inside)])

    def _numbers(self, table: Table) -> dict[str, NDArray[np.float64]]:
        numbers = {
            c.name: table.columns[c.name] for c in self._spec.column if c.kind == "number" and c.name in table.columns
        }
        for derived in self._spec.derived:
            numbers[derived.name] = _derive(derived, [numbers[name] for name in derived.of])
        return numbers

    def _bin(
        self,
        feature: Feature,
        table: Table,
        numbers: dict[str, NDArray[np.float64]],
        bins: dict[str, NDArray[np.int64]],
    ) -> NDArray[np.int64]:
        if feature.cross:
            widths = {group.code: group.width for group in self.groups}
            out = np.zeros(table.rows, dtype=np.int64)
            for part in feature.cross:
                out = out * widths[part] + bins[part]
            return out
        assert feature.source is not None
        if feature.source in numbers:
            values = numbers[feature.source]
            inner = np.searchsorted(np.asarray(feature.bins), values, side="right")
            return np.where(np.isnan(values), len(feature.bins) + 1, inner).astype(np.int64)
        column = self._columns[feature.source]
        values = table.columns[feature.source]
        if column.kind == "flag":
            return np.where(np.isnan(values), 2, values).astype(np.int64)
        choices = feature.groups or tuple((value,) for value in column.values)
        out = np.full(table.rows, len(choices), dtype=np.int64)
        for k, members in enumerate(choices):
            out[np.isin(values, members)] = k
        return out

    def _labels(self, feature: Feature, known: dict[str, tuple[str, ...]]) -> tuple[str, ...]:
        if feature.cross:
            labels = [""]
            for part in feature.cross:
                labels = [f"{a} and {b}" if a else b for a in labels for b in known[part]]
            return tuple(labels)
        assert feature.source is not None
        column = self._columns.get(feature.source)
        if column is not None and column.kind == "category":
            choices = feature.groups or tuple((value,) for value in column.values)
            return (*("/".join(members) for members in choices), "missing")
        if column is not None and column.kind == "flag":
            return ("no", "yes", "missing")
        return _number_labels(feature.bins, column)


def _number_labels(edges: tuple[float, ...], column: Column | None) -> tuple[str, ...]:
    unit = f" {column.unit}" if column is not None and column.unit else ""
    inner = [f"{a:g} to {b:g}{unit}" for a, b in itertools.pairwise(edges)]
    unknown = "missing" if column is not None else "cannot be computed"  # a part is missing, or a denominator is 0
    return (f"below {edges[0]:g}{unit}", *inner, f"{edges[-1]:g}{unit} or more", unknown)


def _ratio(a: NDArray[np.float64], b: NDArray[np.float64]) -> NDArray[np.float64]:
    # A denominator that is not positive has no meaning for a ratio of amounts: it goes to the "missing" bin.
    return np.divide(a, b, out=np.full_like(a, np.nan), where=b > 0)


def _added(parts: NDArray[np.float64]) -> NDArray[np.float64]:
    # One after the other: sum(axis=0) adds in another order where there is one row, which could move it over an edge.
    return functools.reduce(np.add, parts)


_FORMULAS: dict[str, Callable[[NDArray[np.float64]], Any]] = {
    "ratio": lambda parts: _ratio(parts[0], parts[1]),
    "difference": lambda parts: parts[0] - parts[1],
    "sum": _added,
    "mean": lambda parts: _added(parts) / len(parts),
    "max": lambda parts: parts.max(axis=0),
    "min": lambda parts: parts.min(axis=0),
}


def _derive(derived: Derived, parts: list[NDArray[np.float64]]) -> NDArray[np.float64]:
    stacked = np.stack(parts)
    if derived.op == "count_above":
        above = (stacked > derived.value).sum(axis=0).astype(np.float64)
        return np.where(np.isnan(stacked).any(axis=0), np.nan, above)
    result: NDArray[np.float64] = _FORMULAS[derived.op](stacked)
    return result
