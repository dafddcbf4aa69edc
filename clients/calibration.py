"""How much noise a plan needs: the least whole number of millionths that keeps all its steps within epsilon."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import lru_cache
from typing import Any

from clients.composition import tightest_epsilon
from clients.mechanism import MICRO, MOST_NOISE_MICRO, Mechanism
from clients.privacy import PrivacyError, check_delta

LEAST_NOISE_MICRO = 1000
"""No account is kept of less noise than a thousandth of what one unit moves a sum by."""

_KEPT = 1e-9  # share of epsilon left unused where epsilon is exact, so that rounding elsewhere never passes the target
_KEPT_SAMPLED = 1e-6  # the same, where loss distributions are composed
_DIGITS = 50
_GRID_BITS = 12  # sampled noise is found to this many bits


@lru_cache(maxsize=256)  # sampled noise takes seconds to find, and runs ask for the same again
def noise_micro_for(epsilon: float, delta: float, sampling_micro: int, steps: int) -> int:
    """Least noise multiplier, in 1e-6, such that a whole plan costs at most `epsilon` by `tightest_epsilon`.

    Args:
        epsilon: nats that all steps together may cost, > 0.
        delta: probability of failure, 0 < delta < 1.
        sampling_micro: probability that one unit takes part in one step, in 1e-6.
        steps: number of releases in the whole plan, >= 1.

    Returns:
        A whole number, rounded up: full batch to the last digit, the same on every machine (it is decided with 50
        digits); sampled to one part in 2048 at most, in seconds.

    Raises:
        PrivacyError: a parameter is out of range, or no noise that accounts are kept for is enough.
    """
    check_delta(delta)
    if not (math.isfinite(epsilon) and epsilon > 0):
        raise PrivacyError(f"epsilon must be a positive number, not {epsilon}")
    if sampling_micro == 0 or steps == 0:
        raise PrivacyError("a plan without samples or steps needs no noise: give a sampling rate and steps above 0")
    if not _exact(MOST_NOISE_MICRO, epsilon, delta, steps):
        raise PrivacyError(f"epsilon {epsilon} at delta {delta} takes more noise than accounts are kept for")
    search = _full_batch if sampling_micro == MICRO else _sampled
    return search(epsilon, delta, sampling_micro, steps)


def _full_batch(epsilon: float, delta: float, sampling_micro: int, steps: int) -> int:
    found = _least(lambda noise_micro: _exact(noise_micro, epsilon, delta, steps))
    while tightest_epsilon([Mechanism(found, sampling_micro, steps)], delta) > epsilon:
        found += 1 + found // 10**6  # only where epsilon is so small that floating point tells more than is true
    return found


def _least(enough: Callable[[int], bool]) -> int:
    """The least noise that is enough, if the most is."""
    low, high = LEAST_NOISE_MICRO - 1, MOST_NOISE_MICRO
    while high - low > 1:
        middle = math.isqrt(low * high) if high > 2 * low else (low + high) // 2
        low, high = (low, middle) if enough(middle) else (middle, high)
    return high


def _exact(noise_micro: int, epsilon: float, delta: float, steps: int) -> bool:
    """Whether full-batch noise is enough, by the formula of `clients.analytic_gaussian`."""
    import mpmath  # seldom needed: only where plans are made

    with mpmath.workdps(_DIGITS):
        mu = mpmath.sqrt(steps) * MICRO / noise_micro
        target = mpmath.mpf(epsilon) * (1 - _KEPT)
        away = target / mu
        spent: Any = mpmath.ncdf(mu / 2 - away) - mpmath.exp(target) * mpmath.ncdf(-mu / 2 - away)
        return bool(spent <= delta)


def _sampled(epsilon: float, delta: float, sampling_micro: int, steps: int) -> int:
    target = epsilon * (1 - _KEPT_SAMPLED)

    def cost(noise_micro: int) -> float:
        return tightest_epsilon([Mechanism(noise_micro, sampling_micro, steps)], delta)

    # Sampling never costs more than none: what is enough for full batch is enough.
    high = _full_batch(target, delta, MICRO, steps)
    low, above = high, 0.0
    while (below := cost(low)) <= target:
        if low == LEAST_NOISE_MICRO:
            return low
        high, above, low = low, below, max(LEAST_NOISE_MICRO, low // 2)
    unit = max(1, high >> _GRID_BITS)
    low, high, halve = low // unit, -(-high // unit), False
    while high - low > 1:
        share = 0.5 if halve else (below - target) / (below - above)
        middle, width = min(max(low + round(share * (high - low)), low + 1), high - 1), high - low
        there = cost(middle * unit)
        if there <= target:
            high, above = middle, there
        else:
            low, below = middle, there
        halve = 2 * (high - low) > width
    return high * unit
