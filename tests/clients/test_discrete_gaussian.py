"""Integer noise has exactly the distribution that the accounts are of."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from clients.discrete_gaussian import LARGEST_SIGMA, MARGIN, below, discrete_gaussian
from clients.noise import RandomStream


def probabilities(sigma: int, reach: int) -> tuple[np.ndarray, np.ndarray]:
    values = np.arange(-reach, reach + 1)
    weights = np.exp(-(values.astype(float) ** 2) / (2.0 * sigma**2))
    return values, weights / weights.sum()


@pytest.mark.parametrize("sigma", [1, 2, 3, 17, 60])
def test_small_parameters_pass_a_chi_square_test_value_by_value(sigma: int) -> None:
    count = 200_000
    drawn = discrete_gaussian(RandomStream.seeded(5, "chi", sigma), sigma, count)
    values, chances = probabilities(sigma, 12 * sigma)
    common = chances * count > 10
    found = np.array([(drawn == value).sum() for value in values[common]])
    wanted = chances[common] * count
    found, wanted = np.append(found, count - found.sum()), np.append(wanted, count - wanted.sum())
    assert stats.chisquare(found, wanted).pvalue > 0.01


@pytest.mark.parametrize("sigma", [10**4, 10**9, LARGEST_SIGMA])
def test_large_parameters_are_gaussian_down_to_the_last_digit(sigma: int) -> None:
    drawn = discrete_gaussian(RandomStream.seeded(6, "ks", sigma), sigma, 100_000)
    assert stats.kstest(drawn / sigma, "norm").pvalue > 0.01
    assert abs(drawn.var() / sigma**2 - 1) < 4 * np.sqrt(2 / 1e5)
    digits = np.bincount(np.abs(drawn) % 16, minlength=16)
    assert stats.chisquare(digits).pvalue > 0.01


@pytest.mark.parametrize("sigma", [1, 3, 17])
def test_decisions_taken_with_more_digits_are_the_same_law(sigma: int) -> None:
    """With a wide margin a large share of the decisions takes the way that one in 2**39 takes otherwise."""
    count = 8_000
    drawn = discrete_gaussian(RandomStream.seeded(7, "slow", sigma), sigma, count, margin=0.05)
    values, chances = probabilities(sigma, 12 * sigma)
    common = chances * count > 10
    found = np.array([(drawn == value).sum() for value in values[common]])
    wanted = chances[common] * count
    found, wanted = np.append(found, count - found.sum()), np.append(wanted, count - wanted.sum())
    assert stats.chisquare(found, wanted).pvalue > 0.01


@pytest.mark.parametrize("limit", [1, 2, 3, 10, 2**40 - 1])
def test_words_beyond_the_last_whole_multiple_are_left_out(limit: int) -> None:
    """With them, small offsets would come up more often than large ones."""
    whole = 2**64 // limit * limit
    edge = [0, 1, whole - 1, *range(whole, min(whole + 2, 2**64)), 2**64 - 1]
    kept = below(np.array(edge, dtype=np.uint64), limit)
    assert kept.tolist() == [word % limit for word in edge if word < whole]


@settings(max_examples=30)
@given(st.integers(1, LARGEST_SIGMA), st.integers(0, 50))
def test_any_count_of_any_parameter(sigma: int, count: int) -> None:
    drawn = discrete_gaussian(RandomStream.secure(), sigma, count)
    assert drawn.shape == (count,)
    assert drawn.dtype == np.int64
    assert count == 0 or int(np.abs(drawn).max()) < 60 * sigma


def test_a_seed_repeats_itself_and_secure_streams_do_not() -> None:
    one, other = (discrete_gaussian(RandomStream.seeded(1, "r"), 1000, 500) for _ in range(2))
    assert (one == other).all()
    assert (discrete_gaussian(RandomStream.secure(), 1000, 500) != one).any()


@pytest.mark.parametrize(("sigma", "margin"), [(0, MARGIN), (-1, MARGIN), (LARGEST_SIGMA + 1, MARGIN), (5, 2.0**-41)])
def test_what_would_not_be_exact_is_refused(sigma: int, margin: float) -> None:
    with pytest.raises(ValueError, match="must"):
        discrete_gaussian(RandomStream.secure(), sigma, 1, margin=margin)
