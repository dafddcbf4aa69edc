"""What canaries' scores are taken for: against closed forms, other implementations and simulated mechanisms."""

from __future__ import annotations

import math

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.special import expit, logit

from clients.composition import tightest_epsilon
from clients.mechanism import MICRO, Mechanism
from experiments.privacy_audit.estimates import (
    best_guesses,
    correct_guesses,
    estimate,
    fit_mu,
    steinke_epsilon,
    steinke_probability,
)
from experiments.privacy_audit.sampled import estimate_sampled

MU_OF_8 = 1.6489  # (8, 1e-5)


def scores(mu: float, canaries: int, seed: int) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    rng = np.random.default_rng(seed)
    included = rng.random(canaries) < 0.5
    return rng.normal(size=canaries) + mu * included, included


@pytest.mark.parametrize("guesses", [1, 10, 500, 10_000])
@pytest.mark.parametrize("confidence", [0.9, 0.95, 0.999])
def test_guesses_that_are_all_right_bound_pure_epsilon_in_closed_form(guesses: int, confidence: float) -> None:
    # Randomised response is right with probability e^eps / (1 + e^eps); all guesses with its power.
    expected = max(0.0, float(logit((1 - confidence) ** (1 / guesses))))
    assert steinke_epsilon(guesses, guesses, guesses, 0.0, confidence) == pytest.approx(expected, abs=1e-6)


def test_delta_and_wrong_guesses_only_lower_the_bound() -> None:
    bounds = [
        steinke_epsilon(2000, 200, correct, delta, 0.95) for correct in (200, 190, 150, 100) for delta in (0.0, 1e-5)
    ]
    assert bounds == sorted(bounds, reverse=True)
    assert bounds[-1] == 0.0
    assert steinke_probability(2000, 200, 0, 1.0, 1e-5) == 1.0


def test_the_delta_term_is_that_of_the_papers_own_program() -> None:
    # Appendix D of arXiv 2305.08846, as it stands there, with a loop.
    def theirs(m: int, r: int, v: int, eps: float, delta: float) -> float:
        from scipy.stats import binom

        q = 1 / (1 + math.exp(-eps))
        beta = binom.sf(v - 1, r, q)
        alpha = total = 0.0
        for i in range(1, v + 1):
            total += binom.pmf(v - i, r, q)
            alpha = max(alpha, total / i)
        return float(min(beta + alpha * delta * 2 * m, 1.0))

    for case in ((1000, 100, 90, 1.0, 1e-5), (10_000, 500, 496, 3.5, 1e-5), (400, 400, 300, 0.5, 1e-4)):
        assert steinke_probability(*case) == pytest.approx(theirs(*case), rel=1e-9)


def test_the_bound_without_assumptions_holds_for_randomised_response() -> None:
    epsilon, rng, above = 1.0, np.random.default_rng(5), 0
    for _ in range(400):
        correct = int((rng.random(300) < expit(epsilon)).sum())
        above += steinke_probability(300, 300, correct, epsilon, 0.0) < 0.05  # then the bound at 95 % is above epsilon
    assert 5 <= above <= 33  # 5 % of 400, give or take three deviations: neither too bold nor too timid


@pytest.mark.parametrize("mu", [0.27, 1.65, 6.0])
def test_the_fit_is_right_about_its_own_error(mu: float) -> None:
    runs = [fit_mu(*scores(mu, 1000, seed)) for seed in range(400)]
    standardised = np.array([(fitted - mu) / error for fitted, error in runs])
    assert abs(standardised.mean()) < 0.2
    assert 0.9 < standardised.std() < 1.1
    assert 8 <= int((standardised > 1.645).sum()) <= 34  # lower bounds at 95 % that are above the truth


@pytest.mark.parametrize(("mu", "epsilon", "steinke"), [(0.2647, 1.0, 0.45), (0.7140, 3.0, 1.45), (MU_OF_8, 8.0, 3.4)])
def test_an_exact_mechanism_gives_what_is_known_of_ten_thousand_canaries(
    mu: float, epsilon: float, steinke: float
) -> None:
    found = [estimate(*scores(mu, 10_000, seed), mu, 1e-5, 0.95) for seed in range(8)]
    assert np.mean([one.epsilon for one in found]) == pytest.approx(epsilon, rel=0.05)
    assert np.mean([one.epsilon_steinke for one in found]) == pytest.approx(steinke, rel=0.3)
    assert all(one.mu_lower < one.mu < one.mu_upper for one in found)
    assert all(one.epsilon_lower < one.epsilon for one in found)


def test_guesses_are_the_boldest_and_their_number_is_settled_beforehand() -> None:
    values, included = np.array([3.0, -2.0, 0.1, 5.0, -0.1, -4.0]), np.array([True, False, True, False, True, False])
    assert [correct_guesses(values, included, n) for n in (2, 4, 6)] == [1, 3, 4]
    assert correct_guesses(values, included, 3) == 2  # two of the highest, one of the lowest
    assert best_guesses(10_000, 8.0, 1e-5, 0.95) > best_guesses(10_000, MU_OF_8, 1e-5, 0.95) > 100


@pytest.mark.parametrize(("noise", "rate"), [(0.8, 0.1), (1.5, 0.4)])
def test_sampled_rounds_are_told_by_their_noise_and_their_rate(noise: float, rate: float) -> None:
    claimed = Mechanism(round(noise * MICRO), round(rate * MICRO))
    found, rounds = [], 30
    for seed in range(4):
        rng = np.random.default_rng(seed)
        included = rng.random(4000) < 0.5
        joined = (rng.random((rounds, 4000)) < rate) & included
        found.append(estimate_sampled(rng.normal(size=joined.shape) * noise + joined, included, claimed, 1e-5, 0.95))
    epsilon = tightest_epsilon([claimed.times(rounds)], 1e-5)
    assert np.mean([one.mu for one in found]) == pytest.approx(1 / noise, rel=0.05)
    assert np.mean([one.epsilon for one in found]) == pytest.approx(epsilon, rel=0.1)
    assert sum(one.epsilon_lower > epsilon for one in found) <= 1
    assert all(0 < one.epsilon_steinke < epsilon for one in found)
    # The errors that it states are those that it makes.
    stated = np.mean([(one.mu - one.mu_lower) / 1.645 for one in found])
    assert np.std([one.mu for one in found]) < 3 * stated
