"""The closed form of layered models against Opacus's hooks, and against neighbouring tables."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy import sparse

from clients.tasks.architecture import LayeredArchitecture, LayerPass
from clients.tasks.examples import Examples
from clients.tasks.losses import HorizonPinball, LogLoss, SmoothPinball
from clients.tasks.perceptron import Perceptron
from clients.tasks.recurrent import RecurrentModel
from clients.training import Gradients, clipped_gradient_sum
from clients.training.pairs import example_squares, squares_by_pairs, worth_pairing

QUANTILES = SmoothPinball((0.1, 0.5, 0.9), 0.05)
RECURRENT = RecurrentModel(5, 3, 4, 2, 3, 6, HorizonPinball(QUANTILES))
WAYS: tuple[Gradients, ...] = ("auto", "opacus")
COUNTS = st.lists(st.integers(1, 7), min_size=1, max_size=6)
PERCEPTRONS = st.builds(
    lambda inputs, hidden, loss: Perceptron(inputs, 1 if isinstance(loss, LogLoss) else 3, tuple(hidden), loss),
    st.integers(1, 9),
    st.lists(st.integers(1, 8), min_size=1, max_size=3),
    st.sampled_from([LogLoss(), QUANTILES]),
)


def examples(architecture: LayeredArchitecture, counts: list[int], seed: int, *, as_sparse: bool = False) -> Examples:
    """`counts[u]` examples of unit u; windows of the recurrent model have days that do not count."""
    rng = np.random.default_rng(seed)
    n = sum(counts)
    inputs = rng.normal(size=(n, architecture.inputs)) * (rng.uniform(size=(n, architecture.inputs)) < 0.6)
    targets = rng.integers(0, 2, n).astype(np.float64)
    if isinstance(architecture, RecurrentModel):
        targets = rng.normal(size=(n, architecture.future))
        targets[rng.uniform(size=targets.shape) < 0.3] = np.nan
        targets[:, 0] = 1.0
    offset = rng.normal(size=(n, architecture.outputs))
    unit = np.repeat(np.arange(len(counts)), counts)
    return Examples(sparse.csr_array(inputs) if as_sparse else inputs, targets, offset, unit, len(counts))


def parameters_of(architecture: LayeredArchitecture, seed: int, scale: float = 1.0) -> NDArray[np.float64]:
    return np.random.default_rng([seed, 1]).normal(size=architecture.size, scale=scale)


def assert_same(architecture: LayeredArchitecture, data: Examples, clip: float, seed: int) -> None:
    parameters = parameters_of(architecture, seed)
    found, wanted = (clipped_gradient_sum(architecture, parameters, data, clip, gradients=way) for way in WAYS)
    assert np.linalg.norm(found - wanted) <= 1e-6 * min(np.linalg.norm(wanted), clip * data.units) + 1e-12 * clip


@settings(deadline=None, max_examples=30)
@given(PERCEPTRONS, COUNTS, st.integers(0, 2**16), st.floats(1e-3, 1e3), st.booleans())
def test_perceptrons_have_the_gradients_of_opacus(
    architecture: Perceptron, counts: list[int], seed: int, clip: float, as_sparse: bool
) -> None:
    assert_same(architecture, examples(architecture, counts, seed, as_sparse=as_sparse), clip, seed)


@settings(deadline=None, max_examples=15)
@given(COUNTS, st.integers(0, 2**16), st.floats(1e-3, 1e3))
def test_the_recurrent_model_has_the_gradients_of_opacus(counts: list[int], seed: int, clip: float) -> None:
    assert_same(RECURRENT, examples(RECURRENT, counts, seed), clip, seed)


@pytest.mark.parametrize("as_sparse", [False, True])
@pytest.mark.parametrize("way", ["pairs", "written down"])
def test_both_ways_of_measuring_a_unit_have_the_gradients_of_opacus(
    monkeypatch: pytest.MonkeyPatch, way: str, as_sparse: bool
) -> None:
    architecture = Perceptron(6, 1, (5, 4), LogLoss())
    data = examples(architecture, [1, 60, 2, 2, 1, 45], 4, as_sparse=as_sparse)
    monkeypatch.setattr("clients.training.pairs._PAIR_VALUE", 0.0 if way == "pairs" else 1e9)
    assert_same(architecture, data, 0.05, 4)


@pytest.mark.parametrize("architecture", [Perceptron(6, 1, (5, 4), LogLoss()), RECURRENT])
def test_chunks_make_no_difference(monkeypatch: pytest.MonkeyPatch, architecture: LayeredArchitecture) -> None:
    data = examples(architecture, [3, 1, 4, 1, 5, 9, 2, 6], 2)
    parameters = parameters_of(architecture, 2)
    whole = clipped_gradient_sum(architecture, parameters, data, 0.1)
    monkeypatch.setattr("clients.training.layered.CHUNK_BYTES", 5 * 8 * architecture.pass_values)
    monkeypatch.setattr("clients.training.written_down.BYTES", 1)
    np.testing.assert_allclose(clipped_gradient_sum(architecture, parameters, data, 0.1), whole, rtol=1e-11)


@settings(deadline=None, max_examples=25)
@given(st.one_of(PERCEPTRONS, st.just(RECURRENT)), COUNTS, st.integers(0, 2**16), st.floats(1e-3, 10.0), st.booleans())
def test_one_unit_moves_the_sum_by_the_clip_at_most(
    architecture: LayeredArchitecture, counts: list[int], seed: int, clip: float, as_sparse: bool
) -> None:
    data = examples(architecture, counts, seed, as_sparse=as_sparse and architecture is not RECURRENT)
    parameters = parameters_of(architecture, seed, 3.0)
    total = clipped_gradient_sum(architecture, parameters, data, clip)
    for unit in range(data.units):
        without = data.sample(np.arange(data.units) != unit)
        moved = total - clipped_gradient_sum(architecture, parameters, without, clip)
        assert np.linalg.norm(moved) <= clip * (1 + 1e-12)


@pytest.mark.parametrize("large", [1e3, 1e9, 1e15])
@pytest.mark.parametrize("as_sparse", [False, True])
def test_examples_that_cancel_do_not_slip_past_the_clip(large: float, as_sparse: bool) -> None:
    """Two examples of one unit with all but opposite gradients: their inner product loses what is left of the sum."""
    architecture = Perceptron(4, 1, (3,), LogLoss())
    parameters = np.abs(parameters_of(architecture, 0)) + 0.1
    inputs = np.repeat(np.abs(np.random.default_rng(0).normal(size=(1, 4))), 2, axis=0) * large
    inputs[1] *= 1 + 3e-9
    outputs = architecture.forward(parameters, inputs)
    targets, offset = np.array([0.0, 1.0]), -outputs  # log-odds of zero: slopes of 1/2 and -1/2
    unit = np.zeros(2, dtype=np.int64)
    data = Examples(sparse.csr_array(inputs) if as_sparse else inputs, targets, offset, unit, 1)
    for clip in (1e-7, 1e-3, 1.0, 1e3):
        for way in WAYS:
            assert np.linalg.norm(clipped_gradient_sum(architecture, parameters, data, clip, gradients=way)) <= clip


def test_pairs_say_where_they_are_not_exact() -> None:
    slopes, inputs = np.array([[1.0], [-1.0], [1.0], [0.5]]), np.array([[1e6], [1e6 + 1e-3], [3.0], [4.0]])
    counts, chosen = np.array([2, 2]), np.array([True, True])
    passes = (LayerPass(inputs, slopes),)
    squares, exact = squares_by_pairs(passes, counts, chosen, example_squares(passes))
    assert exact.tolist() == [False, True]
    assert squares[1] == pytest.approx(5.0**2 + 1.5**2, rel=1e-14)


def test_what_is_cheaper_decides_the_way() -> None:
    rng = np.random.default_rng(0)
    counts = np.array([1, 2, 500])
    wide = LayerPass(rng.normal(size=(503, 64)), rng.normal(size=(503, 64)))
    assert worth_pairing((wide,), counts).tolist() == [True, True, False]
    days = LayerPass(rng.normal(size=(503 * 28, 11)), rng.normal(size=(503 * 28, 96)), 28)
    assert not worth_pairing((days,), counts).any()


@pytest.mark.parametrize("architecture", [Perceptron(6, 1, (5, 4), LogLoss()), RECURRENT])
@pytest.mark.parametrize("counts", [[1] * 6, [1, 2, 1, 40]])
def test_a_record_that_overflows_leaves_the_other_units_as_they_are(
    architecture: LayeredArchitecture, counts: list[int]
) -> None:
    data = examples(architecture, counts, 3)
    parameters = parameters_of(architecture, 3)
    data.inputs[1] = 1e308
    without = data.sample(np.arange(data.units) != 1)
    for way in WAYS:
        found, others = (
            clipped_gradient_sum(architecture, parameters, one, 0.4, gradients=way) for one in (data, without)
        )
        np.testing.assert_allclose(found, others, rtol=1e-9, atol=1e-14, err_msg=way)


def test_the_wider_a_layer_the_sooner_its_examples_cancel() -> None:
    """What inner products of 50,000 values lose may be more of a norm than the hair that a clip is rounded down by."""
    for width, cancels in ((50_000, True), (500, False)):
        inputs = np.random.default_rng(0).normal(size=(2, width))
        inputs[1] = inputs[0] * 1.13
        slopes = np.array([[1.0], [-1.0]])
        passes = (LayerPass(inputs, slopes),)
        squares, exact = squares_by_pairs(passes, np.array([2]), np.array([True]), example_squares(passes))
        largest = (np.sqrt((inputs**2).sum(axis=1) + 1)).sum() ** 2
        assert 1.5e-3 < squares[0] / largest < 5e-3
        assert exact.tolist() == [not cancels]


def test_many_pairs_lose_digits_too() -> None:
    inputs = np.ones((240, 1))
    slopes = np.where(np.arange(240) % 2, -0.9, 1.0)[:, None]
    passes = (LayerPass(inputs, slopes),)
    _, exact = squares_by_pairs(passes, np.array([240]), np.array([True]), example_squares(passes))
    assert exact.tolist() == [False]
