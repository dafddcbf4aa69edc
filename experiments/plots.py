"""The plots of a report, as inline SVG whose colours and typeface are those of the page around them.

Matplotlib draws with stand-in colours that are then replaced by CSS variables, so that one file reads well on a light
and on a dark screen and on paper. Text stays text. The same numbers give the same bytes.
"""

from __future__ import annotations

import io
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from markupsafe import Markup, escape

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Role = Literal["together", "central", "alone", "naive"]
"""Whose figure a mark shows; each role has one colour and one kind of line throughout a report."""

MOST_DOTS = 1000
"""Firms that a plot shows one by one; of more, as many are drawn, spread evenly over the values."""
MOST_BARS = 40

# Stand-in for each CSS variable, and the colour where variables are not understood.
_INK, _MUTED, _GRID, _PAPER = "#010203", "#010204", "#010205", "#010206"
_ROLE: dict[str, str] = {"together": "#010207", "central": "#010208", "alone": "#010209", "naive": "#01020a"}
_VARIABLES = {
    _INK: "var(--ink, #17232e)",
    _MUTED: "var(--muted, #55636f)",
    _GRID: "var(--rule, #dde3e8)",
    _PAPER: "var(--paper, #ffffff)",
    _ROLE["together"]: "var(--together, #0a6c8c)",
    _ROLE["central"]: "var(--central, #a65a08)",
    _ROLE["alone"]: "var(--alone, #6b7a87)",
    _ROLE["naive"]: "var(--naive, #8d6aa8)",
}
_DASHES: dict[str, str] = {"together": "-", "central": "--", "alone": ":", "naive": "-."}
_STYLE: dict[Any, Any] = {
    "svg.fonttype": "none",
    "svg.hashsalt": "artesian",
    "text.parse_math": False,  # a dollar sign in a name is a dollar sign
    "font.family": "DejaVu Sans",
    "font.size": 9.0,
    "text.color": _INK,
    "axes.edgecolor": _MUTED,
    "axes.labelcolor": _MUTED,
    "axes.linewidth": 0.7,
    "axes.axisbelow": True,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.color": _GRID,
    "grid.linewidth": 0.7,
    "xtick.color": _MUTED,
    "ytick.color": _MUTED,
    "xtick.major.size": 0,
    "ytick.major.size": 0,
    "axes.unicode_minus": False,
}


@dataclass(frozen=True)
class Mark:
    """One named value: a reference line or a bar."""

    label: str
    value: float
    role: Role


@dataclass(frozen=True)
class Words:
    """What a plot is called and what it shows, for those who cannot see it; `name` is unique in its page."""

    name: str
    title: str
    description: str


def firms_alone(
    words: Words,
    alone: Sequence[float],
    records: Sequence[int],
    marks: Sequence[Mark],
    metric: str,
    *,
    by_records: bool = True,
) -> Markup:
    """Each firm's own model as a dot, float[n], over its training records or else its number, int[n], and lines."""

    def paint(axes: Axes) -> None:
        chosen = _evenly(alone)
        x, y = np.asarray(records)[chosen], np.asarray(alone)[chosen]
        axes.plot(x, y, "o", color=_ROLE["alone"], markersize=6, markeredgecolor=_PAPER, markeredgewidth=0.8)
        for mark in marks:
            axes.axhline(mark.value, color=_ROLE[mark.role], linestyle=_DASHES[mark.role], linewidth=1.6, zorder=1)
        if by_records:
            _sizes_axis(axes, x)
        axes.set(xlabel="training records of the firm" if by_records else "firm", ylabel=metric)
        _names_at_right(axes, marks)

    return _draw(words, 3.3, paint)


def bars(words: Words, marks: Sequence[Mark], axis: str, dots: Sequence[float] = (), digits: int = 3) -> Markup:
    """One horizontal bar for each mark; `dots` (each firm's value) lie on the bar of the role `alone`."""

    def paint(axes: Axes) -> None:
        at = np.arange(len(marks))[::-1]
        values = [mark.value for mark in marks]
        axes.barh(at, values, height=0.62, color=[_ROLE[mark.role] for mark in marks])
        for y, mark in zip(at, marks, strict=True):
            reach = max([mark.value, *(dots if mark.role == "alone" else ())])
            axes.annotate(f"{mark.value:.{digits}f}", (reach, y), (6, 0), textcoords="offset points", va="center")
            if mark.role == "alone" and len(dots):
                shown = np.asarray(dots)[_evenly(dots)]
                scattered = y + 0.4 * (
                    (np.arange(len(shown)) * 0.618) % 1 - 0.5
                )  # so that equals do not hide each other
                axes.plot(
                    shown, scattered, "o", color=_PAPER, markersize=4.5, markeredgecolor=_INK, markeredgewidth=0.8
                )
        axes.set_yticks(at, [_short(mark.label, 28) for mark in marks], color=_INK)
        axes.grid(False, axis="y")
        axes.set(xlabel=axis, xlim=(0, max([*values, *dots, 1e-9]) * 1.12))

    return _draw(words, 0.75 + 0.42 * len(marks), paint)


def intervals(words: Words, marks: Sequence[tuple[Mark, float, float]], axis: str, reference: str) -> Markup:
    """A dot for each mark with a bar from its lower to its upper end, (mark, lower, upper), beside a line at 1."""

    def paint(axes: Axes) -> None:
        at = np.arange(len(marks))[::-1]
        for y, (mark, low, high) in zip(at, marks, strict=True):
            axes.plot([low, high], [y, y], color=_ROLE[mark.role], linewidth=2.2)
            axes.plot([mark.value], [y], "o", color=_ROLE[mark.role], markersize=4.5)
        axes.axvline(1.0, color=_INK, linewidth=1, linestyle="--")
        axes.annotate(reference, (1.0, len(marks) - 0.4), (4, 0), textcoords="offset points", color=_MUTED)
        axes.set_xscale("log")
        ends = [end for _, low, high in marks for end in (low, high) if end > 0]
        low, high = min(0.7, *ends) / 1.1, max(1.4, *ends) * 1.1
        ticks = [tick for tick in (0.25, 0.5, 1, 2, 4, 8, 16, 32, 64) if low <= tick <= high]
        axes.set_xticks(ticks, [f"{tick:g}" for tick in ticks])
        axes.minorticks_off()
        axes.set_yticks(at, [_short(mark.label, 44) for mark, _, _ in marks], color=_INK)
        axes.grid(False, axis="y")
        axes.set(xlabel=axis, xlim=(low, high), ylim=(-0.6, len(marks) - 0.1))

    return _draw(words, 0.9 + 0.23 * len(marks), paint)


def learning_curve(words: Words, values: Sequence[float], marks: Sequence[Mark], metric: str) -> Markup:
    """The metric after each round (float[rounds]), with reference lines."""

    from matplotlib.ticker import MaxNLocator

    def paint(axes: Axes) -> None:
        rounds = np.arange(1, len(values) + 1)
        for mark in marks:
            if mark.role != "together":
                axes.axhline(mark.value, color=_ROLE[mark.role], linestyle=_DASHES[mark.role], linewidth=1.4)
        dot = "o" if len(values) <= 40 else ""
        axes.plot(rounds, values, marker=dot, color=_ROLE["together"], linewidth=1.8, markersize=3.5)
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.set(xlabel="round", ylabel=metric, xlim=(0.5, len(values) + 0.5))
        last = next((i for i in reversed(range(len(values))) if np.isfinite(values[i])), None)
        end = [] if last is None else [Mark("Federated", values[last], "together")]
        _names_at_right(axes, [*end, *(mark for mark in marks if mark.role != "together")])

    return _draw(words, 3.0, paint)


def calibration(words: Words, points: Sequence[tuple[float, float, float]]) -> Markup:
    """Predicted against observed share of defaults, (predicted, observed, count) for each group of applicants."""

    def paint(axes: Axes) -> None:
        predicted, observed, count = np.asarray(points, dtype=float).T
        top = min(1.0, max(0.05, 1.1 * float(np.nanmax([predicted, observed]))))
        axes.plot([0, top], [0, top], color=_MUTED, linewidth=1, linestyle="--")
        axes.annotate("given = observed", (top, top), (-24, -2), textcoords="offset points", ha="right", color=_MUTED)
        area = 18 + 160 * count / max(count.max(), 1)
        axes.plot(predicted, observed, color=_ROLE["together"], linewidth=1.2)
        axes.scatter(predicted, observed, s=area, color=_ROLE["together"], edgecolor=_PAPER, zorder=3)
        axes.set(xlabel="probability of default that the model gives", ylabel="share that defaulted")
        axes.set(xlim=(0, top * 1.03), ylim=(0, top * 1.03))

    return _draw(words, 3.5, paint, width_in=5.4)


def roc(words: Words, points: Sequence[tuple[float, float]]) -> Markup:
    """Share of defaulters caught over share of good applicants turned away, (false, true positive rate)."""

    def paint(axes: Axes) -> None:
        wrong, right = np.asarray(points, dtype=float).T
        axes.plot([0, 1], [0, 1], color=_MUTED, linewidth=1, linestyle="--")
        axes.plot(wrong, right, color=_ROLE["together"], linewidth=1.8)
        axes.fill_between(wrong, 0, right, color=_ROLE["together"], alpha=0.10, linewidth=0)
        axes.set(xlabel="good applicants turned away (share)", ylabel="defaulters caught (share)")
        axes.set(xlim=(0, 1), ylim=(0, 1.02))

    return _draw(words, 3.5, paint, width_in=5.4)


def records_by_firm(words: Words, names: Sequence[str], records: Sequence[int]) -> Markup:
    """Training records of each firm; of more than `MOST_BARS` firms, how many have how many."""

    def paint(axes: Axes) -> None:
        if len(records) <= MOST_BARS:
            axes.bar(np.arange(len(records)), records, width=0.66, color=_ROLE["alone"])
            lean = len(names) > 10 or max(map(len, names)) > 10
            axes.set_xticks(np.arange(len(names)), [_short(name) for name in names])
            axes.tick_params(axis="x", labelrotation=60 if lean else 0)
            axes.yaxis.set_major_formatter("{x:,.0f}")
            axes.set(ylabel="training records")
            if len(records) <= 16:
                for x, many in enumerate(records):
                    axes.annotate(f"{many:,}", (x, many), (0, 3), textcoords="offset points", ha="center")
        else:
            axes.hist(records, bins=30, color=_ROLE["alone"], edgecolor=_PAPER, linewidth=0.5)
            axes.set(xlabel="training records of a firm", ylabel="firms")
        axes.grid(False, axis="x")

    return _draw(words, 2.8, paint)


def _draw(words: Words, height_in: float, paint: Callable[[Axes], None], width_in: float = 6.2) -> Markup:
    # Imported here: it costs half a second, and a report is the only thing that needs it. Without pyplot there is no
    # global state and no display.
    from matplotlib import rc_context
    from matplotlib.backends.backend_svg import FigureCanvasSVG
    from matplotlib.figure import Figure

    with rc_context(_STYLE):
        figure = Figure(figsize=(width_in, height_in), layout="constrained")
        FigureCanvasSVG(figure)
        paint(figure.add_subplot())
        raw = io.StringIO()
        figure.savefig(raw, format="svg", transparent=True, metadata={"Date": None, "Creator": None})
    return _inline(raw.getvalue(), words)


def _inline(svg: str, words: Words) -> Markup:
    """Only the drawing: no document type, no metadata, no style sheet, no addresses; identifiers unique in the page."""
    body = svg[svg.index(">", svg.index("<svg")) + 1 : svg.rindex("</svg>")]
    body = re.sub(r"<metadata>.*?</metadata>|<style.*?</style>|<!--.*?-->", "", body, flags=re.DOTALL)
    # Inside tags alone: a text that looks like a colour or an identifier stays as it is.
    body = re.sub(r"<[^<>]*>", lambda tag: _of_the_page(tag[0], words.name), body)
    box = re.search(r'viewBox="[^"]*"', svg)
    assert box is not None
    head = f'<svg {box[0]} role="img" aria-labelledby="{words.name}-title {words.name}-desc">'
    title = f'<title id="{words.name}-title">{escape(words.title)}</title>'
    described = f'<desc id="{words.name}-desc">{escape(words.description)}</desc>'
    return Markup(f"{head}{title}{described}{body.strip()}</svg>")  # ours, and all its texts are escaped


def _of_the_page(tag: str, name: str) -> str:
    tag = re.sub(r'( id="|url\(#|href="#)', rf"\g<1>{name}-", tag)
    tag = re.sub(r"font-family: [^;\"]*;? ?", "", tag)
    tag = re.sub(
        r"font: (?:(\d+) )?([\d.]+px)[^;\"]*", lambda font: f"font-size: {font[2]}; font-weight: {font[1] or 400}", tag
    )
    for stand_in, variable in _VARIABLES.items():
        tag = tag.replace(stand_in, variable)
    return tag


def _evenly(values: Sequence[float]) -> np.ndarray[tuple[int], np.dtype[np.intp]]:
    """Which values to draw: all, or `MOST_DOTS` evenly spread over their order."""
    order = np.argsort(values, kind="stable")
    if len(order) <= MOST_DOTS:
        return order
    return order[np.linspace(0, len(order) - 1, MOST_DOTS).astype(np.intp)]


def _sizes_axis(axes: Axes, sizes: np.ndarray[tuple[int], np.dtype[np.generic]]) -> None:
    """A logarithmic axis with plain numbers where sizes differ by more than five times."""
    low, high = max(1.0, float(sizes.min())), max(1.0, float(sizes.max()))
    if high / low <= 5:
        axes.margins(x=0.08)
        return
    axes.set_xscale("log")
    axes.set_xlim(low / 1.25, high * 1.25)
    steps = [first * 10.0**power for power in range(10) for first in (1, 2, 5)]
    ticks = [step for step in steps if low / 1.25 <= step <= high * 1.25]
    axes.set_xticks(ticks, [f"{tick:,.0f}" for tick in ticks])
    axes.minorticks_off()


def _names_at_right(axes: Axes, marks: Sequence[Mark]) -> None:
    """Each line's name and value beside its end, pushed apart where they would cover each other."""
    low, high = axes.get_ylim()
    ordered = sorted((mark for mark in marks if np.isfinite(mark.value)), key=lambda mark: mark.value)
    heights = np.array([(mark.value - low) / (high - low) for mark in ordered])
    placed = heights.copy()
    for i in range(1, len(placed)):
        placed[i] = max(placed[i], placed[i - 1] + 0.085)
    if len(placed):
        placed -= np.mean(placed - heights)
    for mark, height in zip(ordered, placed, strict=True):
        axes.annotate(
            f"{mark.label} {mark.value:.3f}",
            (1.015, float(height)),
            xycoords="axes fraction",
            va="center",
            color=_ROLE[mark.role],
            fontweight="bold" if mark.role == "together" else "normal",
        )


def _short(name: str, longest: int = 18) -> str:
    return name if len(name) <= longest else name[: longest - 1] + "…"
