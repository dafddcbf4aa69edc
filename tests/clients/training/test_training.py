"""Clipped sums against slow loops of automatic differentiation."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy import sparse

from clients.noise import RandomStream
from clients.tasks.architecture import Architecture
from clients.tasks.examples import Examples
from clients.tasks.linear_model import LinearModel
from clients.tasks.losses import LogLoss, SmoothPinball
from clients.tasks.perceptron import Perceptron
from clients.training import Protection, bounded_gradient_sum, clipped_gradient_sum

LOGISTIC = LinearModel(6, 1, LogLoss())
QUANTILES = LinearModel(6, 3, SmoothPinball((0.1, 0.5, 0.9), 0.05))
PERCEPTRON = Perceptron(6, 1, (5, 4), LogLoss())


def examples(architecture: Architecture, counts: list[int], seed: int = 0, *, as_sparse: bool = False) -> Examples:
    """`counts[u]` examples of unit u."""
    rng = np.random.default_rng(seed)
    n = sum(counts)
    inputs = rng.normal(size=(n, architecture.inputs)) * (rng.uniform(size=(n, architecture.inputs)) < 0.6)
    is_logistic = isinstance(architecture.loss, LogLoss)
    targets = rng.integers(0, 2, n).astype(float) if is_logistic else rng.normal(size=n)
    offset = rng.normal(size=(n, architecture.outputs))
    unit = np.repeat(np.arange(len(counts)), counts)
    return Examples(sparse.csr_array(inputs) if as_sparse else inputs, targets, offset, unit, len(counts))


def slowly(
    architecture: Architecture, parameters: NDArray[np.float64], given: Examples, clip: float
) -> NDArray[np.float64]:
    """One torch.autograd pass for every unit: its mean loss, its gradient, its norm."""
    inputs = given.inputs.toarray() if sparse.issparse(given.inputs) else given.inputs
    total = np.zeros(architecture.size)
    for unit in range(given.units):
        rows = given.unit == unit
        module = architecture.module().double()
        with torch.no_grad():
            for parameter, values in zip(module.parameters(), architecture.tensors(parameters).values(), strict=True):
                parameter.copy_(torch.from_numpy(values.copy()))
        outputs = module(torch.from_numpy(inputs[rows])) + torch.from_numpy(given.offset[rows])
        loss = architecture.loss.torch(outputs, torch.from_numpy(given.targets[rows])).mean()
        gradients = torch.autograd.grad(loss, list(module.parameters()))
        gradient = torch.cat([g.flatten() for g in gradients]).numpy()
        total += gradient * min(1.0, clip / max(float(np.linalg.norm(gradient)), 1e-300))
    return total


CASES = [
    pytest.param(LOGISTIC, [1] * 40, id="logistic, rows"),
    pytest.param(LOGISTIC, [3, 1, 7, 2, 2, 9], id="logistic, entities"),
    pytest.param(QUANTILES, [1] * 30, id="quantiles, rows"),
    pytest.param(QUANTILES, [5, 1, 8, 3], id="quantiles, blocks"),
    pytest.param(PERCEPTRON, [1] * 20, id="perceptron, rows"),
    pytest.param(PERCEPTRON, [4, 1, 6], id="perceptron, entities"),
]


@pytest.mark.parametrize(("architecture", "counts"), CASES)
@pytest.mark.parametrize("as_sparse", [False, True])
@pytest.mark.parametrize("clip", [0.05, 0.7, 1e6])
def test_every_way_gives_the_sum_of_the_slow_loop(
    architecture: Architecture, counts: list[int], as_sparse: bool, clip: float
) -> None:
    data = examples(architecture, counts, as_sparse=as_sparse)
    parameters = np.random.default_rng(1).normal(size=architecture.size)
    wanted = slowly(architecture, parameters, data, clip)
    for way in ("auto", "opacus"):
        found = clipped_gradient_sum(architecture, parameters, data, clip, gradients=way)
        assert found.shape == (architecture.size,)
        np.testing.assert_allclose(found, wanted, rtol=1e-6, atol=1e-7, err_msg=way)


def test_opacus_in_chunks_is_opacus_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    data = examples(PERCEPTRON, [1, 4, 2, 3, 1, 5, 2])
    parameters = PERCEPTRON.initial(3)
    whole = clipped_gradient_sum(PERCEPTRON, parameters, data, 0.5, gradients="opacus")
    monkeypatch.setattr("clients.training.opacus_hooks.CHUNK_BYTES", 5 * 8 * PERCEPTRON.size)
    found = clipped_gradient_sum(PERCEPTRON, parameters, data, 0.5, gradients="opacus")
    np.testing.assert_allclose(found, whole, rtol=1e-12)


@settings(deadline=None, max_examples=40)
@given(
    st.lists(st.integers(1, 6), min_size=1, max_size=8),
    st.integers(0, 2**16),
    st.floats(1e-3, 10.0),
    st.sampled_from([LOGISTIC, QUANTILES]),
    st.booleans(),
)
def test_one_unit_moves_the_sum_by_the_clip_at_most(
    counts: list[int], seed: int, clip: float, architecture: Architecture, as_sparse: bool
) -> None:
    data = examples(architecture, counts, seed, as_sparse=as_sparse)
    parameters = np.random.default_rng(seed).normal(size=architecture.size, scale=3.0)
    total = clipped_gradient_sum(architecture, parameters, data, clip)
    for unit in range(data.units):
        without = data.sample(np.arange(data.units) != unit)
        moved = total - clipped_gradient_sum(architecture, parameters, without, clip)
        assert np.linalg.norm(moved) <= clip * (1 + 1e-12)


@settings(deadline=None, max_examples=40)
@given(
    st.lists(st.integers(1, 6), min_size=1, max_size=8),
    st.integers(0, 2**16),
    st.floats(1e-3, 10.0),
    st.floats(0.01, 1.0),
    st.floats(0.1, 20.0),
    st.sampled_from([LOGISTIC, QUANTILES]),
)
def test_one_unit_moves_the_vector_with_its_weight_by_clip_and_weight_at_most(
    counts: list[int], seed: int, clip: float, share: float, box: float, architecture: Architecture
) -> None:
    """Neighbouring tables: one unit less, whatever the box cuts off."""
    data = examples(architecture, counts, seed)
    parameters = np.random.default_rng(seed).normal(size=architecture.size, scale=3.0)
    protection = Protection(clip, box * clip, 1.0, share * clip)

    def vector(of: Examples) -> NDArray[np.float64]:
        return bounded_gradient_sum(architecture, parameters, of, protection, RandomStream.secure())

    total = vector(data)
    assert total.shape == (architecture.size + 1,)
    for unit in range(data.units):
        moved = total - vector(data.sample(np.arange(data.units) != unit))
        assert np.linalg.norm(moved) <= np.hypot(clip, share * clip) * (1 + 1e-12)
        assert moved[-1] <= share * clip * (1 + 1e-12)


def test_the_weight_counts_the_units_sampled_and_the_box_bounds_it() -> None:
    data = examples(LOGISTIC, [3, 1, 4, 2, 5, 1, 1, 2])
    parameters = np.zeros(LOGISTIC.size)
    chosen = RandomStream.seeded(3, "s").bernoulli(8, 0.5)
    for box, weight in ((99.0, 0.25 * chosen.sum()), (0.5, 0.5)):
        protection = Protection(1.0, box, 0.5, 0.25)
        found = bounded_gradient_sum(LOGISTIC, parameters, data, protection, RandomStream.seeded(3, "s"))
        assert found[-1] == weight
        bare = clipped_gradient_sum(LOGISTIC, parameters, data.sample(chosen), 1.0)
        np.testing.assert_array_equal(found[:-1], np.clip(bare, -box, box))
    nobody = data.sample(np.zeros(8, dtype=bool))
    assert not bounded_gradient_sum(LOGISTIC, parameters, nobody, protection, RandomStream.secure()).any()


def test_clipping_each_example_in_place_of_each_unit_would_be_seen() -> None:
    """The check above fails when units are wrong: ten examples of one unit, counted as ten units, move ten clips."""
    parameters, inputs = np.zeros(LOGISTIC.size), np.ones((11, 6))
    moved = []
    for unit in (np.repeat([0, 1], [10, 1]), np.arange(11)):
        data = Examples(inputs, np.ones(11), np.zeros((11, 1)), unit, int(unit[-1]) + 1)
        last_only = data.sample(np.arange(data.units) == data.units - 1)
        total, without = (clipped_gradient_sum(LOGISTIC, parameters, one, 0.01) for one in (data, last_only))
        moved.append(float(np.linalg.norm(total - without)))
    np.testing.assert_allclose(moved, [0.01, 0.1], rtol=1e-6)


@pytest.mark.parametrize(
    ("unit", "units"),
    [([0, 0, 2], 3), ([1, 1, 2], 2), ([0, 1, 0], 2), ([0, 1, 1], 3), ([0, 0, 1], 1), ([-1, 0, 1], 2), ([0, 1], 2)],
)
def test_units_that_are_not_numbered_without_gaps_are_refused(unit: list[int], units: int) -> None:
    """[0, 0, 2] of 3 units: as many units as examples, and still not one each."""
    with pytest.raises(ValueError, match="examples"):
        Examples(np.ones((3, 2)), np.zeros(3), np.zeros((3, 1)), np.array(unit), units)


@pytest.mark.parametrize("architecture", [LOGISTIC, QUANTILES, PERCEPTRON])
def test_an_empty_sample_adds_nothing(architecture: Architecture) -> None:
    data = examples(architecture, [2, 1, 3]).sample(np.zeros(3, dtype=bool))
    assert (data.units, len(data.targets)) == (0, 0)
    parameters = architecture.initial(0)
    assert not clipped_gradient_sum(architecture, parameters, data, 1.0).any()


def test_a_poisson_sample_takes_whole_units() -> None:
    data = examples(LOGISTIC, [3, 1, 4, 2, 5, 1, 1, 2])
    parameters = np.zeros(LOGISTIC.size)
    found = bounded_gradient_sum(LOGISTIC, parameters, data, Protection(0.3, 99.0, 0.5), RandomStream.seeded(3, "s"))
    chosen = RandomStream.seeded(3, "s").bernoulli(8, 0.5)
    assert 0 < chosen.sum() < 8
    np.testing.assert_array_equal(found, clipped_gradient_sum(LOGISTIC, parameters, data.sample(chosen), 0.3))


def test_the_box_holds_before_noise_and_never_widens_a_difference() -> None:
    data = examples(LOGISTIC, [1] * 50)
    parameters = np.full(LOGISTIC.size, 4.0)
    bare = clipped_gradient_sum(LOGISTIC, parameters, data, 1.0)
    box = float(np.abs(bare).max()) / 3
    boxed = bounded_gradient_sum(LOGISTIC, parameters, data, Protection(1.0, box, 1.0), RandomStream.secure())
    np.testing.assert_array_equal(boxed, np.clip(bare, -box, box))
    without = data.sample(np.arange(50) > 0)
    less = bounded_gradient_sum(LOGISTIC, parameters, without, Protection(1.0, box, 1.0), RandomStream.secure())
    assert np.linalg.norm(boxed - less) <= 1.0


@pytest.mark.parametrize("way", ["auto", "opacus"])
@pytest.mark.parametrize("architecture", [LOGISTIC, QUANTILES, PERCEPTRON])
def test_a_model_chosen_to_overflow_spoils_no_sum(architecture: Architecture, way: str) -> None:
    """A NaN that shows up for one kind of record only would tell, without noise, that the record is there."""
    data = examples(architecture, [1, 2, 1, 3], seed=5)
    parameters = np.resize([1.5e308, -1.5e308, 1e300, -1e308, 1.7e308], architecture.size)
    found = clipped_gradient_sum(architecture, parameters, data, 0.5, gradients="auto" if way == "auto" else "opacus")
    assert np.isfinite(found).all()
    assert np.linalg.norm(found) <= 4 * 0.5


@given(st.integers(0, 2**16))
def test_the_slope_is_the_derivative_of_the_loss(seed: int) -> None:
    rng = np.random.default_rng(seed)
    for loss, outputs in ((LogLoss(), 1), (SmoothPinball((0.1, 0.5, 0.9), 0.05), 3)):
        at = rng.normal(size=(5, outputs)) * 3
        targets = rng.integers(0, 2, 5).astype(float)
        tensor = torch.from_numpy(at.copy()).requires_grad_()
        value = loss.torch(tensor, torch.from_numpy(targets))
        np.testing.assert_allclose(value.detach().numpy(), loss.value(at, targets), rtol=1e-9, atol=1e-12)
        value.sum().backward()
        assert tensor.grad is not None
        np.testing.assert_allclose(tensor.grad.numpy(), loss.slope(at, targets), rtol=1e-7, atol=1e-10)


def test_the_smooth_pinball_loss_tends_to_the_pinball_loss() -> None:
    targets, outputs = np.array([1.0, -1.0]), np.zeros((2, 1))
    np.testing.assert_allclose(SmoothPinball((0.9,), 1e-4).value(outputs, targets), [0.9, 0.1], atol=1e-9)


@pytest.mark.parametrize("architecture", [LOGISTIC, QUANTILES, PERCEPTRON])
def test_the_module_is_the_same_model(architecture: Architecture) -> None:
    parameters = architecture.initial(7) + 0.1
    inputs = np.random.default_rng(0).normal(size=(4, 6))
    module = architecture.module().double()
    assert sum(p.numel() for p in module.parameters()) == architecture.size
    with torch.no_grad():
        for parameter, values in zip(module.parameters(), architecture.tensors(parameters).values(), strict=True):
            assert parameter.shape == values.shape
            parameter.copy_(torch.from_numpy(values.copy()))
        wanted = module(torch.from_numpy(inputs)).numpy()
    np.testing.assert_allclose(architecture.forward(parameters, inputs), wanted, rtol=1e-12)
    np.testing.assert_allclose(architecture.forward(parameters, sparse.csr_array(inputs)), wanted, rtol=1e-12)


def test_parameters_of_another_length_are_refused() -> None:
    with pytest.raises(ValueError, match="6 parameters"):
        LOGISTIC.tensors(np.zeros(7))
