"""What the parts of a task spec must be to each other; each part by itself is checked where it is declared."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from clients.tasks.questions import questions_of

if TYPE_CHECKING:
    from clients.tasks.spec import Column, Feature, Label, TaskSpec, Trees

FLAGS = {"true": True, "false": False, "1": True, "0": False, "yes": True, "no": False}
_IDENTIFIERS = ("text", "category")


def check_spec(spec: TaskSpec) -> None:
    """Check a whole spec.

    Raises:
        ValueError: the first rule that is broken, naming the part.
    """
    _unique([c.name for c in spec.column] + [d.name for d in spec.derived], "column")
    _unique([f.code for f in spec.feature], "feature")
    columns = {column.name: column for column in spec.column}
    if spec.privacy.entity is not None:
        # Records of unknown entities would pass for one unit, though any of them may belong to a known one.
        _require_column(columns, "privacy: entity", spec.privacy.entity, _IDENTIFIERS, complete=True)
    if spec.kind == "credit":
        _check_credit(spec, columns)
    else:
        _check_demand(spec, columns)


def _unique(names: list[str], what: str) -> None:
    seen: set[str] = set()
    for name in names:
        if name in seen:
            raise ValueError(f"{what} {name!r} is named twice")
        seen.add(name)


def _require_column(
    columns: Mapping[str, Column], what: str, name: str, kinds: tuple[str, ...], *, complete: bool = False
) -> None:
    column = columns.get(name)
    if column is None:
        raise ValueError(f"{what} {name!r} is not a column")
    if column.kind not in kinds:
        raise ValueError(f"{what} {name!r} is a {column.kind} column, it must be {' or '.join(kinds)}")
    if complete and column.missing != "refused":
        raise ValueError(f"{what} {name!r} must not allow missing values")


def _check_credit(spec: TaskSpec, columns: Mapping[str, Column]) -> None:
    if spec.label is None or not spec.feature:
        raise ValueError("a credit task needs [label] and at least one [[feature]]")
    if spec.series is not None:
        raise ValueError("a credit task takes no [series]")
    if spec.model.kind not in ("scorecard", "mlp") or spec.privacy.unit not in ("row", "entity"):
        raise ValueError("a credit task takes model scorecard or mlp, and unit row or entity")
    _check_label(spec.label, columns)
    numbers = {c.name for c in spec.column if c.kind == "number"} - {spec.label.column}
    for derived in spec.derived:
        for name in derived.of:
            if name == spec.label.column:
                raise ValueError(f"derived {derived.name!r} reads the label {name!r}")
            if name not in numbers:
                raise ValueError(f"derived {derived.name!r}: {name!r} is not a number column above it")
        numbers.add(derived.name)
    plain: set[str] = set()
    for feature in spec.feature:
        for part in feature.cross:
            if part not in plain:
                raise ValueError(f"feature {feature.code!r}: crosses {part!r}, no plain feature above it")
        if feature.source is not None:
            _check_source(feature, feature.source, numbers, columns, spec.label.column)
            plain.add(feature.code)
    if spec.trees is not None:
        _check_trees(spec, spec.trees, plain)


def _check_trees(spec: TaskSpec, trees: Trees, plain: set[str]) -> None:
    if spec.model.kind != "scorecard":
        raise ValueError("[trees] widens a scorecard; a perceptron makes its own combinations")
    _unique(list(trees.features), "trees: feature")
    for code in trees.features:
        if code not in plain:
            raise ValueError(f"trees: {code!r} is no plain feature")
    asked = len(questions_of(spec))
    if asked < trees.depth:
        raise ValueError(f"trees: {asked} features can be asked about, too few for trees of depth {trees.depth}")


def _check_label(label: Label, columns: Mapping[str, Column]) -> None:
    _require_column(columns, "label:", label.column, ("category", "flag", "number"), complete=True)
    column = columns[label.column]
    for value in (*label.positive, *label.negative):
        if column.kind == "number" and not _is_number(value):
            raise ValueError(f"label: {value!r} is not a number, and column {label.column!r} holds numbers")
        if column.kind == "flag" and value.lower() not in FLAGS:
            raise ValueError(f"label: {value!r} is not true or false, and column {label.column!r} is a flag")
        if column.kind == "category" and value not in column.values:
            raise ValueError(f"label: {value!r} is not a value of column {label.column!r}")
    both = sorted(set(label.positive) & set(label.negative))
    if both:
        raise ValueError(f"label: {both[0]!r} is both positive and negative")


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _check_source(feature: Feature, source: str, numbers: set[str], columns: Mapping[str, Column], label: str) -> None:
    if source == label:
        raise ValueError(f"feature {feature.code!r} reads the label {label!r}")
    if source in numbers:
        if not feature.bins or feature.groups:
            raise ValueError(f"feature {feature.code!r}: {source!r} is a number and needs 'bins'")
        return
    column = columns.get(source)
    if column is None or column.kind in ("date", "text"):
        raise ValueError(f"feature {feature.code!r}: {source!r} is not a number, category or flag column")
    if feature.bins:
        raise ValueError(f"feature {feature.code!r}: {source!r} is a {column.kind} and takes no 'bins'")
    grouped = [value for group in feature.groups for value in group]
    if feature.groups and sorted(grouped) != sorted(column.values):
        raise ValueError(f"feature {feature.code!r}: 'groups' must hold every value of {source!r} exactly once")


def _check_demand(spec: TaskSpec, columns: Mapping[str, Column]) -> None:
    series = spec.series
    if series is None:
        raise ValueError("a demand task needs [series]")
    if spec.label is not None or spec.feature or spec.derived or spec.trees is not None:
        raise ValueError("a demand task takes no [label], [[feature]], [[derived]] or [trees]")
    _require_column(columns, "series: id", series.id, _IDENTIFIERS, complete=True)
    _require_column(columns, "series: date", series.date, ("date",), complete=True)
    _require_column(columns, "series: value", series.value, ("number",))
    for what, name in (("open", series.open), ("promotion", series.promotion), ("holiday", series.holiday)):
        if name is not None:
            _require_column(columns, f"series: {what}", name, ("flag",))
    if spec.model.kind not in ("linear-quantile", "gru-quantile") or spec.privacy.unit not in ("block", "series"):
        raise ValueError("a demand task takes model linear-quantile or gru-quantile, and unit block or series")
    days = spec.privacy.block_days
    if days is not None and days < series.lookback_days + series.horizon_days:
        raise ValueError("privacy: block_days must hold a whole window, lookback_days + horizon_days")
