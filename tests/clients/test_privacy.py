"""Accounts: never below the truth, exactly additive, and as two other accountants say."""

from __future__ import annotations

import math
import warnings

import mpmath
import pytest
from dp_accounting import GaussianDpEvent, PoissonSampledDpEvent
from dp_accounting.rdp import RdpAccountant
from hypothesis import given, settings
from hypothesis import strategies as st
from opacus.accountants.analysis import rdp

from clients.privacy import (
    NANO,
    NOTHING,
    ORDERS,
    PrivacyError,
    add,
    check_nano_rdp,
    epsilon,
    epsilon_under_cap,
    gaussian_rdp,
)

accounts = st.lists(st.integers(0, 10**12), min_size=len(ORDERS), max_size=len(ORDERS)).map(tuple)


def exact_rdp(order: int, sigma: float, rate: float) -> mpmath.mpf:
    """Sampled Gaussian at an integer order with 60 digits (arXiv 1908.10530, equation of section 3.3)."""
    with mpmath.workdps(60):
        q, s = mpmath.mpf(rate), mpmath.mpf(sigma)
        terms = (
            mpmath.binomial(order, k) * q**k * (1 - q) ** (order - k) * mpmath.exp((k * k - k) / (2 * s**2))
            for k in range(order + 1)
        )
        return mpmath.log(mpmath.fsum(terms)) / (order - 1)


def test_the_grid_is_part_of_the_format() -> None:
    assert len(ORDERS) == 69
    assert ORDERS[:3] == (2, 3, 4)
    assert ORDERS[-6:] == (80, 96, 128, 192, 256, 512)


def test_full_batch_is_exact() -> None:
    assert gaussian_rdp(2.0, 1.0, 3) == tuple(3 * order * NANO // 8 for order in ORDERS)
    assert gaussian_rdp(3.0, 1.0, 1)[0] == 111_111_112  # 2 / 18 = 0.111111111..., rounded up


@pytest.mark.parametrize(
    ("sigma", "rate"), [(1.5, 0.043), (0.8, 0.0053), (23.6, 0.5), (4.0, 1e-6), (50.0, 1e-4), (0.6, 0.999)]
)
def test_sampled_is_never_below_the_truth_and_hardly_above(sigma: float, rate: float) -> None:
    account = gaussian_rdp(sigma, rate, 1)
    for nano, order in zip(account, ORDERS, strict=True):
        truth = exact_rdp(order, sigma, rate) * NANO
        assert truth <= nano <= truth * (1 + 1e-10) + 2 + 0.01


def test_agrees_with_the_published_figure() -> None:
    # 3.10 with Opacus's finer, fractional orders; whole orders only can cost a little more, never less.
    assert 3.10 <= epsilon(gaussian_rdp(1.5, 0.043, 400), 1e-5) <= 3.15
    assert epsilon(gaussian_rdp(23.6, 1.0, 40), 1e-5) == pytest.approx(1.093, abs=0.002)


@settings(deadline=None)
@given(sigma=st.floats(0.3, 500), steps=st.integers(1, 200), delta=st.floats(1e-12, 0.1))
def test_epsilon_is_opacus_conversion_and_above_the_second_opinion(sigma: float, steps: int, delta: float) -> None:
    ours = epsilon(gaussian_rdp(sigma, 1.0, steps), delta)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        theirs, _ = rdp.get_privacy_spent(
            orders=list(ORDERS), rdp=[order * steps / (2 * sigma**2) for order in ORDERS], delta=delta
        )
    assert ours == pytest.approx(max(float(theirs), 0.0), rel=1e-6, abs=1e-6)
    # dp-accounting takes the better of several conversions: never above ours.
    second = RdpAccountant(list(ORDERS)).compose(GaussianDpEvent(sigma), steps).get_epsilon(delta)
    assert second <= ours + 1e-9


@given(sigma=st.floats(0.3, 100), first=st.integers(0, 50), second=st.integers(0, 50))
def test_paid_round_by_round_is_the_plan_to_the_digit(sigma: float, first: int, second: int) -> None:
    whole = gaussian_rdp(sigma, 1.0, first + second)
    assert add([gaussian_rdp(sigma, 1.0, first), gaussian_rdp(sigma, 1.0, second)]) == whole
    assert add([]) == NOTHING


@given(first=accounts, second=accounts, delta=st.floats(1e-10, 0.5))
def test_more_spent_is_never_less_epsilon(first: tuple[int, ...], second: tuple[int, ...], delta: float) -> None:
    assert epsilon(add([first, second]), delta) >= epsilon(first, delta)


def test_nothing_costs_nothing() -> None:
    assert gaussian_rdp(1.0, 0.0, 10) == NOTHING
    assert gaussian_rdp(1.0, 1.0, 0) == NOTHING
    assert epsilon(NOTHING, 1e-5) == 0.0


@pytest.mark.parametrize(
    ("sigma", "rate", "steps"),
    [
        (0.0, 1.0, 1),
        (-1.0, 1.0, 1),
        (math.inf, 1.0, 1),
        (math.nan, 1.0, 1),
        (1.0, 1.1, 1),
        (1.0, math.nan, 1),
        (1, 1, -1),
    ],
)
def test_bad_parameters_are_refused_in_one_line(sigma: float, rate: float, steps: int) -> None:
    with pytest.raises(PrivacyError) as caught:
        gaussian_rdp(sigma, rate, steps)
    assert "\n" not in str(caught.value)
    assert caught.value.exit_code == 2


@pytest.mark.parametrize("bad", [(1,), (0,) * 68 + (-1,), (0,) * 68 + (1.0,), (0,) * 68 + (True,)])
def test_what_is_no_account_is_refused(bad: tuple[int, ...]) -> None:
    with pytest.raises(PrivacyError):
        check_nano_rdp(bad)


@pytest.mark.parametrize(("sigma", "rate", "steps"), [(1.5, 0.043, 400), (0.8, 0.0053, 5625), (4.0, 0.2, 50)])
def test_sampled_accounts_are_those_of_the_second_opinion(sigma: float, rate: float, steps: int) -> None:
    """At the same orders dp-accounting finds the same; it takes the better of several conversions."""
    ours = epsilon(gaussian_rdp(sigma, rate, steps), 1e-5)
    event = PoissonSampledDpEvent(rate, GaussianDpEvent(sigma))
    second = RdpAccountant(list(ORDERS)).compose(event, steps).get_epsilon(1e-5)
    assert second <= ours <= second * 1.01


@given(st.floats(0.1, 50.0), st.floats(1e-9, 1e-2), st.integers(1, 10**6))
def test_the_order_of_a_cap_lets_gaussian_accounts_through_that_the_best_order_does(
    most: float, delta: float, steps: int
) -> None:
    account = tuple(steps * one for one in gaussian_rdp(200.0, 1.0, 1))
    assert epsilon(account, delta) <= epsilon_under_cap(account, most, delta)
    if epsilon(account, delta) <= most:
        assert epsilon_under_cap(account, most, delta) <= most + 1e-6
    assert epsilon_under_cap(NOTHING, most, delta) == 0.0
