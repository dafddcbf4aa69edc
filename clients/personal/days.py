"""A firm's own series as days to be forecast: what its own models learn from, and what they forecast.

Unlike federated training this is under no privacy unit: windows overlap, and the series and the season are features.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from clients.tasks.calendar_features import Windows
from clients.tasks.demand import DailySeries, DemandTask

WEEKDAYS = 7
YEAR_DAYS = 365
_SEASON = 5
Floats = NDArray[np.float64]
Span = tuple[int, int]
"""First and last day, days since 1970-01-01."""


@dataclass(frozen=True)
class Days:
    """`n` days of the firm's series, each seen from an origin up to a horizon before it.

    Attributes:
        inputs: float64[n, k], the federated model's features with the base as the last column.
        season: float64[n, s], place in the horizon, day of the month, day of the week, promotion, holiday, and where
            the history is longer than a year the month from 0 and the day of the year as an angle's sine and cosine.
        series: int64[n], which of the firm's series.
        day: int64[n], days since 1970-01-01.
        scale: float64[n], the mean of the window's open days.
        base: float64[n], the ratio to it that the past alone suggests.
        federated: float64[n, q], the quantiles of the ratio that the federated model forecasts.
        median: float64[n], the one of them that is its forecast.
        ratio: float64[n], what came; without meaning for days ahead.
    """

    inputs: Floats
    season: Floats
    series: NDArray[np.int64]
    day: NDArray[np.int64]
    scale: Floats
    base: Floats
    federated: Floats
    median: Floats
    ratio: Floats

    @property
    def count(self) -> int:
        return len(self.series)

    @property
    def sold(self) -> float:
        """All that came, in the series' unit."""
        return float((self.ratio * self.scale).sum())

    def missed(self, ratio: Floats) -> float:
        """How far forecast ratios float64[n] were off, added up over the days, in the series' unit."""
        return float((np.abs(np.maximum(ratio, 0.0) - self.ratio) * self.scale).sum())

    def wape(self, ratio: Floats) -> float:
        """What was missed over what came; NaN where nothing came."""
        return self.missed(ratio) / self.sold if self.sold else float("nan")


@dataclass(frozen=True)
class OwnSeries:
    """How a firm's series become days: the same for those that are learned from and those that are forecast.

    Attributes:
        federated: the federated model's parameters.
        names: of all the firm's series, in order.
        yearly: whether the season's features reach over the year; under a year of history they would only mislead.
    """

    task: DemandTask
    federated: Floats
    names: tuple[str, ...]
    yearly: bool

    @classmethod
    def of(
        cls, task: DemandTask, series: Sequence[DailySeries], federated: Floats, days: int | None = None
    ) -> OwnSeries:
        """For the series that models are fitted to: to so many of their days, or to all."""
        history = max(int(one.day[-1]) for one in series) - min(int(one.day[0]) for one in series) + 1
        history = history if days is None else days
        return cls(task, federated, tuple(one.name for one in series), history >= YEAR_DAYS)

    def days(self, series: Sequence[DailySeries], spans: Sequence[Span], step_days: int) -> Days:
        """The open days of all windows whose future lies in one of the spans whole.

        Args:
            step_days: between the origins of two windows.
        """
        longest = self.task.series.horizon_days
        origins = np.concatenate([np.arange(first, last + 2 - longest, step_days) for first, last in spans])
        place = {name: number for number, name in enumerate(self.names)}
        parts = []
        for one in series:
            windows = self.task.windows(one, origins)
            if one.name in place and len(windows.day):
                parts.append(self._of(windows, place[one.name]))
        if not parts:
            return self._none()
        return Days(*(np.concatenate([part[column] for part in parts]) for column in range(len(parts[0]))))

    def _none(self) -> Days:
        empty, whole = np.zeros(0), np.zeros(0, dtype=np.int64)
        quantiles = np.zeros((0, len(self.task.spread)))
        inputs, season = np.zeros((0, self.task.width + 1)), np.zeros((0, _SEASON + 3 * self.yearly))
        return Days(inputs, season, whole, whole, empty, empty, quantiles, empty, empty)

    def _of(self, windows: Windows, series: int) -> tuple[NDArray[np.float64] | NDArray[np.int64], ...]:
        counted, n = windows.counted, windows.lookback
        x, base = self.task.features(windows)
        day = windows.day[:, n:]
        quantiles = self.task.ratios(self.federated, windows)[counted]
        scale = np.broadcast_to(windows.scale[:, None], counted.shape)[counted]
        known = [windows.promotion[:, n:], windows.holiday[:, n:]]
        season = [np.broadcast_to(np.arange(day.shape[1]), day.shape), *_of_month(day), (day + 3) % WEEKDAYS, *known]
        season += _of_year(day) if self.yearly else []
        return (
            np.column_stack([x[counted], base[counted]]),
            np.column_stack([one[counted].astype(np.float64) for one in season]),
            np.full(int(counted.sum()), series),
            day[counted],
            scale,
            base[counted],
            quantiles,
            quantiles[:, self.task.median],
            windows.future_value[counted] / scale,
        )


def _of_month(day: NDArray[np.int64]) -> list[NDArray[np.int64]]:
    dates = day.astype("datetime64[D]")
    return [(dates - dates.astype("datetime64[M]")).astype(np.int64)]


def _of_year(day: NDArray[np.int64]) -> list[Floats]:
    dates = day.astype("datetime64[D]")
    angle = (dates - dates.astype("datetime64[Y]")).astype(np.float64) * (2.0 * np.pi / 365.25)
    return [(dates.astype("datetime64[M]").astype(np.int64) % 12).astype(np.float64), np.sin(angle), np.cos(angle)]
