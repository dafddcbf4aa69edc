"""Canaries where each round takes a Poisson sample: fits of the noise and of the rate, and what both make of epsilon.

An included canary is in a round or not, by a coin of the firm's that nobody sees. So its sums are a mixture, of noise
alone and of noise about the clip, and first and second moments tell the rate and the noise apart.
"""

from __future__ import annotations

from dataclasses import asdict

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import brentq
from scipy.special import ndtri

from clients.analytic_gaussian import gaussian_epsilon
from clients.composition import tightest_epsilon
from clients.mechanism import MICRO, Mechanism
from experiments.privacy_audit.estimates import Estimate, guess

Sums = NDArray[np.float64]
_RESAMPLES = 400


def estimate_sampled(
    sums: Sums, included: NDArray[np.bool_], claimed: Mechanism, delta: float, confidence: float
) -> Estimate:
    """Both estimates of a run whose rounds take Poisson samples.

    The fit's bound takes the lower bounds of mu and of the rate together, each at half the risk.

    Args:
        sums: float64[rounds, canaries], the canaries' coordinates of the opened sums over the clip.
        claimed: what the plan says of one round.
    """
    rounds = len(sums)
    mu, rate = (float(one[0]) for one in _fits(sums, included, None))
    error, rate_error = (float(one.std(ddof=1)) for one in _fits(sums, included, _RESAMPLES))
    alone, both = float(ndtri(confidence)), float(ndtri(1 - (1 - confidence) / 2))
    epsilon = tightest_epsilon([claimed.times(rounds)], delta)
    equal = brentq(lambda one: gaussian_epsilon(one, delta) - epsilon, 1e-6, 100.0)  # as bold a claim without sampling
    return Estimate(
        mu=mu,
        mu_lower=mu - alone * error,
        mu_upper=mu + alone * error,
        epsilon=_epsilon(mu, rate, rounds, delta),
        epsilon_lower=_epsilon(mu - both * error, rate - both * rate_error, rounds, delta),
        **asdict(guess(_likelihood(sums, claimed), included, equal, delta, confidence)),
    )


def _fit(mean: Sums, square: Sums, variance: Sums) -> tuple[Sums, Sums]:
    """mu of one round in which a canary takes part, and the rate; 0 where nothing is seen of any.

    Args:
        mean, square: of a sum of an included canary; variance: of the noise. Arrays of one shape.
    """
    excess = square - variance
    seen = (mean > 0) & (excess > 0)
    rate = np.where(seen, np.minimum(1.0, mean**2 / np.where(seen, excess, 1.0)), 0.0)
    return np.where(seen, mean / np.where(seen, rate, 1.0) / np.sqrt(variance), 0.0), rate


def _fits(sums: Sums, included: NDArray[np.bool_], resamples: int | None) -> tuple[Sums, Sums]:
    """The fits of all canaries (None), or of so many bootstrap samples of them."""
    columns = [sums.mean(axis=0)[included], (sums**2).mean(axis=0)[included], (sums**2).mean(axis=0)[~included]]
    if resamples is None:
        return _fit(*(np.array([one.mean()]) for one in columns))
    rng = np.random.default_rng(0)
    inside, outside = (rng.multinomial(n, np.full(n, 1 / n), resamples) / n for n in (len(columns[0]), len(columns[2])))
    return _fit(inside @ columns[0], inside @ columns[1], outside @ columns[2])


def _epsilon(mu: float, rate: float, rounds: int, delta: float) -> float:
    if mu <= 1e-3 or rate * MICRO < 1:
        return 0.0
    return tightest_epsilon([Mechanism(round(MICRO / mu), min(MICRO, round(rate * MICRO)), rounds)], delta)


def _likelihood(sums: Sums, claimed: Mechanism) -> NDArray[np.float64]:
    """float64[canaries], log likelihood ratios of inclusion under what is claimed."""
    variance, rate = claimed.noise_multiplier**2, claimed.sampling_rate
    return np.asarray(np.log1p(rate * np.expm1(np.minimum((sums - 0.5) / variance, 500.0))).sum(axis=0))
