"""Private tables: check every cell against the task spec, and hold what was checked."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from clients.errors import ClientError
from clients.table_files import TableUnreadable, read_frame
from clients.tasks.spec import Column, TaskSpec
from clients.tasks.spec_rules import FLAGS

__all__ = [
    "SchemaMismatch",
    "Table",
    "TableInvalid",
    "TableUnreadable",
    "Violation",
    "check_frame",
    "label_mask",
    "read_frame",
    "read_table",
]

SHOWN = 10  # violations named one by one; the rest are counted
_CONTRADICT = {"number": ("date", "bytes"), "date": ("number", "flag", "bytes"), "flag": ("date", "bytes")}
"""Declared types of a column that no value of such a kind can have."""
_LISTED = 24  # columns of the table that are named where one is missing
_DAY = re.compile(r"(\d{4}-\d{2}-\d{2})(?:[ T]00:00(?::00(?:\.0+)?)?)?", re.ASCII)  # typed columns add a midnight


@dataclass(frozen=True)
class Violation:
    """One cell (or column, when row is None) that breaks the spec; rows count from 1, header not counted."""

    column: str
    row: int | None
    problem: str

    def __str__(self) -> str:
        place = f"column {self.column!r}" + (f", row {self.row}" if self.row is not None else "")
        return f"{place}: {self.problem}"


class TableInvalid(ClientError):
    """A table that does not fit its task spec: the first violations and how many there are."""

    def __init__(self, where: str, violations: tuple[Violation, ...], count: int) -> None:
        self.where, self.violations, self.count = where, violations, count
        more = f" (and {count - 1} more; `artesian firm check` lists them)" if count > 1 else ""
        super().__init__(f"{where}: {violations[0]}{more}")


class SchemaMismatch(TableInvalid):
    """A table whose columns are not those of its task spec, whatever its records say.

    Attributes:
        told: the same for others: columns that the spec names, and nothing that the table alone has.
    """

    def __init__(self, where: str, violations: tuple[Violation, ...], count: int, told: str) -> None:
        super().__init__(where, violations, count)
        self.told = told


@dataclass(frozen=True)
class Table:
    """A checked table: one array of length `rows` per column.

    Numbers are float64 (NaN is missing), categories and texts str (`""` is missing), flags float64 (0, 1, NaN), dates
    datetime64[D].
    """

    columns: dict[str, NDArray[Any]]
    rows: int

    def take(self, index: NDArray[np.int64] | NDArray[np.bool_]) -> Table:
        """The records at `index` (integer positions or a mask), in that order."""
        columns = {name: values[index] for name, values in self.columns.items()}
        return Table(columns, len(next(iter(columns.values()))))


def read_table(path: Path, spec: TaskSpec, *, labelled: bool = True, alone: bool = True) -> Table:
    """Read a file and check it against the spec.

    Args:
        labelled: the label column must be there.
        alone: refuse as well what nobody could learn from alone, a table without rows or with one class. One record
            decides about that, so a firm that trains with others takes part all the same: its refusal would tell.

    Raises:
        TableUnreadable: the file cannot be read.
        TableInvalid: it does not fit the spec.
    """
    return check_frame(read_frame(path), spec, str(path), labelled=labelled, alone=alone)


def check_frame(
    frame: pd.DataFrame,
    spec: TaskSpec,
    where: str,
    *,
    labelled: bool = True,
    alone: bool = True,
    kinds: Mapping[str, str] | None = None,
) -> Table:
    """Check a table of strings against the spec and convert it; nothing is changed or dropped silently.

    Columns that the spec does not name are ignored.

    Args:
        kinds: number, date, flag or bytes, of columns that a database declares as such.

    Raises:
        SchemaMismatch: its columns are not the spec's.
        TableInvalid: naming the first `SHOWN` violations by column and row, and their count.
    """
    wanted = [column for column in spec.column if labelled or spec.label is None or column.name != spec.label.column]
    broken, told = _against_schema([str(name) for name in frame.columns], kinds or {}, wanted)
    found: list[Violation] = []
    count = len(broken)
    columns: dict[str, NDArray[Any]] = {}
    if alone and len(frame) == 0:
        raise TableInvalid(where, (Violation(spec.column[0].name, None, "the table has no rows"),), 1)
    for column in wanted:
        found += [broken[column.name]] if column.name in broken else []
        if column.name not in frame.columns:
            continue
        values, problems = _convert(column, frame[column.name].to_numpy(dtype=object))
        columns[column.name] = values
        count += len(problems)
        shown = problems[: max(SHOWN - len(found), 0)]
        found.extend(Violation(column.name, row + 1, text) for row, text in shown)
    if not count and labelled and spec.label is not None:
        extra = _check_label(spec, columns[spec.label.column], alone)
        found, count = list(extra[:SHOWN]), len(extra)
    if not count and spec.series is not None:
        extra = _check_series(spec, columns)
        found, count = list(extra[:SHOWN]), len(extra)
    if told:
        raise SchemaMismatch(where, tuple(found[:SHOWN]), count, told)
    if count:
        raise TableInvalid(where, tuple(found[:SHOWN]), count)
    return Table(columns, len(frame))


def _against_schema(
    names: list[str], kinds: Mapping[str, str], wanted: list[Column]
) -> tuple[dict[str, Violation], str]:
    """What is wrong with a table's columns without a look at any record, and what others may be told of it."""
    missing = [column for column in wanted if column.name not in names]
    wrong = [one for one in wanted if kinds.get(one.name) in _CONTRADICT.get(one.kind, ())]
    there = ", ".join(names[:_LISTED]) + (", …" if len(names) > _LISTED else "")
    found = {
        one.name: Violation(one.name, None, f"the column is missing; the table has {there or 'none'}")
        for one in missing
    }
    for one in wrong:
        problem = f"the database has it as a {kinds[one.name]}, the spec as a {one.kind}; cast it in the query"
        found[one.name] = Violation(one.name, None, problem)
    told = [
        f"{verb} {', '.join(one.name for one in columns)}"
        for verb, columns in (("lacks", missing), ("has another type for", wrong))
        if columns
    ]
    return found, f"of the columns that the task spec names, the firm's table {' and '.join(told)}" if told else ""


_Problems = list[tuple[int, str]]


def _convert(column: Column, raw: NDArray[Any]) -> tuple[NDArray[Any], _Problems]:
    text = np.array([str(v).strip() for v in raw], dtype=object)
    missing = np.isin(text.astype(str), ["", *column.missing_values])
    convert: dict[str, Callable[[Column, NDArray[Any], NDArray[np.bool_]], tuple[NDArray[Any], _Problems]]] = {
        "number": _numbers,
        "category": _categories,
        "flag": _flags,
        "date": _dates,
        "text": _texts,
    }
    values, problems = convert[column.kind](column, text, missing)
    if column.missing == "refused":
        problems += [(int(i), "the value is missing") for i in np.flatnonzero(missing)]
    return values, sorted(problems)


def _numbers(column: Column, text: NDArray[Any], missing: NDArray[np.bool_]) -> tuple[NDArray[Any], _Problems]:
    values = pd.to_numeric(pd.Series(np.where(missing, "nan", text)), errors="coerce").to_numpy(dtype=np.float64)
    bad = ~missing & ~np.isfinite(values)
    problems = [(int(i), f"{_short(text[i])} is not a number") for i in np.flatnonzero(bad)]
    assert column.min is not None
    assert column.max is not None
    outside = np.isfinite(values) & ((values < column.min) | (values > column.max))
    bounds = f"outside {column.min:g} to {column.max:g}" + (f" {column.unit}" if column.unit else "")
    problems += [(int(i), f"{_short(text[i])} is {bounds}") for i in np.flatnonzero(outside)]
    return values, problems


def _categories(column: Column, text: NDArray[Any], missing: NDArray[np.bool_]) -> tuple[NDArray[Any], _Problems]:
    values = _same_number_spelling(np.where(missing, "", text).astype(str), column.values)
    unknown = ~missing & ~np.isin(values, column.values)
    allowed = ", ".join(column.values[:8]) + (", …" if len(column.values) > 8 else "")
    problems = [(int(i), f"unknown category {_short(text[i])} (known: {allowed})") for i in np.flatnonzero(unknown)]
    return values, problems


def _same_number_spelling(values: NDArray[np.str_], known: tuple[str, ...]) -> NDArray[np.str_]:
    """Let a whole number be the category that is spelled so, "2" or "2.0": typed files do not say which was meant."""
    spellings = {**{value.removesuffix(".0"): value for value in known}, **{value: value for value in known}}
    kinds, place = np.unique(values, return_inverse=True)
    spelled = [spellings.get(kind, spellings.get(kind.removesuffix(".0"), kind)) for kind in kinds.tolist()]
    return np.array(spelled)[place]


def _flags(column: Column, text: NDArray[Any], missing: NDArray[np.bool_]) -> tuple[NDArray[Any], _Problems]:
    parsed = [FLAGS.get(str(v).lower().removesuffix(".0")) for v in text]
    values = np.array([np.nan if v is None else float(v) for v in parsed], dtype=np.float64)
    bad = ~missing & np.isnan(values)
    return values, [(int(i), f"{_short(text[i])} is not true or false") for i in np.flatnonzero(bad)]


def _dates(column: Column, text: NDArray[Any], missing: NDArray[np.bool_]) -> tuple[NDArray[Any], _Problems]:
    days = [match[1] if (match := _DAY.fullmatch(str(v))) else "" for v in text]
    parsed = pd.to_datetime(pd.Series(days, dtype=object), format="%Y-%m-%d", errors="coerce")
    bad = ~missing & parsed.isna().to_numpy()
    problems = [(int(i), f"{_short(text[i])} is not a date like 2026-01-31") for i in np.flatnonzero(bad)]
    return parsed.to_numpy().astype("datetime64[D]"), problems


def _texts(column: Column, text: NDArray[Any], missing: NDArray[np.bool_]) -> tuple[NDArray[Any], _Problems]:
    return np.where(missing, "", text).astype(str), []


def _check_label(spec: TaskSpec, values: NDArray[Any], alone: bool) -> list[Violation]:
    assert spec.label is not None
    label = spec.label
    positive = label_mask(values, label.positive)
    negative = label_mask(values, label.negative)
    neither = np.flatnonzero(~positive & ~negative)
    if len(neither):
        return [Violation(label.column, int(i) + 1, f"{_short(values[i])} is no label value") for i in neither]
    if alone and (positive.all() or negative.all()):
        only = "positive" if positive.all() else "negative"
        return [Violation(label.column, None, f"every record is {only}: training needs both classes")]
    return []


def label_mask(values: NDArray[Any], wanted: tuple[str, ...]) -> NDArray[np.bool_]:
    """Which values of a label column are among `wanted`, comparing numbers as numbers and flags as flags."""
    if values.dtype.kind == "f":
        return np.isin(values, [float(FLAGS.get(w.lower(), w)) for w in wanted])
    return np.isin(values, wanted)


def _check_series(spec: TaskSpec, columns: dict[str, NDArray[Any]]) -> list[Violation]:
    assert spec.series is not None
    keys = pd.DataFrame({"id": columns[spec.series.id], "date": columns[spec.series.date]})
    twice = np.flatnonzero(keys.duplicated().to_numpy())
    problem = "a second record of this series and day"
    return [Violation(spec.series.date, int(i) + 1, problem) for i in twice]


def _short(value: object) -> str:
    text = str(value)
    return repr(text if len(text) <= 24 else text[:21] + "…")
