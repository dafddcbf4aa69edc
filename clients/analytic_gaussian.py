"""Epsilon of the Gaussian mechanism, exactly: the trade-off that no accountant of the same noise can be below.

A sum that one unit moves by at most mu standard deviations of its noise is (epsilon, delta)-private if and only if

    delta >= Phi(mu / 2 - epsilon / mu) - e^epsilon Phi(-mu / 2 - epsilon / mu)

(Balle and Wang 2018, arXiv 1805.06530, theorem 8). Several of them, each chosen after the ones before, are together one
with mu^2 = the sum of theirs (Dong, Roth and Su 2019, arXiv 1905.02383, corollary 3.3; Smith and Thakurta 2022, arXiv
2210.17520, where each mu is chosen by earlier results). Needs the `math` module alone.
"""

from __future__ import annotations

import math

from clients.privacy import check_delta

_RELATIVE_ERROR = 1e-13  # of a Mills ratio below; tests compare with 60 digits
_LOG_ERROR = 1e-15
_CLOSE = 1e-13  # how far above the truth the solution may lie, in deviations or in ln delta
_LEAST = -5.0  # solutions below belong to a delta above 0.999999; they are rounded up to it
_FRACTION_FROM, _FRACTION_TERMS = 5.0, 24
_LOG_ROOT_TWO_PI = math.log(2 * math.pi) / 2


def gaussian_epsilon(mu: float, delta: float) -> float:
    """Least epsilon at `delta` of noise that one unit moves the mean of by `mu` of its standard deviations.

    Args:
        mu: what one unit moves the sum by over the noise's standard deviation, >= 0.
        delta: probability of failure, 0 < delta < 1.

    Returns:
        Epsilon in nats, never below the truth, and above it by at most 1e-8 of it, if delta is at most 0.99 and
        mu at least 1e-4; by more below.

    Raises:
        PrivacyError: delta is out of range.
    """
    check_delta(delta)
    if mu == 0:
        return 0.0
    # Solved for a = epsilon / mu - mu / 2: then nothing cancels, however large mu is.
    target, low, high = math.log(delta), max(-mu / 2, _LEAST), math.sqrt(-2 * math.log(delta))
    above = _log_delta(low, mu) - target
    if above <= 0:
        return 0.0 if low > _LEAST else _epsilon(low, mu)
    below = _log_delta(high, mu) - target
    while below > 0:  # only if rounding is larger than what is left of the tail
        high += 1.0
        below = _log_delta(high, mu) - target
    side = 0
    while high - low > _CLOSE * max(1.0, high):
        middle = high - below * (high - low) / (below - above)  # Illinois: false position that cannot stall
        if not low < middle < high:
            middle = (low + high) / 2
            if not low < middle < high:
                break
        there = _log_delta(middle, mu) - target
        if there > 0:
            low, above, below, side = middle, there, below / 2 if side > 0 else below, 1
        else:
            high, below, above, side = middle, there, above / 2 if side < 0 else above, -1
        if -_CLOSE < there <= 0:
            break
    return _epsilon(high, mu)


def _epsilon(a: float, mu: float) -> float:
    return max(0.0, mu * (a + mu / 2) + mu * (abs(a) + mu) * 4e-16)


def _log_delta(a: float, mu: float) -> float:
    """An upper bound of ln delta at epsilon = mu (a + mu / 2), a >= `_LEAST`: phi(a) (R(a) - R(a + mu)), see `_mills`.

    It is ln(Phi(-a) - e^epsilon Phi(-a - mu)), as e^epsilon phi(a + mu) = phi(a).
    """
    rest = _mills(a) * (1 + _RELATIVE_ERROR) - _mills(a + mu) * (1 - _RELATIVE_ERROR)
    return math.log(rest) - a * a / 2 * (1 - 4e-16) - _LOG_ROOT_TWO_PI + _LOG_ERROR


def _mills(x: float) -> float:
    """Mills ratio R(x) = (1 - Phi(x)) / phi(x) for x >= `_LEAST`; from 5 on by Laplace's continued fraction."""
    if x < _FRACTION_FROM:
        return math.sqrt(math.pi / 2) * math.exp(x * x / 2) * math.erfc(x / math.sqrt(2))
    tail = x
    for term in range(_FRACTION_TERMS, 0, -1):
        tail = x + term / tail
    return 1 / tail
