"""Means of a few seeds, and how far they can be trusted: 95 % confidence intervals by Student's t."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

LEVEL = 0.95


def mean_and_half_width(values: Sequence[float]) -> tuple[float, float]:
    """Mean, and half the width of its interval; infinite for a single value."""
    from scipy.stats import t

    array = np.asarray(values, dtype=np.float64)
    if len(array) < 2:
        return float(array.mean()), float("inf")
    spread = array.std(ddof=1) / np.sqrt(len(array))
    return float(array.mean()), float(t.ppf((1 + LEVEL) / 2, len(array) - 1) * spread)


def share_and_half_width(parts: Sequence[float], wholes: Sequence[float]) -> tuple[float, float]:
    """The ratio of two paired means, and half the width of its interval, linearised (Cochran 1977, section 6.4)."""
    part, whole = np.asarray(parts, dtype=np.float64), np.asarray(wholes, dtype=np.float64)
    share = float(part.mean() / whole.mean())
    _, half = mean_and_half_width(list(part - share * whole))
    return share, half / abs(float(whole.mean()))
