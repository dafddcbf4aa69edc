"""What an opened measurement says: figures with an error from its noise, which is known, and from nothing else.

Everything here is computed from a sum that was paid for, so it costs nothing more. The error is 1.96 deviations of a
figure when noise of the same size is added once more; the chance of which units there are is not in it. Where noise
makes a figure larger on average (a distance, a largest difference), `noise_floor` says by about how much.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from clients.measuring.statistic import Statistic, score_centres

Floats = NDArray[np.float64]
Curve = Callable[[Floats], Floats]
"""A figure of float64[draws, size] counts: float64[draws], NaN where it cannot be told."""
_DRAWS = 400
_PSI_LEAST = 0.5  # a bin counts as half a unit at least: logarithms need some


@dataclass(frozen=True)
class Counts:
    """An opened sum in counts.

    Attributes:
        values: float64[size].
        noise: deviation of the noise in each of them; 0 without privacy.
    """

    values: Floats
    noise: float

    @classmethod
    def of(cls, document: Mapping[str, Any]) -> Self:
        """The counts that a measurement's document holds."""
        return cls(np.array(document["counts"], dtype=np.float64), float(document["noise"]))

    def noisier(self) -> Floats:
        """float64[draws, size]: the counts with the noise once more, the same draws each time."""
        rng = np.random.Generator(np.random.PCG64(20260101))
        return self.values + self.noise * rng.standard_normal((_DRAWS, self.values.size))


def figures(statistic: Statistic, demand: bool, bins: int, counts: Counts) -> dict[str, Any]:
    """All that a measurement says, for JSON.

    Args:
        demand: it is of a demand task.
        bins: score bins, where there are any.
    """
    if statistic.what == "units":
        return {"units": _figure(lambda x: x[:, 0], counts)}
    if statistic.what == "columns":
        return {"units": _units_of_columns(statistic, counts), "columns": _columns(statistic, counts)}
    if demand:
        return {name: _figure(curve, counts) for name, curve in _DEMAND.items()}
    if statistic.what == "evaluation":
        return _scores(counts, bins)
    ((column, values),) = statistic.labels
    parts = np.split(counts.values, len(values))
    groups = {value: _scores(Counts(part, counts.noise), bins) for value, part in zip(values, parts, strict=True)}
    return {"column": column, "groups": groups}


def drift(now: Counts, before: Counts, statistic: Statistic) -> dict[str, Any]:
    """The population stability index of every feature between two measurements of the columns.

    `noise_floor` is the 95 % point of the index when nothing has changed: both shares are what both say together, with
    the noise of each and the chance of a sample of that size. Below it there is nothing to see.
    """
    out, rng = {}, np.random.Generator(np.random.PCG64(20260102))
    for (code, labels), start in zip(statistic.labels, _starts(statistic), strict=True):
        part = slice(start, start + len(labels))
        first, second = before.values[part], now.values[part]
        together = np.maximum(first + second, 0.0)
        share = together / max(float(together.sum()), 1.0)
        draws = []
        for one, noise in ((first, before.noise), (second, now.noise)):
            expected = share * max(float(one.sum()), 1.0)
            spread = np.sqrt(noise**2 + expected)
            draws.append(expected + spread * rng.standard_normal((_DRAWS, len(labels))))
        out[code] = {
            "psi": round(float(_psi(first[None], second[None])[0]), 6),
            "noise_floor": round(float(np.quantile(_psi(*draws), 0.95)), 6),
        }
    return out


def _psi(first: Floats, second: Floats) -> Floats:
    p, q = (np.maximum(one, _PSI_LEAST) for one in (first, second))
    p, q = p / p.sum(axis=1, keepdims=True), q / q.sum(axis=1, keepdims=True)
    return np.asarray(((p - q) * np.log(p / q)).sum(axis=1))


def _figure(curve: Curve, counts: Counts, *, inflated: bool = False) -> dict[str, float | None]:
    value = float(curve(counts.values[None])[0])
    drawn = curve(counts.noisier()) if counts.noise else np.full(1, value)
    sure = math.isfinite(value) and bool(np.isfinite(drawn).all())
    out: dict[str, float | None] = {
        "value": round(value, 6) if sure else None,
        "plus_minus": round(1.96 * float(drawn.std()), 6) if sure else None,
    }
    if inflated:
        out["noise_floor"] = round(max(float(drawn.mean()) - value, 0.0), 6) if sure else None
    return out


def _scores(counts: Counts, bins: int) -> dict[str, Any]:
    """Of a histogram of scores by outcome: paid first, then defaulted."""
    centres = np.array(score_centres(bins))

    def of(curve: Callable[[Floats, Floats], Floats]) -> Curve:
        return lambda x: curve(x[:, :bins], x[:, bins:])

    def auc(paid: Floats, defaulted: Floats) -> Floats:
        lower = np.cumsum(paid, axis=1) - paid / 2.0
        return _ratio((lower * defaulted).sum(axis=1), paid.sum(axis=1) * defaulted.sum(axis=1))

    def ks(paid: Floats, defaulted: Floats) -> Floats:
        shares = [_ratio(np.cumsum(one, axis=1), one.sum(axis=1)[:, None]) for one in (paid, defaulted)]
        return np.asarray(np.abs(shares[0] - shares[1]).max(axis=1))

    def ece(paid: Floats, defaulted: Floats) -> Floats:
        gap = np.abs(defaulted - centres * (paid + defaulted)).sum(axis=1)
        return _ratio(gap, (paid + defaulted).sum(axis=1))

    def mean_score(paid: Floats, defaulted: Floats) -> Floats:
        return _ratio(((paid + defaulted) * centres).sum(axis=1), (paid + defaulted).sum(axis=1))

    def rate(paid: Floats, defaulted: Floats) -> Floats:
        return _ratio(defaulted.sum(axis=1), (paid + defaulted).sum(axis=1))

    return {
        "units": _figure(lambda x: x.sum(axis=1), counts),
        "default_rate": _figure(of(rate), counts),
        "mean_score": _figure(of(mean_score), counts),
        "auc": _figure(of(auc), counts),
        "ks": _figure(of(ks), counts, inflated=True),
        "ece": _figure(of(ece), counts, inflated=True),
    }


def _ratio(above: Floats, below: Floats) -> Floats:
    """NaN where there is nothing, or less, to divide by."""
    return np.asarray(np.divide(above, np.where(below > 0, below, np.nan)))


# A unit's parts are scaled so that each is between 0 and 1, see `clients.measuring.vectors`.
_DEMAND: Mapping[str, Curve] = {
    "units": lambda x: x[:, 4],
    "wape": lambda x: _ratio(x[:, 0], 4.0 * x[:, 2]),
    "wape_baseline": lambda x: _ratio(x[:, 1], 4.0 * x[:, 2]),
    "coverage": lambda x: _ratio(x[:, 3], x[:, 4]),
}


def _starts(statistic: Statistic) -> list[int]:
    widths = [len(labels) for _, labels in statistic.labels]
    return [sum(widths[:place]) for place in range(len(widths))]


def _units_of_columns(statistic: Statistic, counts: Counts) -> dict[str, float | None]:
    """Every feature counts all units: their mean has less noise than each."""
    return _figure(lambda x: x.sum(axis=1) / len(statistic.labels), counts)


def _columns(statistic: Statistic, counts: Counts) -> dict[str, Any]:
    out: dict[str, Any] = {}
    for (code, labels), start in zip(statistic.labels, _starts(statistic), strict=True):
        values = counts.values[start : start + len(labels)]
        out[code] = [{"bin": one, "units": round(float(value), 3)} for one, value in zip(labels, values, strict=True)]
    return out
