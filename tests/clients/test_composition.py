"""What mechanisms cost together: sound, tight, in any order, and full batch without the heavy accountants."""

from __future__ import annotations

import math
import random
import subprocess
import sys
import warnings
from fractions import Fraction

import pytest
from dp_accounting import GaussianDpEvent, PoissonSampledDpEvent
from dp_accounting.pld import PLDAccountant
from hypothesis import given, settings
from hypothesis import strategies as st
from opacus.accountants import PRVAccountant

from clients.analytic_gaussian import gaussian_epsilon
from clients.composition import MU_SQUARED_BITS, merged, mu_squared, tightest_epsilon
from clients.mechanism import MICRO, Mechanism
from clients.privacy import PrivacyError, add, epsilon

DELTA = 1e-5
full_batch = st.builds(Mechanism, st.integers(10**5, 10**9), st.just(MICRO), st.integers(1, 1000))
SAMPLED = [Mechanism(1_500_000, 43_000, 400), Mechanism(800_000, 5_300, 5_625)]


def rdp_epsilon(mechanisms: list[Mechanism], delta: float = DELTA) -> float:
    return epsilon(add(one.rdp() for one in mechanisms), delta)


@given(mechanisms=st.lists(full_batch, max_size=8), delta=st.sampled_from([1e-9, 1e-5, 1e-2]))
def test_full_batch_is_one_gaussian_in_any_order_and_never_above_renyi(
    mechanisms: list[Mechanism], delta: float
) -> None:
    ours = tightest_epsilon(mechanisms, delta)
    mu = math.sqrt(sum(Fraction(one.steps * MICRO**2, one.noise_micro**2) for one in mechanisms))
    assert ours == pytest.approx(gaussian_epsilon(mu, delta), rel=1e-9, abs=1e-12)
    assert ours >= gaussian_epsilon(mu * (1 - 1e-15), delta) * (1 - 1e-9)
    assert ours <= rdp_epsilon(mechanisms, delta)
    shuffled = random.Random(1).sample(mechanisms, len(mechanisms))
    assert tightest_epsilon(shuffled, delta) == ours


@given(mechanisms=st.lists(full_batch, min_size=1, max_size=8))
def test_mu_squared_adds_up_exactly_and_is_never_below_the_truth(mechanisms: list[Mechanism]) -> None:
    whole = mu_squared(mechanisms)
    assert whole == sum(mu_squared([one]) for one in mechanisms) == mu_squared(merged(mechanisms))
    truth = sum(Fraction(one.steps * MICRO**2, one.noise_micro**2) for one in mechanisms) * 2**MU_SQUARED_BITS
    assert truth <= whole < truth + sum(one.steps for one in mechanisms)


def test_nothing_costs_nothing() -> None:
    assert tightest_epsilon([], DELTA) == 0.0


def test_merging_puts_the_steps_of_one_kind_together() -> None:
    one, other = Mechanism(MICRO, MICRO, 2), Mechanism(MICRO, 500, 1)
    assert merged([one, other, one.times(3)]) == (other, Mechanism(MICRO, MICRO, 8))


@pytest.mark.parametrize(("mechanism", "published"), zip(SAMPLED, [2.82, 3.61], strict=True))
def test_sampling_agrees_with_two_other_accountants(mechanism: Mechanism, published: float) -> None:
    ours = tightest_epsilon([mechanism], DELTA)
    event = PoissonSampledDpEvent(mechanism.sampling_rate, GaussianDpEvent(mechanism.noise_multiplier))
    second = PLDAccountant().compose(event, mechanism.steps).get_epsilon(DELTA)
    assert second * 0.999 <= ours <= second * 1.002
    accountant = PRVAccountant()
    accountant.history = [(mechanism.noise_multiplier, mechanism.sampling_rate, mechanism.steps)]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        third = accountant.get_epsilon(DELTA)  # an upper bound too, and a looser one
    assert third * 0.98 <= ours <= third
    assert ours == pytest.approx(published, rel=0.01)
    assert ours < rdp_epsilon([mechanism]) * 0.95


def test_loss_distributions_of_unsampled_noise_are_the_exact_one() -> None:
    """What the subsampled code would say of a rate of almost 1 is what the exact formula says, to half a percent."""
    almost = [Mechanism(23_600_000, MICRO - 1, 40)]
    exact = tightest_epsilon([Mechanism(23_600_000, MICRO, 40)], DELTA)
    assert exact * 0.9999 <= tightest_epsilon(almost, DELTA) <= exact * 1.005


def test_a_mixture_is_more_than_each_and_less_than_their_sum() -> None:
    parts = [SAMPLED[0], Mechanism(23_600_000, MICRO, 40)]
    ours, alone = tightest_epsilon(parts, DELTA), [tightest_epsilon([one], DELTA) for one in parts]
    assert max(alone) < ours < sum(alone) * 0.9
    assert ours < rdp_epsilon(parts)
    assert tightest_epsilon(parts[::-1], DELTA) == ours
    halves = [Mechanism(1_500_000, 43_000, 200)] * 2 + parts[1:]
    assert tightest_epsilon(halves, DELTA) == ours


@settings(max_examples=4, deadline=None)
@given(
    noise=st.integers(800_000, 20_000_000),
    sampling=st.integers(500, 300_000),
    steps=st.integers(1, 1_000),
    delta=st.sampled_from([1e-9, 1e-6, 1e-3]),
)
def test_sampled_is_never_above_renyi_and_more_steps_are_never_less(
    noise: int, sampling: int, steps: int, delta: float
) -> None:
    once = Mechanism(noise, sampling, steps)
    ours = tightest_epsilon([once], delta)
    assert 0 <= ours <= rdp_epsilon([once], delta)
    assert ours <= tightest_epsilon([once, Mechanism(noise, sampling, steps)], delta) * (1 + 1e-6)
    assert ours <= tightest_epsilon([Mechanism(noise, MICRO, steps)], delta) * 1.01


def test_what_no_loss_distribution_is_made_for_is_told_by_renyi_accounts() -> None:
    many, loud = Mechanism(100 * MICRO, 10, 2_000_000), Mechanism(100_000, 500_000, 10)
    assert tightest_epsilon([many], DELTA) == rdp_epsilon([many])
    unsampled = tightest_epsilon([Mechanism(100_000, MICRO, 10)], DELTA)  # whichever is less: sampling never adds
    assert tightest_epsilon([loud], DELTA) == min(rdp_epsilon([loud]), unsampled) > 64
    rare = Mechanism(MICRO, 1000, 100)
    assert tightest_epsilon([rare], 1e-12) == rdp_epsilon([rare], 1e-12)  # below what the transforms can resolve


@pytest.mark.parametrize("delta", [0.0, 1.0, math.nan])
def test_a_delta_out_of_range_is_refused(delta: float) -> None:
    with pytest.raises(PrivacyError, match="delta must lie"):
        tightest_epsilon([], delta)


def test_full_batch_imports_no_heavy_library() -> None:
    code = (
        "import sys; from clients.composition import tightest_epsilon; from clients.mechanism import Mechanism;"
        "assert 0.999 < tightest_epsilon([Mechanism(23_600_000, steps=40)], 1e-5) < 1;"
        "print({'torch', 'opacus', 'dp_accounting', 'scipy', 'mpmath'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"
