"""From real tables to sums: taking one privacy unit's records away moves the clipped sum by the clip at most."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from task_world import credit_spec, credit_table, demand_spec, demand_table

from clients.data import Table
from clients.tasks.demand import DemandTask
from clients.tasks.examples import Examples
from clients.tasks.recurrent_demand import RecurrentDemandTask
from clients.tasks.spec import TaskSpec
from clients.tasks.task import Task, task_for
from clients.training import clipped_gradient_sum

RECURRENT = {"kind": "gru-quantile", "hidden": [4]}
ENTITY = {"unit": "entity", "entity": "customer", "max_rows": 2}
Mask = NDArray[np.bool_]


def block_of(task: DemandTask, table: Table) -> NDArray[np.int64]:
    """The block of every record, from its series' name and day alone."""
    import hashlib

    length = task.spec.privacy.block_days
    assert length is not None
    names = table.columns["store"].tolist()
    shift = [int.from_bytes(hashlib.sha256(n.encode()).digest()[:4], "big") % length for n in names]
    return (table.columns["day"].astype(np.int64) - np.array(shift)) // length


def row_units(task: Task, table: Table) -> Iterator[Mask]:
    for row in range(table.rows):
        yield np.arange(table.rows) == row


def entity_units(task: Task, table: Table) -> Iterator[Mask]:
    for name in np.unique(table.columns["customer"]):
        yield table.columns["customer"] == name


def series_units(task: Task, table: Table) -> Iterator[Mask]:
    for name in np.unique(table.columns["store"]):
        yield table.columns["store"] == name


def block_units(task: Task, table: Table) -> Iterator[Mask]:
    assert isinstance(task, DemandTask)
    blocks = block_of(task, table)
    for of_one in series_units(task, table):
        for block in np.unique(blocks[of_one]):
            yield of_one & (blocks == block)


Units = Callable[[Task, Table], Iterator[Mask]]
KINDS: list[object] = [
    pytest.param(credit_spec(), row_units, id="row"),
    pytest.param(credit_spec(privacy=ENTITY), entity_units, id="entity"),
    pytest.param(credit_spec(privacy=ENTITY, model={"kind": "mlp", "hidden": [4]}), entity_units, id="perceptron"),
    pytest.param(demand_spec(), block_units, id="block"),
    pytest.param(demand_spec(privacy={"unit": "series"}), series_units, id="series"),
    pytest.param(demand_spec(model=RECURRENT), block_units, id="recurrent"),
]


def table_for(spec: TaskSpec, seed: int) -> Table:
    return credit_table(spec, 14, seed) if spec.kind == "credit" else demand_table(seed=seed)


def largest_move(task: Task, table: Table, units: Units, clip: float, change: Callable[[Examples], Examples]) -> float:
    """How far the clipped sum moves, at most, when one unit's records are taken out of the table."""
    parameters = task.architecture.initial(1) + 0.3
    total = clipped_gradient_sum(task.architecture, parameters, change(task.examples(table)), clip)
    moves = []
    for of_one in units(task, table):
        less = task.examples(table.take(~of_one))
        without = clipped_gradient_sum(task.architecture, parameters, change(less), clip)
        moves.append(float(np.linalg.norm(total - without)))
    return max(moves)


@pytest.mark.parametrize(("spec", "units"), KINDS)
@pytest.mark.parametrize("seed", [1, 2, 3])
@pytest.mark.parametrize("clip", [0.02, 0.5])
def test_one_unit_moves_the_sum_by_the_clip_at_most(spec: TaskSpec, units: Units, seed: int, clip: float) -> None:
    moved = largest_move(task_for(spec), table_for(spec, seed), units, clip, lambda x: x)
    assert 0 < moved <= clip * (1 + 1e-9)


@pytest.mark.parametrize(("spec", "units"), KINDS[1:])
def test_the_test_sees_examples_clipped_one_by_one(spec: TaskSpec, units: Units) -> None:
    """Attack: every example its own unit, as in training that protects windows or rows only."""

    def one_by_one(given: Examples) -> Examples:
        n = len(given.targets)
        return dataclasses.replace(given, unit=np.arange(n), units=n, names=None)

    clip = 0.02
    assert largest_move(task_for(spec), table_for(spec, 1), units, clip, one_by_one) > 1.2 * clip


def test_the_test_sees_block_edges_that_hang_on_the_data(monkeypatch: pytest.MonkeyPatch) -> None:
    """Attack: blocks counted from a series' first day; without its first block all others are cut anew."""
    honest = DemandTask._training_origins

    def from_first_day(task: DemandTask, series: object) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        named = dataclasses.replace(series, day=series.day - series.day[0])  # type: ignore[attr-defined,type-var]
        origins, blocks = honest(task, named)
        return origins + series.day[0], blocks  # type: ignore[attr-defined]

    task, table, clip = DemandTask(demand_spec()), demand_table(), 0.02
    assert largest_move(task, table, block_units, clip, lambda x: x) <= clip * (1 + 1e-9)
    monkeypatch.setattr(DemandTask, "_training_origins", from_first_day)
    assert largest_move(task, table, block_units, clip, lambda x: x) > 1.5 * clip


@pytest.mark.parametrize("seed", [1, 2])
@pytest.mark.parametrize("kind", ["days", "windows"])
def test_a_block_taken_out_leaves_every_other_units_examples_as_they_are(kind: str, seed: int) -> None:
    table = demand_table(seed=seed)
    task = DemandTask(demand_spec()) if kind == "days" else RecurrentDemandTask(demand_spec(model=RECURRENT))

    def by_unit(of: Examples) -> set[bytes]:
        parts = []
        for unit in range(of.units):
            rows = of.unit == unit
            parts.append(of.inputs[rows].tobytes() + of.targets[rows].tobytes() + of.offset[rows].tobytes())
        assert len(set(parts)) == of.units
        return set(parts)

    whole = by_unit(task.examples(table))
    gone = 0
    for of_one in block_units(task, table):
        less = by_unit(task.examples(table.take(~of_one)))
        assert less <= whole
        assert len(whole) - len(less) <= 1
        gone += len(whole) - len(less)
    assert gone == len(whole)


def test_windows_lie_inside_one_block_whole_and_overlap_there() -> None:
    task, table = DemandTask(demand_spec()), demand_table(stores=1)
    (series,) = task.daily(table)
    origins, blocks = task._training_origins(series)
    first, last = origins - task.series.lookback_days, origins + task.series.horizon_days - 1
    day = {int(d): int(b) for d, b in zip(series.day, block_of(task, table), strict=True)}
    assert [day[int(d)] for d in first] == [day[int(d)] for d in last]
    assert len(set(blocks.tolist())) == len({day[int(d)] for d in first})
    assert len(origins) > 2 * len(set(blocks.tolist()))
    assert int(np.diff(origins).min()) == task.series.window_step_days < task.series.horizon_days


def test_one_unit_a_series_whatever_its_length() -> None:
    assert task_for(demand_spec(privacy={"unit": "series"})).examples(demand_table(stores=4)).units == 4


def test_an_entity_gives_its_first_rows_and_no_more() -> None:
    spec = credit_spec(privacy=ENTITY)
    table = credit_table(spec, 30)
    given = task_for(spec).examples(table)
    counts = np.unique(table.columns["customer"], return_counts=True)[1]
    assert np.bincount(given.unit).tolist() == np.minimum(counts, 2).tolist()
    reordered = table.take(np.argsort(table.columns["customer"], kind="stable"))
    np.testing.assert_array_equal(task_for(spec).examples(reordered).targets, given.targets)


@settings(deadline=None, max_examples=25)
@given(st.integers(0, 2**16), st.integers(1, 5), st.integers(0, 13))
def test_a_row_more_of_one_entity_changes_that_entity_only(seed: int, max_rows: int, row: int) -> None:
    spec = credit_spec(privacy={**ENTITY, "max_rows": max_rows})
    task, table = task_for(spec), credit_table(spec, 14, seed)
    owner = table.columns["customer"][row]
    others = table.columns["customer"] != owner
    of_others = task.examples(table.take(others)) if others.any() else None
    everyone = task.examples(table.take(np.arange(table.rows) != row)) if table.rows > 1 else None
    assert everyone is not None
    names = np.unique(np.delete(table.columns["customer"], row))
    kept = everyone.sample(names != owner)
    if of_others is not None:
        np.testing.assert_array_equal(kept.targets, of_others.targets)
        np.testing.assert_array_equal(kept.inputs.toarray(), of_others.inputs.toarray())


# Records that could spoil a sum.


@pytest.mark.parametrize("value", [0.0, 1e-300])
def test_a_series_that_sells_nothing_spoils_nothing(value: float) -> None:
    """Its ratios have no scale; a NaN here would make the firm fail, and so tell that the series is there."""
    task, table = DemandTask(demand_spec()), demand_table()
    sales = np.where(table.columns["store"] == "s1", value, table.columns["sales"])
    given = task.examples(Table({**table.columns, "sales": sales}, table.rows))
    total = clipped_gradient_sum(task.architecture, np.zeros(task.architecture.size), given, 0.2)
    assert np.isfinite(total).all()
    assert np.isfinite(given.inputs).all()
    assert np.isfinite(given.targets).all()


def test_an_unknown_value_is_no_sale_of_nothing() -> None:
    task, table = DemandTask(demand_spec()), demand_table(stores=1)
    sales = table.columns["sales"].copy()
    sales[60] = np.nan
    with_gap = task.examples(Table({**table.columns, "sales": sales}, table.rows))
    without = task.examples(table.take(np.arange(table.rows) != 60))
    np.testing.assert_array_equal(with_gap.targets, without.targets)


def test_a_table_too_short_for_a_window_has_no_units() -> None:
    given = task_for(demand_spec()).examples(demand_table(stores=2, days=20))
    assert (given.units, given.inputs.shape) == (0, (0, 55))
