"""Which banded matrix correlates the noise of a run: the one whose models it disturbs least, for what it costs.

The error is the standard one of matrix factorisation: the mean square of the noise in the parameters after each round,
which are sums of velocities, averaged over rounds, times the squared sensitivity. The search begins at the banded
square root (Kalinin and Lampert 2024, with momentum), which is near the least already.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from clients.correlation import Correlation
from clients.mechanism import MICRO

_ROUND_TO = 1000  # coefficients in 1e-3: a plan that is made again, maybe on another machine, has the same ones
_LEAST = 1e-3


def correlation_for(bands: int, rounds: int, momentum: float) -> Correlation:
    """The matrix of `bands` bands, 2 at least, for so many rounds of descent with momentum."""
    from scipy.optimize import minimize  # large, and only runs with correlated noise need it

    found = minimize(
        lambda free: np.log(_mean_square(np.append(1.0, free), rounds, momentum) * (1.0 + (free**2).sum())),
        _square_root(bands, momentum)[1:],
        method="L-BFGS-B",
        bounds=[(_LEAST, 1.0)] * (bands - 1),
    ).x
    micro = np.clip(np.rint(found * (MICRO // _ROUND_TO)), 1, MICRO // _ROUND_TO).astype(int) * _ROUND_TO
    return Correlation((MICRO, *micro.tolist()))


def noise_in_parameters(correlation: Correlation | None, rounds: int, momentum: float) -> float:
    """Deviation of the noise in the parameters, as its mean square over rounds; for comparing runs of one cost.

    In units of clip * rate / (units * mu), where mu is that of all rounds together. None is independent noise with all
    units in every round.
    """
    if correlation is None:
        return float(np.sqrt(_mean_square(np.ones(1), rounds, momentum) * rounds))
    coefficients = np.array(correlation.coefficients_micro) / MICRO
    square = _mean_square(coefficients, rounds, momentum) * correlation.squared_sensitivity(rounds)
    return float(np.sqrt(square) * correlation.bands)  # the sum of a part stands for that of all units


def _mean_square(coefficients: NDArray[np.float64], rounds: int, momentum: float) -> float:
    """Of the noise in the parameters over the rounds: that of a row goes through C^-1, momentum and a sum."""
    from scipy.signal import lfilter

    impulse = np.zeros(rounds)
    impulse[0] = 1.0
    response = lfilter([1.0], coefficients, lfilter([1.0], [1.0, -momentum], lfilter([1.0], [1.0, -1.0], impulse)))
    return float(np.cumsum(response**2).mean())


def _square_root(bands: int, momentum: float) -> NDArray[np.float64]:
    """The first coefficients of 1 / sqrt((1 - x)(1 - momentum x)), none above the first."""
    k = np.arange(1, bands)
    binomials = np.cumprod(np.append(1.0, (2 * k - 1) / (2 * k)))
    product = np.convolve(binomials, binomials * momentum ** np.arange(bands))[:bands]
    return np.asarray(np.clip(product, _LEAST, 1.0))
