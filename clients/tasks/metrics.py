"""How good a model is on records that training never saw."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def auc(targets: NDArray[np.float64], scores: NDArray[np.float64]) -> float:
    """Area under the ROC curve; 0.5 where only one class is present."""
    if len(np.unique(targets)) < 2:
        return 0.5
    from sklearn.metrics import roc_auc_score  # a second and 100 MB, which processes that measure nothing do without

    return float(roc_auc_score(targets, scores))


def brier(targets: NDArray[np.float64], pd: NDArray[np.float64]) -> float:
    """Mean squared error of the probability of default (Brier 1950)."""
    return float(np.mean((pd - targets) ** 2))


def expected_calibration_error(targets: NDArray[np.float64], pd: NDArray[np.float64], bins: int = 10) -> float:
    """ECE over `bins` groups of equally many records, ordered by predicted probability (Naeini et al. 2015)."""
    order = np.argsort(pd, kind="stable")
    gap = 0.0
    for part in np.array_split(order, bins):
        if len(part):
            gap += len(part) / len(order) * abs(float(pd[part].mean()) - float(targets[part].mean()))
    return gap


def wape(actual: NDArray[np.float64], forecast: NDArray[np.float64]) -> float:
    """Weighted absolute percentage error: sum |actual - forecast| / sum actual."""
    return float(np.abs(actual - forecast).sum() / np.abs(actual).sum())
