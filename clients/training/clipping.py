"""How far a unit's gradient is scaled down, and what becomes of one that is not a number."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

HAIR = 1e-9
"""Share by which every clip is rounded down, so that floating point cannot leave a clipped norm above it."""


def clip_factors(norms: NDArray[np.float64], clip: float) -> NDArray[np.float64]:
    return np.minimum(1.0, clip * (1.0 - HAIR) / np.maximum(norms, 1e-300))


def only_finite(gradients: NDArray[np.float64]) -> NDArray[np.float64]:
    """Zero the rows [n, ...] that hold a value that is not finite.

    A parent model chosen to overflow on one kind of record would otherwise spoil the whole sum, and the firm's failure
    to answer would tell, without any noise, that it has such a record.
    """
    finite = np.isfinite(gradients).all(axis=tuple(range(1, gradients.ndim)))
    return gradients if finite.all() else np.where(finite.reshape(-1, *[1] * (gradients.ndim - 1)), gradients, 0.0)
