"""What a report says of one task: its table, its plots, its firms, its privacy statement."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from markupsafe import Markup

from experiments import plots
from experiments.report_words import (
    ABSENT,
    CREDIT,
    MINUS,
    Measure,
    delta_words,
    epsilon_words,
    humanised,
    number,
    numbers,
    promise,
    setting,
    shown,
    standing,
)

MOST_FIRMS = 60
"""Firms that a table lists one by one; of more, it shows quantiles."""

_MARKS: tuple[tuple[str, str, plots.Role], ...] = (
    ("federated", "Federated", "together"),
    ("central", "All data in one place", "central"),
    ("local_mean", "A firm alone, mean", "alone"),
    ("seasonal_naive", "Seasonal naive", "naive"),
)
# Said elsewhere than in the table of figures.
_STATEMENT = ("firms", "rounds", "held_out_records", "horizon_days", "epsilon", "delta", "unit", "mode", "colluders")
_LANGUAGES = (("en", "English"), ("zh", "中文"))
_QUANTILES = ((0.0, "lowest"), (0.25, "lower quarter"), (0.5, "median"), (0.75, "upper quarter"), (1.0, "highest"))

Plot = tuple[Markup, str]
"""A drawing and its caption."""


@dataclass(frozen=True)
class TaskPart:
    """One task of a report.

    `rows` are (figure, value, note), `firms` (firm, records, alone, gain by taking part); `sampled` says that `firms`
    holds quantiles. `epsilon` and `delta` are as they are told to people, `statement` is what the release's manifest
    says of privacy: (language's code, its name, paragraphs of heading and text).
    """

    measure: Measure
    part: Mapping[str, Any]
    words: list[str]
    setting: list[str]
    rows: list[tuple[str, str, str]]
    plots: list[Plot]
    promise: list[str]
    statement: list[tuple[str, str, list[tuple[str, str]]]]
    epsilon: str
    delta: str
    firms: list[tuple[str, str, str, str]]
    sampled: bool
    records_plot: Plot | None


def task_part(measure: Measure, part: Mapping[str, Any], firms: Sequence[tuple[str, int]]) -> TaskPart:
    """Put together what the page says of a task.

    Args:
        part: the task's figures in the summary; every one may be missing.
        firms: (name, training records) in the order of the figures of the firms alone; may be empty.
    """
    alone = numbers(part.get(f"{measure.prefix}_local"))
    epsilon, delta = number(part.get("epsilon")), number(part.get("delta"))
    return TaskPart(
        measure=measure,
        part=part,
        words=standing(measure, part),
        setting=setting(measure, part),
        rows=_rows(measure, part),
        plots=_plots(measure, part, alone, [size for _, size in firms]),
        promise=promise(part),
        statement=_statement(part.get("privacy_statement")),
        epsilon=ABSENT if epsilon is None else epsilon_words(epsilon),
        delta=ABSENT if delta is None or epsilon is None else delta_words(delta),
        firms=_firms(measure, part, firms, alone),
        sampled=max(len(firms), len(alone)) > MOST_FIRMS,
        records_plot=_records_plot(measure, firms),
    )


def _statement(document: object) -> list[tuple[str, str, list[tuple[str, str]]]]:
    texts = document.get("text") if isinstance(document, Mapping) else None
    if not isinstance(texts, Mapping):
        return []
    return [
        (code, name, [(str(one["heading"]), str(one["text"])) for one in texts[code]])
        for code, name in _LANGUAGES
        if code in texts
    ]


def _rows(measure: Measure, part: Mapping[str, Any]) -> list[tuple[str, str, str]]:
    known = {key for key, _, _ in measure.rows}
    rest = [key for key in part if key not in known and key not in _STATEMENT and number(part[key]) is not None]
    rows = [(label, shown(part[key]), note) for key, label, note in measure.rows if part.get(key) is not None]
    return rows + [(humanised(key), shown(part[key]), "") for key in rest]


def _plots(measure: Measure, part: Mapping[str, Any], alone: list[float], sizes: list[int]) -> list[Plot]:
    """Every plot that the summary has the numbers for."""
    marks = [
        plots.Mark(label, value, role)
        for suffix, label, role in _MARKS
        if (value := number(part.get(f"{measure.prefix}_{suffix}"))) is not None
    ]
    drawn = [
        _comparison(measure, marks, alone, sizes),
        _curve(measure, marks, numbers(part.get("curve"))),
        _calibration(measure, _points(part.get("calibration"), 3)),
        _roc(measure, _points(part.get("roc"), 2)),
    ]
    return [plot for plot in drawn if plot is not None]


def _comparison(measure: Measure, marks: list[plots.Mark], alone: list[float], sizes: list[int]) -> Plot | None:
    if not marks:
        return None
    at = [i for i, value in enumerate(alone) if math.isfinite(value)]
    finite = [alone[i] for i in at]
    told = "; ".join(f"{mark.label} {mark.value:.4f}" for mark in marks)
    spread = f" {len(finite)} firms alone: {min(finite):.4f} to {max(finite):.4f}." if finite else ""
    if measure is not CREDIT or not finite:
        words = plots.Words(f"{measure.key}-bars", f"{measure.metric} side by side", f"{told}.{spread}")
        dots = " Each dot on the bar is one firm." if finite else ""
        return plots.bars(
            words, marks, measure.metric, finite
        ), f"{measure.metric} side by side; lower is better.{dots}"
    by_records = len(sizes) == len(alone)
    places = [sizes[i] if by_records else i + 1 for i in at]
    words = plots.Words(f"{measure.key}-firms", "Each firm alone, and all together", f"{told}.{spread}")
    drawing = plots.firms_alone(words, finite, places, marks, measure.metric, by_records=by_records)
    sample = f" ({plots.MOST_DOTS:,} of {len(finite):,} are drawn)" if len(finite) > plots.MOST_DOTS else ""
    return drawing, (
        f"Each dot is one firm{sample}: {measure.alone}. The lines are what all get together, what pooling all "
        "records would give, and the mean of the dots. Higher is better."
    )


def _curve(measure: Measure, marks: list[plots.Mark], values: list[float]) -> Plot | None:
    if not any(map(math.isfinite, values)):
        return None
    told = ", ".join(shown(value) for value in values) if len(values) <= MOST_FIRMS else f"{len(values)} rounds"
    words = plots.Words(f"{measure.key}-curve", f"{measure.metric} after each round", f"By round: {told}.")
    return plots.learning_curve(words, values, marks, measure.metric), "How good the model was after each round."


def _calibration(measure: Measure, points: list[tuple[float, ...]]) -> Plot | None:
    if not points:
        return None
    groups = [(p, o, n) for p, o, n in points]
    told = "; ".join(f"{p:.4f} given, {o:.4f} observed, {n:,.0f} applicants" for p, o, n in groups)
    words = plots.Words(f"{measure.key}-calibration", "Stated and observed default rates", f"{told}.")
    return plots.calibration(words, groups), (
        "Applicants in groups of like risk; a larger dot is more of them. On the dashed line, as many default as the "
        "model says. Below it the model is too pessimistic, above it too optimistic."
    )


def _roc(measure: Measure, points: list[tuple[float, ...]]) -> Plot | None:
    if not points:
        return None
    words = plots.Words(
        f"{measure.key}-roc", "Defaulters caught and good applicants refused", f"{len(points)} thresholds."
    )
    return plots.roc(words, [(wrong, right) for wrong, right in points]), (
        "For every threshold, how many defaulters it catches and how many good applicants it refuses. The shaded area "
        "is the AUC; the dashed line is a coin."
    )


def _points(value: object, width: int) -> list[tuple[float, ...]]:
    rows = [numbers(one) for one in value] if isinstance(value, (list, tuple)) else []
    return [tuple(row) for row in rows if len(row) == width and all(map(math.isfinite, row))]


def _firms(
    measure: Measure, part: Mapping[str, Any], firms: Sequence[tuple[str, int]], alone: list[float]
) -> list[tuple[str, str, str, str]]:
    if not firms and not alone:
        return []
    if firms and alone and len(firms) != len(alone):
        alone = []  # whose figure is whose cannot be told
    names = [name for name, _ in firms] or [f"firm-{i}" for i in range(1, len(alone) + 1)]
    sizes = [float(size) for _, size in firms] or [math.nan] * len(alone)
    own = alone or [math.nan] * len(names)
    together = number(part.get(f"{measure.prefix}_federated"))
    sign = 1 if measure.higher_is_better else -1
    gains = [math.nan if together is None else sign * (together - one) for one in own]
    if len(names) > MOST_FIRMS:
        names = [label for _, label in _QUANTILES]
        sizes, own, gains = (_quantiles(column) for column in (sizes, own, gains))
    return [
        (
            name,
            f"{size:,.0f}" if math.isfinite(size) else ABSENT,
            f"{one:.4f}" if math.isfinite(one) else ABSENT,
            f"{gain:+.4f}".replace("-", MINUS) if math.isfinite(gain) else ABSENT,
        )
        for name, size, one, gain in zip(names, sizes, own, gains, strict=True)
    ]


def _quantiles(column: list[float]) -> list[float]:
    """Of each column by itself: a row of them is no firm."""
    finite = [value for value in column if math.isfinite(value)]
    return [float(np.quantile(finite, share)) if finite else math.nan for share, _ in _QUANTILES]


def _records_plot(measure: Measure, firms: Sequence[tuple[str, int]]) -> Plot | None:
    if not firms:
        return None
    sizes = [size for _, size in firms]
    told = f"{len(sizes):,} firms with {min(sizes):,} to {max(sizes):,} records, {sum(sizes):,} in all."
    words = plots.Words(f"{measure.key}-records", "Training records of each firm", told)
    return plots.records_by_firm(words, [name for name, _ in firms], sizes), told
