"""What one example adds hangs on that example alone, bit for bit, whatever the parent model makes of a last bit."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
from consortium_world import a_plan
from hypothesis import given, settings
from hypothesis import strategies as st
from neighbours_world import KINDS, neighbours
from numpy.typing import NDArray
from scipy import sparse
from task_world import demand_spec

from clients.measuring.statistic import statistic_of
from clients.measuring.vectors import bounded_sum, unit_vectors
from clients.noise import RandomStream
from clients.plan import MICRO
from clients.tasks.architecture import Architecture, LayeredArchitecture
from clients.tasks.demand import DemandTask
from clients.tasks.examples import Examples, one_hot, row_squares
from clients.tasks.linear_model import LinearModel
from clients.tasks.losses import HorizonPinball, LogLoss, SmoothPinball
from clients.tasks.perceptron import Perceptron
from clients.tasks.recurrent import RecurrentModel
from clients.tasks.row_products import block_products, row_products
from clients.training import clipped_gradient_sum
from clients.vote import STEPS, scores_of

Floats = NDArray[np.float64]
seeds = st.integers(0, 2**16)
QUANTILES = SmoothPinball((0.1, 0.5, 0.9), 0.05)


def cancelling(rng: np.random.Generator, shape: tuple[int, int]) -> Floats:
    """Numbers of which huge ones meet their opposites: the sums of their products are what rounding leaves."""
    out = rng.normal(size=shape)
    half = shape[0] // 2
    out[half : 2 * half] = -out[:half]
    out[: 2 * half] *= 1e22
    return out


def other_companies(rng: np.random.Generator, n: int) -> Iterator[NDArray[np.int64]]:
    """The rows of a table with some of them dropped, in another order, alone, and after more of them."""
    yield np.append(np.flatnonzero(rng.random(n) < 0.6), n - 1)
    yield rng.permutation(n)
    yield rng.integers(0, n, 1)
    yield np.append(rng.integers(0, n, rng.integers(1, 9)), np.arange(n))


@settings(deadline=None, max_examples=60)
@given(n=st.integers(1, 48), width=st.integers(1, 70), out=st.integers(1, 8), as_sparse=st.booleans(), seed=seeds)
def test_a_rows_product_is_the_same_in_any_company(n: int, width: int, out: int, as_sparse: bool, seed: int) -> None:
    rng = np.random.default_rng(seed)
    rows, matrix = rng.normal(size=(n, width)), cancelling(rng, (width, out))
    rows[:, width // 2 : 2 * (width // 2)] = rows[:, : width // 2]
    given_rows: Any = sparse.csr_array(rows) if as_sparse else rows
    found, squares = row_products(given_rows, matrix), row_squares(given_rows)
    with np.errstate(all="raise"):
        assert np.all(np.abs(found - rows @ matrix) <= 1e-13 * (np.abs(rows) @ np.abs(matrix)))
    for chosen in other_companies(rng, n):
        again: Any = given_rows[chosen] if as_sparse else np.asfortranarray(rows[chosen])
        assert np.array_equal(row_products(again, matrix.copy(order="F")), found[chosen])
        assert np.array_equal(row_squares(given_rows[chosen]), squares[chosen])


@settings(deadline=None, max_examples=30)
@given(n=st.integers(1, 12), size=st.tuples(*[st.integers(1, 20)] * 3), seed=seeds)
def test_a_blocks_product_is_the_same_in_any_company(n: int, size: tuple[int, int, int], seed: int) -> None:
    rng = np.random.default_rng(seed)
    rows, inner, out = size
    left = rng.normal(size=(n, rows, inner))
    right = np.stack([cancelling(rng, (inner, out)) for _ in range(n)])
    found = block_products(left, right)
    assert np.allclose(found, left @ right, rtol=0.0, atol=1e-12 * np.abs(right).max())
    for chosen in other_companies(rng, n):
        assert np.array_equal(block_products(left[chosen], right[chosen]), found[chosen])


ARCHITECTURES = st.one_of(
    st.builds(LinearModel, st.integers(1, 70), st.just(3), st.just(QUANTILES)),
    st.builds(
        lambda inputs, hidden: Perceptron(inputs, 1, tuple(hidden), LogLoss()),
        st.integers(1, 70),
        st.lists(st.integers(1, 40), min_size=1, max_size=3),
    ),
    st.builds(
        lambda past, channels, future, columns, hidden: RecurrentModel(
            past, channels, future, columns, 3, hidden, HorizonPinball(QUANTILES)
        ),
        *[st.integers(1, 12)] * 5,
    ),
)


@settings(deadline=None, max_examples=60)
@given(architecture=ARCHITECTURES, n=st.integers(1, 40), scale=st.sampled_from([1.0, 1e20]), seed=seeds)
def test_what_a_pass_sees_of_an_example_is_the_same_in_any_company(
    architecture: Architecture, n: int, scale: float, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    parameters = cancelling(rng, (architecture.size, 1))[:, 0] * (scale / 1e22)
    inputs, offset = rng.normal(size=(n, architecture.inputs)), rng.normal(size=(n, architecture.outputs))
    days = (architecture.future,) if isinstance(architecture, RecurrentModel) else ()
    targets = rng.uniform(size=(n, *days))

    def seen(rows: Any) -> list[Floats]:
        outputs = architecture.forward(parameters, inputs[rows]) + offset[rows]
        out = [
            outputs,
            architecture.loss.value(outputs, targets[rows]),
            architecture.loss.slope(outputs, targets[rows]),
        ]
        if isinstance(architecture, LayeredArchitecture):
            for one in architecture.layer_passes(parameters, inputs[rows], offset[rows], targets[rows]):
                out += [values.reshape(len(outputs), -1) for values in (one.inputs, one.slopes)]
        return out

    with np.errstate(over="ignore", invalid="ignore"):
        whole = seen(slice(None))
        for chosen in other_companies(rng, n):
            for one, all_of_it in zip(seen(chosen), whole, strict=True):
                assert np.array_equal(one, all_of_it[chosen], equal_nan=True)


def linear_rows(n: int, width: int) -> Examples:
    """Dense rows with a constant and a weekday, one for each unit."""
    rng = np.random.default_rng(n)
    inputs = rng.normal(size=(n, width))
    inputs[:, 0], inputs[:, 20:27] = 1.0, np.eye(7)[rng.integers(0, 7, n)]
    return Examples(inputs, rng.uniform(0.5, 1.5, n), np.ones((n, 3)), np.arange(n), n)


def linear_parent(width: int) -> Floats:
    """The constant's weight is cancelled by every weekday's: an output is what rounding leaves of the other columns."""
    weight = np.random.default_rng(1).normal(size=(3, width)) * 1e5
    weight[:, 0], weight[:, 20:27] = 1e22, -1e22
    return weight.ravel()


LINEAR = LinearModel(33, 3, QUANTILES)
PERCEPTRON = Perceptron(120, 1, (64, 64), LogLoss())


def scored_rows(n: int, dense: bool = False) -> Examples:
    rng = np.random.default_rng(n)
    codes = (rng.integers(0, 10, size=(n, 12)) + np.arange(12) * 10).astype(np.int32)
    inputs: Any = one_hot(codes, 120)
    inputs = inputs.toarray() if dense else inputs
    return Examples(inputs, rng.integers(0, 2, n).astype(float), np.zeros((n, 1)), np.arange(n), n)


def perceptron_parent() -> Floats:
    """Units of the second layer are there twice, with opposite weights: a score is what rounding leaves of them."""
    parameters = PERCEPTRON.initial(3)
    tensors = PERCEPTRON.tensors(parameters)
    tensors["layer1.weight"][32:] = tensors["layer1.weight"][:32]
    weight = np.random.default_rng(1).normal(size=32) * 1e20
    tensors["layer2.weight"][0] = np.append(weight, -weight)
    return parameters


HOSTILE = [
    pytest.param(LINEAR, linear_parent(33), lambda n: linear_rows(n, 33), id="linear"),
    pytest.param(PERCEPTRON, perceptron_parent(), scored_rows, id="perceptron"),
    pytest.param(PERCEPTRON, perceptron_parent(), lambda n: scored_rows(n, dense=True), id="perceptron-dense"),
]


def with_one_less(examples: Examples) -> Iterator[Examples]:
    for place in range(0, examples.units, 7):
        yield examples.sample(np.arange(examples.units) != place)


def paired(examples: Examples) -> Examples:
    """The same rows, two or one to a unit."""
    unit = np.arange(examples.units) * 2 // 3
    return Examples(examples.inputs, examples.targets, examples.offset, unit, int(unit[-1]) + 1)


@pytest.mark.parametrize(("architecture", "parent", "rows"), HOSTILE)
@pytest.mark.parametrize("several", [False, True])
def test_no_parent_model_lets_a_unit_change_what_others_add(
    architecture: Architecture, parent: Floats, rows: Callable[[int], Examples], several: bool
) -> None:
    for n in (10, 65, 203):
        examples = paired(rows(n)) if several else rows(n)
        whole = clipped_gradient_sum(architecture, parent, examples, 0.2)
        for less in with_one_less(examples):
            assert np.linalg.norm(whole - clipped_gradient_sum(architecture, parent, less, 0.2)) <= 0.2 * (1 + 1e-9)


@pytest.mark.parametrize(("architecture", "parent", "rows"), HOSTILE)
def test_no_parent_model_lets_a_unit_change_what_others_vote(
    architecture: Architecture, parent: Floats, rows: Callable[[int], Examples]
) -> None:
    changes = {"groups": 2, "combine": "mean", "held_out_micro": MICRO // 5, "vote_clip_micro": MICRO // 10}
    plan = a_plan(dimension=architecture.size, privacy="none", noise_micro=0, **changes)
    step = np.random.default_rng(2).normal(size=architecture.size)

    def votes(examples: Examples) -> NDArray[np.int64]:
        source = RandomStream.secure()
        return np.array(scores_of(architecture, parent, (step, -parent), examples, plan, source))

    for n in (10, 65, 203):
        whole = votes(rows(n))
        for less in with_one_less(rows(n)):
            assert np.abs(whole - votes(less)).max() <= STEPS + 1


def test_no_model_lets_a_unit_change_what_others_add_to_a_measurement() -> None:
    task = DemandTask(demand_spec())
    statistic = statistic_of(task.spec, "evaluation", 0, "")
    plan = a_plan(spec=task.spec.hash, dimension=statistic.size, measures="evaluation")
    parent = linear_parent(task.width)

    def total(examples: Examples) -> Floats:
        return bounded_sum(unit_vectors(task, statistic, plan, parent, examples, None), statistic.norm, 1e6, None)

    for n in (9, 10, 11, 13, 67, 205):
        whole = total(linear_rows(n, task.width))
        for less in with_one_less(linear_rows(n, task.width)):
            assert np.linalg.norm(whole - total(less)) <= statistic.norm * (1 + 1e-9)


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: str(kind.name))
def test_a_unit_of_a_table_reads_the_same_without_another(kind: Any) -> None:
    for whole, less in neighbours(kind, 5, 4):
        one, other = (
            {tuple(row) for row in np.column_stack([rows, examples.offset]).tolist()}
            for examples in map(kind.task.examples, (whole, less))
            for rows in [examples.inputs.toarray() if sparse.issparse(examples.inputs) else examples.inputs]
        )
        assert other <= one
