"""Demand: one global quantile model of daily series, from each series' recent past and a known future.

Values are divided by the series' own mean over the lookback, so one model serves large and small series. A window
is `lookback_days` of past and `horizon_days` of future; training windows lie inside one privacy block whole, and
features never look outside their window, so removing a block changes no other unit.
"""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtri

from clients.data import Table
from clients.tasks import metrics
from clients.tasks.architecture import Architecture
from clients.tasks.calendar_features import FEATURES, MONTHS, Windows, features
from clients.tasks.examples import Examples
from clients.tasks.linear_model import LinearModel
from clients.tasks.losses import SmoothPinball
from clients.tasks.spec import Series, TaskSpec

_Scalar = TypeVar("_Scalar", bound=np.generic)
_SPREAD = 0.1  # public prior of a day's relative error: where the quantiles start


@dataclass(frozen=True)
class DailySeries:
    """One series on consecutive days; days without a record have `present` False.

    Attributes:
        day: int64[T], days since 1970-01-01, consecutive.
        value, open, promotion, holiday: float64[T]; closed days (`open` 0) are neither learned nor judged.
    """

    name: str
    day: NDArray[np.int64]
    present: NDArray[np.bool_]
    value: NDArray[np.float64]
    open: NDArray[np.float64]
    promotion: NDArray[np.float64]
    holiday: NDArray[np.float64]


class DemandTask:
    """Forecasts `horizon_days` days per series; quantiles share one linear model of `width` inputs."""

    def __init__(self, spec: TaskSpec) -> None:
        assert spec.series is not None
        self.spec = spec
        self.series: Series = spec.series
        quantiles = spec.model.quantiles
        loss = SmoothPinball(quantiles, spec.model.smoothing)
        self.width = FEATURES + MONTHS * spec.series.months
        self.architecture: Architecture = LinearModel(self.width, len(quantiles), loss)
        self._median = quantiles.index(0.5)
        self.spread = _SPREAD * ndtri(np.asarray(quantiles))

    def examples(self, table: Table) -> Examples:
        """What the model is trained on: here the single days, see `day_examples`."""
        return self.day_examples(table)

    def day_examples(self, table: Table) -> Examples:
        """Each open day ahead of each window; every block (or, for unit `series`, every series) is one unit."""
        inputs, targets, offsets, units, named = [], [], [], [], list[str]()
        for windows, unit, names in self.training_windows(table):
            x, base = self.features(windows)
            counted = windows.counted
            inputs.append(x[counted])
            targets.append((windows.future_value / windows.scale[:, None])[counted])
            offsets.append(base[counted])
            units.append(np.repeat(unit + len(named), counted.sum(axis=1)))
            named += names
        if not named:
            return self._none()
        unit = np.concatenate(units)
        order = np.argsort(unit, kind="stable")
        offset = np.concatenate(offsets)[order][:, None] + self.spread
        values, titles = np.concatenate(inputs)[order], np.array(named)
        return Examples(values, np.concatenate(targets)[order], offset, unit[order], len(named), titles)

    def training_windows(self, table: Table) -> Iterator[tuple[Windows, NDArray[np.int64], list[str]]]:
        """Of each series: its usable windows inside whole blocks, int64[w] each one's unit from 0, the units' names."""
        for series in self.daily(table):
            starts, blocks = self._training_origins(series)
            windows = self._windows(series, starts)
            kept = self._usable(windows)
            if kept.any():
                numbers, unit = np.unique(blocks[kept], return_inverse=True)
                yield windows.take(kept), unit, [f"{number} {series.name}" for number in numbers.tolist()]

    def features(self, windows: Windows) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Inputs float64[w, h, width] and base float64[w, h] of every future day, see `calendar_features`."""
        return features(windows, months=self.series.months)

    def _none(self) -> Examples:
        empty = np.zeros(0)
        offset = np.zeros((0, len(self.spread)))
        return Examples(np.zeros((0, self.width)), empty, offset, np.zeros(0, dtype=np.int64), 0)

    def set_aside(self, table: Table, share: float, seed: int) -> tuple[Table, Table]:
        """Hold out the last `test_days` days of the whole table; they come with the lookback before them.

        `share` and `seed` are not used: forecasts are judged on the future, never on a random sample.
        """
        date = table.columns[self.series.date]
        cut = date.max() - np.timedelta64(self.series.test_days - 1, "D")
        lookback = cut - np.timedelta64(self.series.lookback_days, "D")
        return table.take(date < cut), table.take(date >= lookback)

    def evaluate(self, parameters: NDArray[np.float64], held_out: Table) -> dict[str, float]:
        """WAPE of the median over open days from rolling origins, beside the seasonal-naive forecast's.

        Also `coverage`: the share of days between the lowest and the highest quantile.
        """
        actual, naive, quantiles = self.forecast(parameters, held_out)
        inside = (actual >= quantiles[:, 0]) & (actual <= quantiles[:, -1])
        return {
            "wape": metrics.wape(actual, quantiles[:, self._median]),
            "wape_seasonal_naive": metrics.wape(actual, naive),
            "coverage": float(inside.mean()),
        }

    def forecast(
        self, parameters: NDArray[np.float64], held_out: Table
    ) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
        """Forecasts of every open day of the held-out part, from origins `horizon_days` apart.

        Returns:
            actual float64[m], seasonal-naive forecast float64[m], quantiles float64[m, outputs].
        """
        actual, naive, quantiles = [], [], []
        for windows in self._test_windows(held_out):
            counted = windows.counted
            ratio = self.ratios(parameters, windows)[counted]
            scale = np.broadcast_to(windows.scale[:, None], counted.shape)[counted]
            actual.append(windows.future_value[counted])
            naive.append(windows.seasonal_naive()[counted])
            quantiles.append(ratio * scale[:, None])
        return np.concatenate(actual), np.concatenate(naive), np.concatenate(quantiles)

    def ratios(self, parameters: NDArray[np.float64], windows: Windows) -> NDArray[np.float64]:
        """float64[w, h, outputs]: the forecast quantiles of every future day over its window's scale; none below 0."""
        x, base = self.features(windows)
        flat = self.architecture.forward(parameters, x.reshape(-1, x.shape[2]))
        return np.asarray(np.maximum(flat.reshape(*base.shape, -1) + base[:, :, None] + self.spread, 0.0))

    def windows(self, series: DailySeries, origins: NDArray[np.int64]) -> Windows:
        """The usable windows of a series whose first future days are among `origins`, days since 1970-01-01."""
        windows = self._windows(series, origins)
        return windows.take(self._usable(windows))

    @property
    def median(self) -> int:
        """Which of the quantiles is the forecast itself."""
        return self._median

    def evaluation_rows(self, held_out: Table) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
        """The held-out examples themselves, for other models: inputs with the offset as a last column, ratio, scale."""
        inputs, ratios, scales = [], [], []
        for windows in self._test_windows(held_out):
            x, base = self.features(windows)
            counted = windows.counted
            scale = np.broadcast_to(windows.scale[:, None], counted.shape)[counted]
            inputs.append(np.column_stack([x[counted], base[counted]]))
            ratios.append(windows.future_value[counted] / scale)
            scales.append(scale)
        return np.concatenate(inputs), np.concatenate(ratios), np.concatenate(scales)

    def _test_windows(self, held_out: Table) -> list[Windows]:
        out = []
        last = int(held_out.columns[self.series.date].max().astype(np.int64))
        first = last - self.series.test_days + 1
        for series in self.daily(held_out):
            origins = np.arange(first, last + 2 - self.series.horizon_days, self.series.horizon_days)
            windows = self._windows(series, origins)
            usable = self._usable(windows)
            if usable.any():
                out.append(windows.take(usable))
        return out

    def daily(self, table: Table) -> list[DailySeries]:
        """Every series of the table on consecutive days, ordered by name."""
        names, inverse = np.unique(table.columns[self.series.id], return_inverse=True)
        order = np.argsort(inverse, kind="stable")
        bounds = np.searchsorted(inverse[order], np.arange(len(names) + 1))
        rows = [order[a:b] for a, b in itertools.pairwise(bounds)]
        return [self._one_series(table, str(name), index) for name, index in zip(names, rows, strict=True)]

    def _one_series(self, table: Table, name: str, index: NDArray[np.int64]) -> DailySeries:
        days = table.columns[self.series.date][index].astype(np.int64)
        first, last = int(days.min()), int(days.max())
        position = days - first

        def column(source: str | None, default: float) -> NDArray[np.float64]:
            out = np.full(last - first + 1, default)
            if source is not None:
                out[position] = np.nan_to_num(table.columns[source][index], nan=default)
            return out

        present = np.zeros(last - first + 1, dtype=bool)
        present[position] = ~np.isnan(table.columns[self.series.value][index])  # an unknown value is no zero
        value = column(self.series.value, 0.0)
        is_open = column(self.series.open, 1.0) * present
        promotion, holiday = column(self.series.promotion, 0.0), column(self.series.holiday, 0.0)
        return DailySeries(name, np.arange(first, last + 1), present, value, is_open, promotion, holiday)

    def _training_origins(self, series: DailySeries) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Origins (first forecast days) of the windows that lie inside one block whole, and their blocks.

        Block edges come from the calendar and the series' name alone, staggered over series, so no record moves
        another record's block.
        """
        first, last = int(series.day[0]), int(series.day[-1])
        lookback, horizon = self.series.lookback_days, self.series.horizon_days
        length = self.spec.privacy.block_days
        if self.spec.privacy.unit == "series" or length is None:
            origins = np.arange(first + lookback, last + 2 - horizon, self.series.window_step_days)
            return origins, np.zeros_like(origins)
        digest = hashlib.sha256(series.name.encode()).digest()
        shift = int.from_bytes(digest[:4], "big") % length
        number = np.arange((first - shift) // length, (last - shift) // length + 1)
        inner = np.arange(lookback, length - horizon + 1, self.series.window_step_days)
        origins = (number[:, None] * length + shift + inner[None, :]).ravel()
        blocks = np.repeat(number, len(inner))
        inside = (origins - lookback >= first) & (origins + horizon - 1 <= last)
        return origins[inside], blocks[inside]

    def _windows(self, series: DailySeries, origins: NDArray[np.int64]) -> Windows:
        lookback, horizon = self.series.lookback_days, self.series.horizon_days
        start = origins - int(series.day[0])
        inside = (start >= lookback) & (start + horizon <= len(series.day))
        index = start[inside][:, None] + np.arange(-lookback, horizon)[None, :]

        def at(values: NDArray[_Scalar]) -> NDArray[_Scalar]:
            return np.asarray(values[index])

        return Windows(
            lookback,
            at(series.day),
            at(series.present),
            at(series.value),
            at(series.open),
            at(series.promotion),
            at(series.holiday),
        )

    @staticmethod
    def _usable(windows: Windows) -> NDArray[np.bool_]:
        """Windows without a missing day, with at least 8 open days behind and one ahead, and something sold behind.

        Without anything sold there is no scale, and a ratio to it is not a number.
        """
        enough = (windows.past_open.sum(axis=1) >= 8) & (windows.scale > 0)
        return np.asarray(windows.present.all(axis=1) & enough & windows.counted.any(axis=1))
