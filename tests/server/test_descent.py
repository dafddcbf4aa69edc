"""The server's step: momentum, averaging, and the same bytes for whoever computes it again."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from clients.model_files import FILES_WITH_MEMORY, PARAMETERS, ModelFileInvalid
from clients.plan import MICRO, Plan
from server.aggregation.group_sums import Electorate, Evidence, GroupSum, after_round, group_mean
from server.descent import Descent, mean_gradient

PLAN = Plan(
    number=1,
    rounds=10,
    spec=bytes(32),
    aggregation="masked",
    privacy="none",
    dimension=1,
    noise_micro=0,
    clip_micro=1_000_000,
    box_micro=1_000_000,
    sampling_micro=500_000,
    delta_nano=10_000,
    colluders=0,
    epoch=1,
    threshold=3,
    ring_bits=24,
    units=20,
    rate_micro=2_000_000,
    momentum_micro=500_000,
    average_from=2,
    deadline_s=60,
)

# A unit weighs 1/4, and the step divides by three units at least.
SUMMED = replace(PLAN, weighting="summed", weight_micro=250_000, least_weight_micro=750_000)


def vector(*values: float) -> Any:
    return np.array(values, dtype=np.float64)


def test_a_step_by_hand() -> None:
    # 20 units sampled with probability 1/2: the gradient is the total over 10; rate 2, momentum 1/2.
    first = Descent.start(vector(1.0, 0.0)).step(vector(10.0, -20.0), PLAN)
    assert first.parameters.tolist() == [1.0 - 2 * 1.0, 0.0 + 2 * 2.0]
    second = first.step(vector(0.0, 0.0), replace(PLAN, number=2))
    assert second.velocity.tolist() == [0.5, -1.0]
    assert second.parameters.tolist() == [-1.0 - 2 * 0.5, 4.0 + 2 * 1.0]


def test_a_firm_that_drops_out_makes_the_step_of_declared_weights_shorter_and_not_another_mean() -> None:
    """The divisor stands in the plan: the cohort's units, whoever is in the sum. Means of groups count who is."""
    half = GroupSum(vector(5.0), units=10)  # of a cohort that declares 20, with a mean gradient of 1
    everybody = Electorate("cid", bytes(16), {})
    after = after_round(Descent.start(vector(0.0)), PLAN, [half], Evidence(), everybody)
    assert after.velocity.tolist() == [0.5]
    assert group_mean(half, PLAN).gradient.tolist() == [1.0]
    assert mean_gradient(vector(5.0, 0.25 * 5), SUMMED).tolist() == [1.0]


def test_a_step_by_hand_with_weights_in_the_sum() -> None:
    # A total weight of 2 is 8 units, whatever the 20 declared and their sampling; rate 2.
    after = Descent.start(vector(1.0, 0.0)).step(vector(8.0, -16.0, 2.0), SUMMED)
    assert after.parameters.tolist() == [1.0 - 2 * 1.0, 0.0 + 2 * 2.0]
    assert after.average.size == after.velocity.size == 2


@given(st.floats(-1e12, 1e12), st.integers(0, 2**32 - 1))
def test_no_total_weight_makes_a_step_long_or_turns_it_round(weight: float, seed: int) -> None:
    total = np.append(np.random.default_rng(seed).normal(size=3), weight)
    mean = mean_gradient(total, SUMMED)
    assert np.all(mean * total[:-1] >= 0)
    assert np.all(np.abs(mean) <= np.abs(total[:-1]) / 3)
    if weight <= 0.75:
        np.testing.assert_array_equal(mean, total[:-1] / 3.0)
    else:
        np.testing.assert_allclose(mean, total[:-1] / (weight * 4), rtol=1e-12)


@given(st.integers(0, 6), st.integers(0, 2**32 - 1))
def test_the_average_is_the_mean_of_the_parameters_since_its_round(average_from: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    at, seen = Descent.start(rng.normal(size=3)), []
    seen.append(at.parameters)
    for number in range(1, 8):
        at = at.step(rng.normal(size=3), replace(PLAN, number=number, average_from=average_from))
        seen.append(at.parameters)
    np.testing.assert_allclose(at.average, np.mean(seen[average_from:], axis=0), rtol=1e-9, atol=1e-9)


def test_the_same_step_gives_the_same_bytes_and_any_other_bit_another_hash() -> None:
    rng = np.random.default_rng(3)
    start, total = Descent.start(rng.normal(size=50)), rng.normal(size=50)
    once, again = start.step(total, PLAN), Descent.from_files(start.files()).step(total.copy(), PLAN)
    assert once.files() == again.files()
    assert once.digest == again.digest
    nudged = total.copy()
    nudged[7] = np.nextafter(nudged[7] * 1e6, np.inf)
    assert start.step(nudged, PLAN).digest != once.digest


# Moments of round 1 weigh half and 1/4 of what they will.
ADAM = replace(PLAN, optimiser="adam", second_micro=750_000, floor_nano=500_000_000)


def test_a_step_of_adam_by_hand() -> None:
    first = Descent.start(vector(1.0, 0.0)).step(vector(20.0, -2.0), ADAM)
    assert first.velocity.tolist() == [1.0, -0.1]
    assert first.memory.tolist() == pytest.approx([1.0, 0.01])
    # Corrected for their start the moments are those of the gradient, (2, -0.2): the second value meets the floor.
    assert first.parameters.tolist() == pytest.approx([1.0 - 2 * 1.0, 2 * 0.2 / 0.5])
    second = first.step(vector(0.0, 0.0), replace(ADAM, number=2))
    moments = 0.5 / 0.75, 0.75 / (1 - 0.75**2)
    assert second.parameters[0] == pytest.approx(-1.0 - 2 * moments[0] / moments[1] ** 0.5)


def test_adam_takes_the_known_variance_of_the_noise_off_its_second_moments() -> None:
    plan = replace(ADAM, floor_nano=1, correction_nano=3_000_000_000, privacy="local", noise_micro=1)
    after = Descent.start(vector(0.0)).step(vector(50.0), plan)
    assert after.parameters.tolist() == pytest.approx([-2 * 5.0 / (5.0**2 - 3.0**2) ** 0.5])


def test_adams_second_moments_travel_with_the_model_and_end_with_the_run() -> None:
    once = Descent.start(vector(1.0, 0.0)).step(vector(20.0, -2.0), ADAM)
    assert sorted(once.files()) == list(FILES_WITH_MEMORY)
    assert Descent.from_files(once.files()).files() == once.files()
    again = replace(once, parameters=vector(1.0, 0.0), average=vector(1.0, 0.0)).step(vector(20.0, -2.0), ADAM)
    assert again.files() == once.files()
    assert once.step(vector(1.0, 1.0), PLAN).memory.size == 0


def test_adams_weights_are_those_of_exact_arithmetic() -> None:
    """A power of floats may differ in its last bit from one machine to another, and with it a model's hash."""
    for number in (1, 7, 60, 1000):
        plan = replace(ADAM, number=number, rounds=1000, momentum_micro=900_001, average_from=1000)
        before = replace(Descent.start(vector(0.0)), velocity=vector(0.25), memory=vector(4.0))
        exact = Fraction(900_001, MICRO) ** number
        velocity = (0.900001 * 0.25) if number > 1 else 0.0
        second = max((3.0 if number > 1 else 0.0) / float(1 - Fraction(3, 4) ** number), 0.25)
        after = before.step(vector(0.0), plan)
        assert after.parameters.tolist() == pytest.approx([-2 * velocity / float(1 - exact) / second**0.5], rel=1e-15)


def test_a_damaged_file_is_named() -> None:
    files = Descent.start(vector(1.0)).files()
    with pytest.raises(ModelFileInvalid, match=PARAMETERS):
        Descent.from_files({**files, PARAMETERS: b"nothing"})
