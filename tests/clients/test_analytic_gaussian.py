"""The Gaussian mechanism's epsilon: never below the truth of 60 digits, hardly above, and as published."""

from __future__ import annotations

import math

import mpmath
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from clients.analytic_gaussian import gaussian_epsilon
from clients.privacy import PrivacyError


def exact_delta(mu: float, epsilon: float) -> mpmath.mpf:
    """Balle and Wang 2018, theorem 8, with 60 digits."""
    with mpmath.workdps(60):
        m, e = mpmath.mpf(mu), mpmath.mpf(epsilon)
        return mpmath.ncdf(m / 2 - e / m) - mpmath.exp(e) * mpmath.ncdf(-m / 2 - e / m)


@settings(deadline=None, max_examples=150)
@example(log_mu=6.0, log_delta=-5.0)
@example(log_mu=-9.0, log_delta=-10.0)
@example(log_mu=-4.0, log_delta=-300.0)
@example(log_mu=1.0, log_delta=-1e-7)
@given(log_mu=st.floats(-9, 6), log_delta=st.floats(-30, -1e-4))
def test_is_never_below_the_truth_and_hardly_above(log_mu: float, log_delta: float) -> None:
    mu, delta = 10**log_mu, 10**log_delta
    ours = gaussian_epsilon(mu, delta)
    assert exact_delta(mu, ours) <= delta
    if ours > 0 and log_mu > -4 and delta < 0.99:
        assert exact_delta(mu, ours * (1 - 1e-8)) > delta
    elif ours > 0 and delta < 0.99:
        assert exact_delta(mu, ours * 0.999) > delta


@pytest.mark.parametrize(
    ("sigma", "delta", "epsilon"),
    [
        (3.730631634815942, 1e-5, 1.0),  # the authors' calibrateAnalyticGaussianMechanism
        (23.6 / math.sqrt(40), 1e-5, 1.0),  # 40 rounds at 23.6
    ],
)
def test_agrees_with_published_figures(sigma: float, delta: float, epsilon: float) -> None:
    assert gaussian_epsilon(1 / sigma, delta) == pytest.approx(epsilon, rel=3e-4)


def test_agrees_with_the_authors_to_nine_digits() -> None:
    assert gaussian_epsilon(1 / 3.730631634815942, 1e-5) == pytest.approx(1.0, rel=1e-9)


@given(mu=st.floats(1e-3, 100), more=st.floats(1.001, 3), delta=st.floats(1e-12, 0.3))
def test_more_of_a_unit_is_more_epsilon(mu: float, more: float, delta: float) -> None:
    assert gaussian_epsilon(mu * more, delta) >= gaussian_epsilon(mu, delta) >= gaussian_epsilon(mu, delta * more)


def test_what_cannot_be_told_apart_at_delta_costs_nothing() -> None:
    assert gaussian_epsilon(0.0, 1e-5) == 0.0
    assert gaussian_epsilon(2.5e-5, 1e-5) == 0.0  # 2 Phi(mu / 2) - 1 = 0.997e-5
    assert gaussian_epsilon(2.6e-5, 1e-5) > 0.0


@pytest.mark.parametrize("delta", [0.0, 1.0, -1.0, math.nan])
def test_a_delta_out_of_range_is_refused(delta: float) -> None:
    with pytest.raises(PrivacyError, match="delta must lie"):
        gaussian_epsilon(1.0, delta)
