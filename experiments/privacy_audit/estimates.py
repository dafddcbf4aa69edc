"""From the scores of canaries to an epsilon: a fit of the Gaussian mechanism, and a bound that assumes nothing.

A canary's score is high if it was included and low if not. Both estimates say how well that can be told.
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import brentq
from scipy.special import ndtr, ndtri
from scipy.stats import binom

from clients.analytic_gaussian import gaussian_epsilon

Scores = NDArray[np.float64]
_SHARES = (0.005, 0.01, 0.02, 0.03, 0.05, 0.08, 0.12, 0.2, 0.3, 0.5, 0.75, 1.0)


@dataclass(frozen=True)
class Estimate:
    """What the scores of one run say.

    Attributes:
        mu: distance of the two means in standard deviations: the parameter of Gaussian differential privacy of all
            rounds together. Where units are sampled, of one round in which a canary takes part.
        mu_lower, mu_upper: one-sided confidence bounds of it, each by itself.
        epsilon, epsilon_lower: what `mu` and `mu_lower` are at the delta asked for.
        epsilon_steinke: a lower bound on epsilon at the same confidence that assumes nothing about the noise.
        guesses, correct: what that bound counts.
    """

    mu: float
    mu_lower: float
    mu_upper: float
    epsilon: float
    epsilon_lower: float
    epsilon_steinke: float
    guesses: int
    correct: int


def estimate(scores: Scores, included: NDArray[np.bool_], mu: float, delta: float, confidence: float) -> Estimate:
    """Both estimates of a run whose noise is that of the Gaussian mechanism.

    Args:
        scores: float64[m], one a canary; in any unit.
        included: bool[m], the auditor's coins.
        mu: what is claimed. It decides how many canaries are guessed at, and nothing else.
        confidence: of each bound by itself, between 0 and 1.
    """
    fitted, error = fit_mu(scores, included)
    reach = float(ndtri(confidence)) * error
    return Estimate(
        mu=fitted,
        mu_lower=fitted - reach,
        mu_upper=fitted + reach,
        epsilon=gaussian_epsilon(max(fitted, 0.0), delta),
        epsilon_lower=gaussian_epsilon(max(fitted - reach, 0.0), delta),
        **asdict(guess(scores, included, mu, delta, confidence)),
    )


@dataclass(frozen=True)
class Guessed:
    """See `Estimate`."""

    epsilon_steinke: float
    guesses: int
    correct: int


def guess(scores: Scores, included: NDArray[np.bool_], mu: float, delta: float, confidence: float) -> Guessed:
    """The bound that assumes nothing; arguments as `estimate`."""
    guesses = best_guesses(len(scores), round(mu, 6), delta, confidence)
    correct = correct_guesses(scores, included, guesses)
    return Guessed(steinke_epsilon(len(scores), guesses, correct, delta, confidence), guesses, correct)


def fit_mu(scores: Scores, included: NDArray[np.bool_]) -> tuple[float, float]:
    """The distance of the means over the common deviation, and its standard error.

    Each canary's score is normal with the same deviation, included or not: that is the Gaussian mechanism, whose noise
    is independent from coordinate to coordinate. The error is that of a noncentral t with many degrees of freedom.
    """
    inside, outside = scores[included], scores[~included]
    freedom = len(scores) - 2
    squares = float(((inside - inside.mean()) ** 2).sum() + ((outside - outside.mean()) ** 2).sum())
    mu = float(inside.mean() - outside.mean()) / math.sqrt(squares / freedom)
    return mu, math.sqrt(1 / len(inside) + 1 / len(outside) + mu**2 / (2 * freedom))


def correct_guesses(scores: Scores, included: NDArray[np.bool_], guesses: int) -> int:
    """How many of the `guesses` boldest guesses are right: the highest half was included, the lowest half was not."""
    order = np.argsort(scores, kind="stable")
    low, high = order[: guesses // 2], order[len(order) - (guesses - guesses // 2) :]
    return int(included[high].sum() + (~included[low]).sum())


@lru_cache(maxsize=64)
def best_guesses(canaries: int, mu: float, delta: float, confidence: float) -> int:
    """The number of guesses that is best if the claim is exact; from public figures, before any score is seen."""
    best, chosen = -1.0, canaries
    for share in _SHARES:
        guesses = max(2, round(share * canaries))
        # The score above which a share of half the guesses lies, for an even mixture of N(-mu/2, 1) and N(mu/2, 1).
        above = brentq(lambda x, s=share: (ndtr(-x - mu / 2) + ndtr(-x + mu / 2)) / 2 - s / 2, -50.0, 50.0)
        right = float(ndtr(-above + mu / 2) / (ndtr(-above - mu / 2) + ndtr(-above + mu / 2)))
        bound = steinke_epsilon(canaries, guesses, math.floor(right * guesses), delta, confidence)
        if bound > best:
            best, chosen = bound, guesses
    return chosen


def steinke_epsilon(canaries: int, guesses: int, correct: int, delta: float, confidence: float) -> float:
    """A lower bound on epsilon from one run, with the given confidence, whatever the mechanism is.

    Args:
        canaries: units whose inclusion was decided by independent fair coins.
        guesses: for how many of them a guess was made, chosen without a look at the coins.
        correct: how many guesses were right.

    Returns:
        The largest epsilon at which so many correct guesses have a probability under 1 - confidence; 0 for none.

    Source: Steinke, Nasr and Jagielski 2023 (arXiv 2305.08846), theorem 5.2 and appendix D.
    """
    level, low, high = 1.0 - confidence, 0.0, 1.0
    if steinke_probability(canaries, guesses, correct, 0.0, delta) >= level:
        return 0.0
    while steinke_probability(canaries, guesses, correct, high, delta) < level:
        low, high = high, 2 * high
    for _ in range(30):
        middle = (low + high) / 2
        if steinke_probability(canaries, guesses, correct, middle, delta) < level:
            low = middle
        else:
            high = middle
    return low


def steinke_probability(canaries: int, guesses: int, correct: int, epsilon: float, delta: float) -> float:
    """Most that the probability of so many correct guesses or more can be under (epsilon, delta)."""
    if correct == 0:
        return 1.0
    right = 1.0 / (1.0 + math.exp(-epsilon))
    beta = float(binom.sf(correct - 1, guesses, right))
    below = np.cumsum(binom.pmf(np.arange(correct - 1, -1, -1), guesses, right))
    alpha = float((below / np.arange(1, correct + 1)).max())
    return min(1.0, beta + alpha * delta * 2 * canaries)
