"""From tables to the integers that leave: one unit more or less moves them by what the noise is measured against.

For every kind of unit, over tables in which units are as awkward as they get, through the task's examples, the clipped
and boxed sum with its weight, and the quantiser; and the same for every statistic that can be measured.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from consortium_world import Consortium, a_plan
from hypothesis import given, settings
from hypothesis import strategies as st
from neighbours_world import KINDS, Kind, neighbours
from numpy.typing import NDArray

from clients.data import Table
from clients.firm import Firm
from clients.grid import ROUNDING_STEPS
from clients.held_out import divide
from clients.masking.quantiser import Quantiser
from clients.measuring.statistic import statistic_of
from clients.measuring.vectors import bounded_sum, groups_of_records, unit_vectors
from clients.noise import RandomStream
from clients.plan import MICRO, Plan
from clients.tasks.credit import CreditTask
from clients.tasks.examples import Examples
from clients.training import Protection, bounded_gradient_sum

FIRMS = 6
EACH = pytest.mark.parametrize("kind", KINDS, ids=lambda kind: str(kind.name))
seeds = st.integers(0, 2**16)


def plan_for(kind: Kind, clip: float, **more: Any) -> Plan:
    """A plan with weights that go through the sum, in a box that cuts some of the values."""
    micro = round(clip * MICRO)
    weights = {"weighting": "summed", "weight_micro": micro // 8, "least_weight_micro": micro // 8}
    fields = {"spec": kind.spec.hash, "dimension": kind.task.architecture.size, "ring_bits": 32, "clip_micro": micro}
    return a_plan(**{**fields, "box_micro": 2 * micro, **weights, **more})


def on_grid(plan: Plan, values: NDArray[np.float64]) -> NDArray[np.int64]:
    return Quantiser(plan.grid(FIRMS).bound, FIRMS, plan.ring_bits).quantise(values)


def most_steps(plan: Plan) -> float:
    """What the noise is measured against, in steps of the grid."""
    return plan.unit_norm / plan.grid(FIRMS).step + ROUNDING_STEPS * math.sqrt(plan.values)


def gradient(kind: Kind, plan: Plan, examples: Examples, model: NDArray[np.float64]) -> NDArray[np.float64]:
    protection = Protection(plan.clip, plan.box, plan.sampling_rate, plan.weight)
    return bounded_gradient_sum(kind.task.architecture, model, examples, protection, RandomStream.secure())


@EACH
@settings(deadline=None, max_examples=8)
@given(seed=seeds, clip=st.floats(0.01, 1.0), scale=st.floats(0.0, 3.0))
def test_one_unit_moves_the_integers_by_the_clip_and_what_rounding_adds(
    kind: Kind, seed: int, clip: float, scale: float
) -> None:
    plan = plan_for(kind, clip)
    model = np.random.default_rng(seed).normal(size=plan.dimension) * scale
    moved = []
    for whole, less in neighbours(kind, seed, 4):
        one, other = (gradient(kind, plan, kind.task.examples(table), model) for table in (whole, less))
        assert np.linalg.norm(one - other) <= plan.unit_norm * (1 + 1e-9)
        assert abs(one[-1] - other[-1]) <= plan.weight * (1 + 1e-9)
        moved.append(float(np.linalg.norm(on_grid(plan, one) - on_grid(plan, other))))
    assert max(moved) <= most_steps(plan)


@EACH
def test_the_bound_is_reached_so_the_test_would_see_more(kind: Kind) -> None:
    plan = plan_for(kind, 0.01, box_micro=100 * MICRO)
    model = np.random.default_rng(1).normal(size=plan.dimension)
    moved = []
    for whole, less in neighbours(kind, 3, 8):
        one, other = (gradient(kind, plan, kind.task.examples(table), model) for table in (whole, less))
        moved.append(float(np.linalg.norm(on_grid(plan, one) - on_grid(plan, other))))
    assert 0.95 * most_steps(plan) < max(moved) <= most_steps(plan)


def by_unit(kind: Kind, table: Table) -> list[bytes]:
    """What every unit's examples say."""
    of, found = kind.task.examples(table), []
    dense = of.inputs if isinstance(of.inputs, np.ndarray) else of.inputs.toarray()
    for unit in range(of.units):
        rows = of.unit == unit
        found.append(dense[rows].tobytes() + of.targets[rows].tobytes() + of.offset[rows].tobytes())
    return sorted(found)


@EACH
@settings(deadline=None, max_examples=5)
@given(seed=seeds)
def test_a_unit_leaves_every_other_ones_examples_as_they_are(kind: Kind, seed: int) -> None:
    """Which rows of an entity are used is for that entity's own rows to say, wherever they stand among the others'."""
    for whole, less in neighbours(kind, seed, 3):
        before, after = by_unit(kind, whole), by_unit(kind, less)
        for one in after:
            before.remove(one)
        assert len(before) <= 1


@settings(deadline=None, max_examples=15)
@given(seed=seeds)
def test_no_entity_has_more_rows_than_its_most_in_any_order_of_the_table(seed: int) -> None:
    kind = KINDS[1]
    table, most = kind.table(seed), kind.spec.privacy.max_rows
    counts = np.unique(table.columns["customer"], return_counts=True)[1]
    for order in (np.arange(table.rows), np.arange(table.rows)[::-1], np.random.default_rng(seed).permutation(30)):
        found = kind.task.examples(table.take(order))
        assert np.bincount(found.unit).tolist() == np.minimum(counts, most).tolist()
        assert isinstance(kind.task, CreditTask)
        owners = table.take(order).columns["customer"][kind.task.rows(table.take(order))]
        assert found.names is not None
        assert (owners == found.names[found.unit]).all()


@pytest.fixture(scope="module")
def firm(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Firm]:
    world = Consortium(tmp_path_factory.mktemp("neighbours") / "home", firms=3)
    yield world.firms["firm-1"]
    world.close()


@EACH
@settings(deadline=None, max_examples=4)
@given(seed=seeds)
def test_a_unit_moves_the_sum_or_what_is_held_out_and_never_both(kind: Kind, seed: int, firm: Firm) -> None:
    plan = plan_for(kind, 0.05, held_out_micro=MICRO // 3)
    model = np.random.default_rng(seed).normal(size=plan.dimension)

    def sums(table: Table) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        firm.divided.clear()
        private = replace(firm.task("credit"), task=kind.task, examples=kind.task.examples(table))
        parts = divide(firm, private, plan)
        assert parts.held_out is not None
        return gradient(kind, plan, parts.trained, model), gradient(kind, plan, parts.held_out, model)

    for whole, less in neighbours(kind, seed, 3):
        moved = [float(np.linalg.norm(a - b)) for a, b in zip(sums(whole), sums(less), strict=True)]
        # Where the unit goes to the one part, the other may differ by the order of additions alone.
        assert min(moved) <= 1e-9
        assert max(moved) <= plan.unit_norm * (1 + 1e-9)


MEASURED = [
    pytest.param(kind, what, id=f"{kind.name}-{what}")
    for kind in KINDS
    for what in (
        ("units", "evaluation", "columns", "fairness") if kind.spec.kind == "credit" else ("units", "evaluation")
    )
]


@pytest.mark.parametrize(("kind", "what"), MEASURED)
@settings(deadline=None, max_examples=4)
@given(seed=seeds, scale=st.sampled_from([0.0, 1.0, 30.0, 1e308]))
def test_one_unit_moves_a_measurement_by_its_norm(kind: Kind, what: str, seed: int, scale: float) -> None:
    column = "sector" if what == "fairness" else ""
    bins = 5 if kind.spec.kind == "credit" and what in ("evaluation", "fairness") else 0
    statistic = statistic_of(kind.spec, what, bins, column)
    plan = a_plan(
        spec=kind.spec.hash,
        dimension=statistic.size,
        ring_bits=32,
        clip_micro=math.ceil(statistic.norm * MICRO),
        measures=what,
        measure_bins=bins,
        measure_column=column,
    )
    model = np.random.default_rng(seed).uniform(-1, 1, kind.task.architecture.size) * scale

    def total(table: Table) -> NDArray[np.float64]:
        examples = kind.task.examples(table)
        groups = groups_of_records(kind.task, table)[column] if isinstance(kind.task, CreditTask) and column else None
        vectors = unit_vectors(kind.task, statistic, plan, model, examples, groups)
        assert vectors.shape == (examples.units, statistic.size)
        assert np.sqrt(vectors.multiply(vectors).sum(axis=1)).max() <= statistic.norm * (1 + 1e-12)  # nobody is cut
        return bounded_sum(vectors, plan.clip, plan.box, None)

    for whole, less in neighbours(kind, seed, 3):
        one, other = total(whole), total(less)
        assert np.isfinite(one).all()
        assert np.linalg.norm(one - other) <= plan.clip * (1 + 1e-9)
        assert np.linalg.norm(on_grid(plan, one) - on_grid(plan, other)) <= most_steps(plan)
