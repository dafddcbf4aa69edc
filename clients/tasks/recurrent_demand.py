"""Demand with a recurrent model: a gated recurrent unit reads each window's past, beside the future days' columns.

An example is a whole window, not a day: the unit reads the lookback once for all days of the horizon.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from clients.data import Table
from clients.tasks.calendar_features import LARGEST_RATIO, Windows
from clients.tasks.demand import DemandTask
from clients.tasks.examples import Examples
from clients.tasks.losses import HorizonPinball, SmoothPinball
from clients.tasks.recurrent import RecurrentModel
from clients.tasks.spec import TaskSpec

CHANNELS = 11  # the day's ratio less 1, open, promotion, holiday, and seven weekdays
_LEVEL_SCALE = 2.0  # ratios spread less than flags


class RecurrentDemandTask(DemandTask):
    """`DemandTask` with the model kind `gru-quantile`; windows, units, offsets and evaluation are the same."""

    def __init__(self, spec: TaskSpec) -> None:
        super().__init__(spec)
        days, quantiles = self.series, spec.model.quantiles
        self.architecture = RecurrentModel(
            past=days.lookback_days,
            channels=CHANNELS,
            future=days.horizon_days,
            columns=self.width,
            per_day=len(quantiles),
            hidden=spec.model.hidden[0],
            loss=HorizonPinball(SmoothPinball(quantiles, spec.model.smoothing)),
        )

    def examples(self, table: Table) -> Examples:
        """Each usable window: inputs as the model takes them, ratios float64[n, h], NaN on days that do not count."""
        inputs, targets, offsets, units, named = [], [], [], [], list[str]()
        for windows, unit, names in self.training_windows(table):
            rows, base = self._rows(windows)
            inputs.append(rows)
            targets.append(np.where(windows.counted, windows.future_value / windows.scale[:, None], np.nan))
            offsets.append((base[:, :, None] + self.spread).reshape(len(rows), -1))
            units.append(unit + len(named))
            named += names
        if not named:
            empty = np.zeros((0, self.series.horizon_days))
            offset, unit = np.zeros((0, self.architecture.outputs)), np.zeros(0, dtype=np.int64)
            return Examples(np.zeros((0, self.architecture.inputs)), empty, offset, unit, 0)
        unit = np.concatenate(units)
        order = np.argsort(unit, kind="stable")
        values, ratios, offset = (np.concatenate(one)[order] for one in (inputs, targets, offsets))
        return Examples(values, ratios, offset, unit[order], len(named), np.array(named))

    def ratios(self, parameters: NDArray[np.float64], windows: Windows) -> NDArray[np.float64]:
        rows, base = self._rows(windows)
        flat = self.architecture.forward(parameters, rows)
        return np.asarray(np.maximum(flat.reshape(*base.shape, -1) + base[:, :, None] + self.spread, 0.0))

    def _rows(self, windows: Windows) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """The model's inputs float64[w, inputs], and the base float64[w, h]."""
        x, base = self.features(windows)
        count = len(base)
        return np.concatenate([daily_past(windows).reshape(count, -1), x.reshape(count, -1)], axis=1), base


def daily_past(windows: Windows) -> NDArray[np.float64]:
    """float64[w, lookback, CHANNELS]: the past days of each window, on public scales; closed days have no ratio."""
    n = windows.lookback
    ratio = np.minimum(windows.value[:, :n] / np.maximum(windows.scale, 1e-9)[:, None], LARGEST_RATIO)
    level = np.where(windows.past_open, ratio - 1.0, 0.0) * _LEVEL_SCALE
    known = [one[:, :n] > 0 for one in (windows.open, windows.promotion, windows.holiday)]
    weekday = (windows.day[:, :n, None] + 3) % 7 == np.arange(7)
    return np.concatenate([np.stack([level, *known], axis=2), weekday], axis=2)
