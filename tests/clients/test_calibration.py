"""Noise for a target: enough, hardly more than that, and the same as other tools find."""

from __future__ import annotations

import math
import subprocess
import sys

import pytest
from dp_accounting import GaussianDpEvent, PoissonSampledDpEvent
from dp_accounting.pld import PLDAccountant
from hypothesis import example, given, settings
from hypothesis import strategies as st

from clients.calibration import noise_micro_for
from clients.composition import tightest_epsilon
from clients.mechanism import MICRO, Mechanism
from clients.privacy import PrivacyError, epsilon


def cost(noise_micro: int, delta: float, sampling_micro: int, steps: int) -> float:
    return tightest_epsilon([Mechanism(noise_micro, sampling_micro, steps)], delta)


@settings(deadline=None, max_examples=40)
@example(target=1e-4, delta=1e-9, steps=1)
@example(target=700.0, delta=1e-5, steps=40)
@given(target=st.floats(0.01, 50), delta=st.sampled_from([1e-9, 1e-7, 1e-5, 1e-3]), steps=st.integers(1, 10_000))
def test_full_batch_noise_is_enough_and_a_ten_millionth_less_is_not(target: float, delta: float, steps: int) -> None:
    found = noise_micro_for(target, delta, MICRO, steps)
    assert cost(found, delta, MICRO, steps) <= target
    if target > 0.001:
        assert cost(found - 2 - found // 10**7, delta, MICRO, steps) > target


def test_full_batch_noise_is_as_published_and_the_same_everywhere() -> None:
    assert noise_micro_for(1.0, 1e-5, MICRO, 1) == pytest.approx(3_730_631.634, abs=1)  # Balle and Wang's own tool
    assert noise_micro_for(1.0, 1e-5, MICRO, 40) == 23_594_587
    assert noise_micro_for(8.0, 1e-6, MICRO, 1000) == 20_647_630


@pytest.mark.parametrize(("target", "sampling_micro", "steps"), [(2.82, 43_000, 400)])
def test_sampled_noise_is_enough_and_what_another_accountant_finds(
    target: float, sampling_micro: int, steps: int
) -> None:
    found = noise_micro_for(target, 1e-5, sampling_micro, steps)
    assert target * 0.998 <= cost(found, 1e-5, sampling_micro, steps) <= target
    second = PLDAccountant().compose(
        PoissonSampledDpEvent(sampling_micro / MICRO, GaussianDpEvent(found / MICRO)), steps
    )
    assert second.get_epsilon(1e-5) == pytest.approx(target, rel=0.003)
    assert epsilon(Mechanism(found, sampling_micro, steps).rdp(), 1e-5) > target * 1.05  # what Rényi accounts say


def test_sampled_almost_always_takes_no_more_than_full_batch() -> None:
    full = noise_micro_for(1.0, 1e-5, MICRO, 10)
    found = noise_micro_for(1.0, 1e-5, MICRO - 1, 10)
    assert full * 0.99 <= found <= full * 1.001
    assert cost(found, 1e-5, MICRO - 1, 10) <= 1.0


@pytest.mark.parametrize(
    ("target", "delta", "sampling_micro", "steps"),
    [
        (-1.0, 1e-5, MICRO, 1),
        (math.nan, 1e-5, MICRO, 1),
        (1.0, 0.0, MICRO, 1),
        (1.0, 1.0, MICRO, 1),
        (1.0, 1e-5, 0, 1),
        (1.0, 1e-5, MICRO, 0),
        (1e-10, 1e-12, MICRO, 1),
    ],
)
def test_bad_targets_are_refused(target: float, delta: float, sampling_micro: int, steps: int) -> None:
    with pytest.raises(PrivacyError):
        noise_micro_for(target, delta, sampling_micro, steps)


def test_full_batch_calibration_imports_no_heavy_library() -> None:
    code = (
        "import sys; from clients.calibration import noise_micro_for; noise_micro_for(1.0, 1e-5, 10**6, 40);"
        "print({'torch', 'opacus', 'dp_accounting', 'scipy'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"
