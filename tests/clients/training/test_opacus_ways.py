"""Hooks and ghost clipping give the same sums; ghost clipping is taken only where it is exact."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from clients.tasks.architecture import Architecture
from clients.tasks.examples import Examples
from clients.tasks.linear_model import LinearModel
from clients.tasks.losses import HorizonPinball, LogLoss, SmoothPinball
from clients.tasks.perceptron import Perceptron
from clients.tasks.recurrent import RecurrentModel
from clients.training import clipped_gradient_sum
from clients.training.opacus_ghost import ghost_gradient_sum, ghost_suits
from clients.training.opacus_hooks import hooked_gradient_sum

LINEAR = LinearModel(6, 1, LogLoss())
PERCEPTRON = Perceptron(6, 1, (5, 4), LogLoss())
WIDE = Perceptron(70, 1, (64, 64), LogLoss())
RECURRENT = RecurrentModel(5, 3, 4, 2, 3, 6, HorizonPinball(SmoothPinball((0.1, 0.5, 0.9), 0.05)))


def examples(architecture: Architecture, n: int, seed: int, each: int = 1) -> Examples:
    rng = np.random.default_rng(seed)
    inputs, offset = rng.normal(size=(n, architecture.inputs)), rng.normal(size=(n, architecture.outputs))
    targets = rng.integers(0, 2, n).astype(float)
    if architecture is RECURRENT:
        targets = rng.normal(size=(n, RECURRENT.future))
    return Examples(inputs, targets, offset, np.arange(n) // each, -(-n // each))


@settings(deadline=None, max_examples=15)
@given(st.sampled_from([LINEAR, PERCEPTRON]), st.integers(1, 9), st.integers(0, 2**16), st.floats(1e-3, 1e3))
def test_ghost_clipping_gives_the_sum_of_hooks(architecture: Architecture, n: int, seed: int, clip: float) -> None:
    data, parameters = examples(architecture, n, seed), np.random.default_rng(seed).normal(size=architecture.size)
    wanted = hooked_gradient_sum(architecture, parameters, data, clip)
    found = ghost_gradient_sum(architecture, parameters, data, clip)
    assert np.linalg.norm(found - wanted) <= 1e-9 * n * clip
    for unit in range(n):
        without = data.sample(np.arange(n) != unit)
        less = clipped_gradient_sum(architecture, parameters, without, clip, gradients="opacus")
        assert np.linalg.norm(found - less) <= clip * (1 + 1e-9)


def test_a_record_that_overflows_adds_nothing() -> None:
    data, parameters = examples(PERCEPTRON, 6, 1), np.random.default_rng(1).normal(size=PERCEPTRON.size)
    data.inputs[2] = 1e308
    others = ghost_gradient_sum(PERCEPTRON, parameters, data.sample(np.arange(6) != 2), 0.1)
    np.testing.assert_allclose(ghost_gradient_sum(PERCEPTRON, parameters, data, 0.1), others, rtol=1e-12)
    data.inputs[:] = 1e308
    assert not ghost_gradient_sum(PERCEPTRON, parameters, data, 0.1).any()


@pytest.mark.parametrize(
    ("architecture", "rows", "each", "suits"),
    [(WIDE, 20, 1, True), (WIDE, 20, 2, False), (LINEAR, 10, 1, False), (RECURRENT, 500, 1, False)],
    ids=["fully connected", "units of two rows", "hardly anything to write down", "sequences"],
)
def test_ghost_clipping_is_for_fully_connected_layers_and_units_of_one_example(
    architecture: Architecture, rows: int, each: int, suits: bool
) -> None:
    assert ghost_suits(architecture, examples(architecture, rows, 0, each)) is suits
