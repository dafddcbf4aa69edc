"""The mean of three local models of a firm's days: ridge, boosted trees and a small perceptron, all of scikit-learn.

Each learns what is left above a base: the federated forecast, which it also gets as features, or, trained without the
federation, what the past alone suggests. They are fitted anew whenever they are needed, from the newest records, in
seconds: so no model file is kept, and none in a format that could run code.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import Any

import numpy as np

from clients.personal.days import WEEKDAYS, Days, Floats

_LARGEST_REST = 1.5  # of a window's mean; what lies further off teaches nothing
_RIDGE = 3.0
_SERIES_SCALE = 0.35  # a series' own weekdays are shrunk harder than what all share
_WEEKDAY, _PROMOTION, _MONTH = 2, 3, 5  # columns of `Days.season`
_UNIT = 5.0  # the perceptron's target is near 1
_TREES = {"max_iter": 90, "learning_rate": 0.08, "max_leaf_nodes": 12, "min_samples_leaf": 30, "max_features": 0.5}
_BATCH = 256
_NETWORK = {"hidden_layer_sizes": (32,), "alpha": 1.0, "max_iter": 15, "learning_rate_init": 3e-3}


@dataclass(frozen=True)
class Ensemble:
    """A fitted ensemble; `federated` says what it stands on."""

    federated: bool
    series: int
    ridge: Any
    trees: Any
    network: Any
    centre: Floats
    spread: Floats

    @classmethod
    def fit(cls, days: Days, series: int, seed: int, *, federated: bool) -> Ensemble:
        """Fit the three models.

        Args:
            series: how many series the firm has.
            seed: of the trees' columns and the perceptron's start.
            federated: take the federated forecast as base and features.
        """
        from sklearn.ensemble import HistGradientBoostingRegressor
        from sklearn.exceptions import ConvergenceWarning
        from sklearn.linear_model import Ridge
        from sklearn.neural_network import MLPRegressor
        from threadpoolctl import threadpool_limits

        rest = np.clip(days.ratio - _base(days, federated), -_LARGEST_REST, _LARGEST_REST)
        linear = _linear(days, series, federated)
        centre, spread = linear.mean(axis=0), linear.std(axis=0) + 1e-2
        trees = HistGradientBoostingRegressor(random_state=seed, early_stopping=False, l2_regularization=5.0, **_TREES)
        with threadpool_limits(1), warnings.catch_warnings():  # more threads cost more than they bring on so few rows
            # The perceptron is stopped before it converges, on purpose; scikit-learn would say so each time.
            warnings.simplefilter("ignore", ConvergenceWarning)
            return cls(
                federated,
                series,
                Ridge(_RIDGE).fit(linear, rest),
                trees.fit(_plain(days, federated), rest),
                MLPRegressor(random_state=seed, batch_size=min(_BATCH, days.count), **_NETWORK).fit(
                    (linear - centre) / spread, rest * _UNIT
                ),
                centre,
                spread,
            )

    def ratios(self, days: Days) -> Floats:
        """float64[n]: forecast ratios."""
        if not days.count:
            return np.zeros(0)
        from threadpoolctl import threadpool_limits

        linear = _linear(days, self.series, self.federated)
        with threadpool_limits(1):
            rest = [
                self.ridge.predict(linear),
                self.trees.predict(_plain(days, self.federated)),
                self.network.predict((linear - self.centre) / self.spread) / _UNIT,
            ]
        return np.asarray(np.maximum(_base(days, self.federated) + np.mean(rest, axis=0), 0.0))


def _base(days: Days, federated: bool) -> Floats:
    return days.median if federated else days.base


def _linear(days: Days, series: int, federated: bool) -> Floats:
    """The columns of the linear model and the perceptron: the features, each series' weekdays, and the months."""
    own = np.eye(series)[days.series]
    which = days.season[:, _WEEKDAY].astype(np.int64) * 2 + (days.season[:, _PROMOTION] > 0)
    weekdays = own[:, :, None] * np.eye(2 * WEEKDAYS)[which][:, None, :] * _SERIES_SCALE
    columns = [days.inputs, own, weekdays.reshape(len(own), -1)]
    if days.season.shape[1] > _MONTH:
        columns += [days.season[:, _MONTH + 1 :], np.eye(12)[days.season[:, _MONTH].astype(np.int64)]]
    return np.column_stack([*columns, days.federated] if federated else columns)


def _plain(days: Days, federated: bool) -> Floats:
    columns = [days.inputs, days.season, days.series[:, None].astype(np.float64)]
    return np.column_stack([*columns, days.federated] if federated else columns)
