"""Drafting a credit task spec from a table: a start for research, never for private training as it stands.

A draft takes bounds, bins and categories from the records, so it says something about them that no privacy account
has paid for. The text that is made here says so in its first lines.
"""

from __future__ import annotations

import math
import re
import tomllib
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd
import tomli_w
from numpy.typing import NDArray

from clients.data import check_frame
from clients.errors import ClientError
from clients.tasks.spec import parse_spec

WARNING = (
    "Drafting looked at the data: this spec is for research only. Before private training, replace its bounds, bins, "
    "categories and base rate by public figures."
)

_BINS = 8  # of a number
_MOST_CATEGORIES = 30  # above that a text is an identifier, not a category
_LARGEST = 1e15  # a larger magnitude is a code or a mistake, and has no round figures in float64
_MISSING = frozenset({"?", "na", "n/a", "nan", "null"})
_MISSING_NUMBERS = _MISSING | {"none", "-", "."}  # a category may well be called so
_FLAGS = frozenset({"true", "false", "yes", "no", "0", "1"})
_DEFAULTED = frozenset({"1", "1.0", "true", "yes", "y", "bad", "default", "defaulted"})


class DraftImpossible(ClientError):
    """A table from which no credit task can be drafted."""


@dataclass
class _Draft:
    columns: list[dict[str, Any]] = field(default_factory=list)
    features: list[dict[str, Any]] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


def draft_credit(frame: pd.DataFrame, label: str, name: str, where: str) -> tuple[str, list[str]]:
    """A credit task spec that fits a table.

    Args:
        frame: the table as text, from `clients.data.read_frame`.
        label: the column to predict; it must have two values.
        where: names the table in errors.

    Returns:
        The spec as TOML text with its warning, and notes on what was guessed or left out.

    Raises:
        DraftImpossible: the label is missing or has not two values, or no column can be a feature.
        TaskSpecInvalid, TableInvalid: the draft would not be a spec, or the table breaks it (a record without label).
    """
    if len(frame) == 0:
        raise DraftImpossible(f"{where}: the table has no rows")
    if label not in frame.columns:
        known = ", ".join(map(str, frame.columns[:_MOST_CATEGORIES]))
        raise DraftImpossible(f"{where}: there is no column {label!r}; the columns are {known}")
    draft = _Draft()
    section = _label(label, _texts(frame[label]), where, draft)
    for column in frame.columns:
        if column != label:
            _column(str(column), _texts(frame[column]), draft)
    if not draft.features:
        raise DraftImpossible(f"{where}: no column besides {label!r} can be a feature")
    document = {
        "name": slug(name),
        "kind": "credit",
        "description": "Drafted from a table, whose records its bounds and bins were taken from.",
        "privacy": {"unit": "row"},
        "model": {"kind": "scorecard"},
        "label": section,
        "column": draft.columns,
        "feature": draft.features,
    }
    text = _render(document)
    check_frame(frame, parse_spec(tomllib.loads(text), "draft"), where)
    return text, draft.notes


def slug(text: str) -> str:
    """A lowercase name of letters, digits and hyphens, at most 63 long."""
    return re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-")[:63].rstrip("-") or "column"


def _texts(column: pd.Series) -> NDArray[Any]:
    return np.array([str(value).strip() for value in column], dtype=object)


def _label(name: str, texts: NDArray[Any], where: str, draft: _Draft) -> dict[str, Any]:
    values = sorted(set(texts) - {""})
    if len(values) != 2:
        raise DraftImpossible(f"{where}: column {name!r} has {len(values)} different values; a label has two")
    counts = {value: int((texts == value).sum()) for value in values}
    known = [value for value in values if value.lower() in _DEFAULTED]
    positive = known[0] if len(known) == 1 else min(values, key=lambda value: counts[value])
    (negative,) = set(values) - {positive}
    draft.columns.append({"name": name, "kind": "category", "values": values})
    draft.notes.append(f"{name!r}: {positive!r} is taken to mean default, {negative!r} paid; swap them if it is not so")
    share = counts[positive] / sum(counts.values())
    base_rate = min(max(round(share, 2), 0.01), 0.99)
    return {"column": name, "positive": [positive], "negative": [negative], "base_rate": base_rate}


def _column(name: str, texts: NDArray[Any], draft: _Draft) -> None:
    """Add one column, and a feature of it where it can be one."""
    lower = np.char.lower(texts.astype(str))
    numbers = pd.to_numeric(pd.Series(texts), errors="coerce").to_numpy(dtype=np.float64)
    blank = np.isin(lower, ["", *_MISSING_NUMBERS])
    present = numbers[~blank]
    if not len(present):
        draft.notes.append(f"{name!r}: no values, left out")
        return
    kind: dict[str, Any]
    bins: Sequence[float] = ()
    if _are_flags(lower[~blank]):
        kind = {"kind": "flag"}
    elif np.isfinite(present).all() and np.abs(present).max() <= _LARGEST and not _is_counter(present):
        low, high = _bounds(present)
        kind, bins = {"kind": "number", "min": low, "max": high}, _edges(present)
    else:
        blank = np.isin(lower, ["", *_MISSING])
        kind = _named(texts[~blank])
    spellings = sorted(set(texts[blank]) - {""})
    missing: dict[str, Any] = {"missing": "allowed"} if blank.any() else {}
    if spellings:
        missing["missing_values"] = spellings
    draft.columns.append({"name": name, **kind, **missing})
    if kind["kind"] in ("flag", "category") or bins:
        taken = {feature["code"] for feature in draft.features}
        feature = {"code": _fresh(slug(name), taken), "text": _words(name), "from": name}
        draft.features.append({**feature, "bins": list(bins)} if bins else feature)
    else:
        what = "a number with one value" if kind["kind"] == "number" else f"a {kind['kind']}"
        draft.notes.append(f"{name!r}: taken for {what}, so no feature reads it")


def _are_flags(lower: NDArray[np.str_]) -> bool:
    values = {str(value).removesuffix(".0") for value in lower}
    return len(values) == 2 and values <= _FLAGS


def _is_counter(values: NDArray[np.float64]) -> bool:
    """Whether these are consecutive whole numbers, one a row: a row's name, not something measured."""
    if len(values) <= _BINS:
        return False
    return bool(values.max() - values.min() == len(values) - 1 and len(np.unique(values)) == len(values))


def _named(texts: NDArray[Any]) -> dict[str, Any]:
    """Dates, categories, or, when there are too many, identifiers."""
    values = sorted(set(texts))
    if pd.to_datetime(pd.Series(values), format="ISO8601", errors="coerce").notna().all():
        return {"kind": "date"}
    if 2 <= len(values) <= _MOST_CATEGORIES and (len(values) < len(texts) or len(texts) <= _BINS):
        return {"kind": "category", "values": values}
    return {"kind": "text"}


def _bounds(values: NDArray[np.float64]) -> tuple[float, float]:
    """Round figures at or outside the smallest and the largest value."""
    low, high = float(values.min()), float(values.max())
    step = _step(max((high - low) / 10, max(abs(low), abs(high)) * 1e-12, 1e-12))
    below, above = math.floor(low / step), math.ceil(high / step)
    while _tidy(below, step) > low:
        below -= 1
    while _tidy(above, step) < high or above == below:
        above += 1
    return _tidy(below, step), _tidy(above, step)


def _edges(values: NDArray[np.float64]) -> list[float]:
    """Inner edges near the quantiles, at round figures; between all values where there are few."""
    distinct = np.unique(values)
    if len(distinct) == 1:
        return []
    if len(distinct) <= _BINS:
        wanted = (distinct[:-1] + distinct[1:]) / 2
    else:
        wanted = np.quantile(values, np.arange(1, _BINS) / _BINS)
        wanted = np.unique([*wanted[wanted > distinct[0]], (distinct[0] + distinct[1]) / 2])
        if (values == distinct[0]).mean() < 1 / _BINS:
            wanted = wanted[1:]  # nothing piles up at the smallest value: it needs no bin of its own
    gaps = np.diff([distinct[0], *wanted, distinct[-1]])
    near = np.minimum(gaps[:-1], np.where(gaps[1:] > 0, gaps[1:], gaps[:-1]))
    seen = near > 1e-12 * max(abs(distinct[0]), abs(distinct[-1]), 1e-12)  # closer values are no different figures
    rounded = {_round(edge, _step(gap), distinct[-1]) for edge, gap in zip(wanted[seen], near[seen], strict=True)}
    return sorted(edge for edge in rounded if edge > distinct[0])


def _round(edge: float, step: float, highest: float) -> float:
    """A multiple of `step` near `edge`; not above the highest value, or its bin would be empty."""
    nearest = _tidy(round(edge / step), step)
    return nearest if nearest <= highest else _tidy(math.floor(edge / step), step)


def _step(size: float) -> float:
    """The largest of 1, 2 and 5 times a power of ten that is not above `size`."""
    power = math.floor(math.log10(size))
    return float(max((m for m in (1, 2, 5) if m * 10.0**power <= size), default=1) * 10.0**power)


def _tidy(count: int, step: float) -> float:
    """`count * step` without the last digits' noise; a whole number as an int, as a person would write it."""
    value = round(count * step, max(0, 1 - math.floor(math.log10(step))))
    return int(value) if value == int(value) else value


def _fresh(code: str, taken: set[str]) -> str:
    number = 2
    fresh = code
    while fresh in taken:
        fresh, number = f"{code[:58]}-{number}", number + 1
    return fresh


def _words(name: str) -> str:
    words = re.sub(r"[\s_.-]+", " ", re.sub(r"(?<=[a-z])(?=[A-Z])", " ", name)).strip().lower()
    return words[:1].upper() + words[1:] or name


def _render(document: dict[str, Any]) -> str:
    """TOML with the warning above, and each list on one line, as people write them."""
    text = tomli_w.dumps(document)
    one_line = re.sub(
        r"\[\n((?: {4}.*,\n)+)\]",
        lambda found: "[" + " ".join(line.strip() for line in found[1].splitlines())[:-1] + "]",
        text,
    )
    return "".join(f"# {sentence.strip()}.\n" for sentence in WARNING.rstrip(".").split(". ")) + one_line
