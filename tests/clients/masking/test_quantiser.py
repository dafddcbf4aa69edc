"""The quantiser cannot wrap, keeps its error bound, and is unbiased."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from clients.masking.errors import PlanRefused, ValueOutOfBounds
from clients.masking.quantiser import Quantiser
from clients.masking.ring import Ring

BITS = st.sampled_from([24, 32])
BOUNDS = st.floats(1e-6, 1e6, allow_nan=False)


@settings(max_examples=60)
@given(BITS, BOUNDS, st.integers(1, 255), st.integers(0, 2**32))
def test_no_cohort_can_wrap_the_sum(bits: int, bound: float, size: int, seed: int) -> None:
    quantiser, ring, rng = Quantiser(bound, size, bits), Ring(bits), np.random.default_rng(seed)
    values = rng.choice([-bound, bound, 0.0, bound / 3], size=(size, 5))
    values[:, 0], values[:, 1] = bound, -bound
    quantised = [quantiser.quantise(row, rng.random) for row in values]
    total = ring.zeros(5)
    for row in quantised:
        ring.add(total, ring.from_signed(row))
    assert np.array_equal(ring.centre(total), np.sum(quantised, axis=0))
    error = np.abs(quantiser.dequantise(ring.centre(total)) - values.sum(axis=0))
    assert np.all(error <= size * quantiser.step * (1 + 1e-9) + 1e-9 * bound)


@settings(max_examples=60)
@given(BITS, BOUNDS, st.integers(1, 255), st.integers(0, 2**32))
def test_the_error_of_one_value_is_bounded(bits: int, bound: float, size: int, seed: int) -> None:
    quantiser, rng = Quantiser(bound, size, bits), np.random.default_rng(seed)
    values = rng.uniform(-bound, bound, 50)
    slack = 1e-9 * bound
    nearest = quantiser.dequantise(quantiser.quantise(values))
    assert np.all(np.abs(nearest - values) <= quantiser.step / 2 + slack)
    rounded = quantiser.dequantise(quantiser.quantise(values, rng.random))
    assert np.all(np.abs(rounded - values) < quantiser.step + slack)


def test_stochastic_rounding_is_unbiased() -> None:
    quantiser, rng = Quantiser(1.0, 200, 24), np.random.default_rng(7)
    value, draws = 0.3 * quantiser.step, 200_000
    rounded = quantiser.quantise(np.full(draws, value), rng.random)
    assert set(rounded.tolist()) == {0, 1}
    assert abs(rounded.mean() - 0.3) < 5 * math.sqrt(0.21 / draws)
    assert not quantiser.quantise(np.full(9, value)).any()


@settings(max_examples=30)
@given(BITS, BOUNDS, st.integers(1, 255), st.integers(0, 2**32))
def test_stochastic_rounding_is_unbiased_at_every_value(bits: int, bound: float, size: int, seed: int) -> None:
    """Over all draws, taken evenly from [0, 1), the mean of each rounded value is the value: no sampling error."""
    quantiser, draws = Quantiser(bound, size, bits), 128
    values = np.random.default_rng(seed).uniform(-bound, bound, 8)
    values[0], values[1], values[2] = bound, -bound, 0.0
    rounded = [
        quantiser.quantise(values, lambda count, u=(k + 0.5) / draws: np.full(count, u))  # type: ignore[misc]
        for k in range(draws)
    ]
    exact = values * (quantiser.largest / bound)
    assert np.all(np.abs(np.mean(rounded, axis=0) - exact) <= 0.5 / draws + 1e-6)


def test_the_ends_of_the_range_never_step_outside() -> None:
    quantiser = Quantiser(0.1, 3, 24)  # 0.1 has no exact binary form
    almost_one = np.nextafter(1.0, 0.0)
    ends = np.array([0.1, -0.1])
    expected = [quantiser.largest, -quantiser.largest]
    assert quantiser.quantise(ends, lambda count: np.full(count, almost_one)).tolist() == expected
    assert quantiser.quantise(ends, np.zeros).tolist() == expected


@pytest.mark.parametrize("value", [1.0000001, -2.0, math.nan, math.inf])
def test_values_outside_the_bound_are_refused(value: float) -> None:
    with pytest.raises(ValueOutOfBounds, match=r"update: value 1 is .* clip it first"):
        Quantiser(1.0, 8, 24).quantise(np.array([0.5, value, value]))


def test_a_sum_no_cohort_can_make_is_refused() -> None:
    quantiser = Quantiser(1.0, 8, 24)
    with pytest.raises(ValueOutOfBounds, match="more than 8 firms can send"):
        quantiser.dequantise(np.array([8 * quantiser.largest + 1]))


@pytest.mark.parametrize(
    ("bound", "size", "bits", "reason"),
    [
        (1.0, 8, 16, "ring_bits"),
        (1.0, 0, 24, "cohort_size"),
        (0.0, 8, 24, "bound"),
        (-1.0, 8, 24, "bound"),
        (math.nan, 8, 24, "bound"),
        (math.inf, 8, 24, "bound"),
        (1e-320, 8, 24, "too small"),
        (1.0, 2**20, 24, "levels"),
    ],
)
def test_plans_that_could_wrap_are_refused(bound: float, size: int, bits: int, reason: str) -> None:
    with pytest.raises(PlanRefused, match=reason):
        Quantiser(bound, size, bits)
