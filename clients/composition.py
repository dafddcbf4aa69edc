"""What several mechanisms cost one unit together: the least epsilon that is known to be sound.

Full-batch releases compose exactly. Poisson-sampled ones compose by their privacy loss distributions (Koskela, Jälkö,
Honkela 2020, arXiv 1906.03049; Doroshenko et al. 2022, arXiv 2207.04380), as dp-accounting computes them, rounded
towards more loss; add or remove one unit. What is told is never above the epsilon of the recorded Rényi accounts.
Why accounts of continuous noise hold for the integers that are released: docs/adr/0018-tight-accounting.md.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Sequence
from functools import lru_cache, reduce
from typing import Any

from clients.analytic_gaussian import gaussian_epsilon
from clients.mechanism import MICRO, Mechanism
from clients.privacy import NANO, NanoRdp, add, check_delta, epsilon

MU_SQUARED_BITS = 160
"""mu^2 is kept as a whole number of 2**-160, rounded up for each release: exactly additive, in any order."""

_MOST_SAMPLED_STEPS = 1_000_000
_MOST_LOSS = 64.0  # nats; beyond, nobody asks for the second digit
_POINTS_PER_DEVIATION = 20
_MOST_POINTS = 1 << 13


def tightest_epsilon(mechanisms: Sequence[Mechanism], delta: float) -> float:
    """Least epsilon that is known to hold for all of `mechanisms` together, on the same units, in any order.

    Args:
        mechanisms: what was released, each on whatever the results of those before led to. Their noise and rates are
            fixed beforehand where units are sampled; see `clients.cost.Total.capped_epsilon` for where they are not.
        delta: probability of failure, 0 < delta < 1.

    Returns:
        Epsilon in nats, >= 0: never below the truth. Full batch alone takes some tens of microseconds, sampling up to
        a second the first time.

    Raises:
        PrivacyError: delta is out of range, or a mechanism has less noise than accounts are kept for.
    """
    check_delta(delta)
    return _tightest(merged(mechanisms), delta)


def merged(mechanisms: Iterable[Mechanism]) -> tuple[Mechanism, ...]:
    """The same releases, each kind of them once with all its steps, in order."""
    steps: Counter[tuple[int, int]] = Counter()
    for one in mechanisms:
        steps[one.noise_micro, one.sampling_micro] += one.steps
    return tuple(Mechanism(noise, sampling, count) for (noise, sampling), count in sorted(steps.items()))


def mu_squared(full_batch: Iterable[Mechanism]) -> int:
    """The sum of steps / sigma^2, as of full-batch mechanisms, in units of 2**-`MU_SQUARED_BITS`, rounded up."""
    return sum(one.steps * _mu_squared_of_one(one.noise_micro) for one in full_batch)


@lru_cache(maxsize=1024)
def _mu_squared_of_one(noise_micro: int) -> int:
    return -(-((MICRO * MICRO) << MU_SQUARED_BITS) // (noise_micro * noise_micro))


def gaussian_mu(mechanisms: Iterable[Mechanism]) -> float:
    """How many deviations of one Gaussian's noise one unit moves it by, if all units were in every step; rounded up.

    That Gaussian tells no less than `mechanisms` together: sampling never costs more than none.
    """
    return math.sqrt(mu_squared(mechanisms) / (1 << MU_SQUARED_BITS)) * (1 + 4e-16)


@lru_cache(maxsize=4096)
def _tightest(mechanisms: tuple[Mechanism, ...], delta: float) -> float:
    full = [one for one in mechanisms if one.sampling_micro == MICRO]
    sampled = tuple(one for one in mechanisms if one.sampling_micro != MICRO)
    if not sampled:
        return gaussian_epsilon(gaussian_mu(full), delta)
    account = add(one.rdp() for one in mechanisms)
    # Sampling never costs more than none: a mixture of one unit in and out is no further from out than in is.
    known = min(epsilon(account, delta), gaussian_epsilon(gaussian_mu(mechanisms), delta))
    steps = sum(one.steps for one in sampled) + len(full)
    if not 0 < known <= _MOST_LOSS or steps > _MOST_SAMPLED_STEPS:
        return known
    return min(known, _by_loss_distribution(sampled, gaussian_mu(full), _interval(account, steps, known), delta))


def _by_loss_distribution(sampled: Sequence[Mechanism], mu: float, interval: float, delta: float) -> float:
    """Epsilon of sampled releases and a Gaussian one of `mu`, from their losses on a grid."""
    losses = [_sampled_loss(one.noise_micro, one.sampling_micro, interval).self_compose(one.steps) for one in sampled]
    if mu > 0:
        losses.append(_loss(1 / mu, interval, 1.0))
    whole = reduce(lambda one, other: one.compose(other), losses)
    # What Fourier transforms lose in composing is measured at under 1e-16 a step; the library rounds up all else.
    least = delta - (1e-12 + sum(one.steps for one in sampled) * 4e-15)
    return float(whole.get_epsilon_for_delta(least)) if least > 0 else math.inf


def _interval(account: NanoRdp, steps: int, known: float) -> float:
    """Distance of the grid of losses, a power of two: a 20th of the deviation of one step's loss.

    The account at order 2 is about the variance of the whole loss; rounding adds under a hundredth to it. Nothing is
    told to more than a part in 8192 of what is known, which keeps grids of rare but large losses small.
    """
    deviation = math.sqrt(max(account[0] / NANO, 1e-12) / steps)
    return 2.0 ** math.floor(math.log2(max(deviation / _POINTS_PER_DEVIATION, known / _MOST_POINTS)))


@lru_cache(maxsize=16)
def _sampled_loss(noise_micro: int, sampling_micro: int, interval: float) -> Any:
    one = Mechanism(noise_micro, sampling_micro)
    return _loss(one.noise_multiplier, interval, one.sampling_rate)


def _loss(sigma: float, interval: float, sampling_rate: float) -> Any:
    """The loss distribution of one release, rounded towards more loss; add or remove one unit."""
    # Imported here: it costs seconds, and full-batch training, the default, never needs it.
    from dp_accounting.pld import privacy_loss_distribution as distributions

    return distributions.from_gaussian_mechanism(
        standard_deviation=sigma,
        sampling_prob=sampling_rate,
        value_discretization_interval=interval,
        pessimistic_estimate=True,
        use_connect_dots=True,
    )
