"""What the credit benchmark computes beside its simulations: intervals, and what boosted trees reach."""

from __future__ import annotations

import numpy as np
import pytest
from task_world import credit_spec, credit_table

from clients.tasks.credit import CreditTask
from clients.tasks.spec import load_spec
from experiments.baselines import boosted_central
from experiments.benchmarks.credit import CASES, TABLES, variant
from experiments.benchmarks.interval import mean_and_half_width, share_and_half_width
from experiments.benchmarks.tables import CONFIGS
from experiments.simulation_config import load_simulation_config


def test_an_interval_is_students() -> None:
    mean, half = mean_and_half_width([1.0, 2.0, 3.0, 4.0, 5.0])
    assert mean == 3.0
    assert half == pytest.approx(2.7764 * np.sqrt(2.5 / 5), rel=1e-4)  # t of 4 degrees of freedom, from a table
    assert mean_and_half_width([1.0]) == (1.0, np.inf)


def test_the_interval_of_a_share_holds_it_as_often_as_it_says() -> None:
    rng = np.random.default_rng(7)
    held = 0
    for _ in range(500):
        wholes = rng.normal(2.0, 0.2, size=10)
        parts = 0.7 * wholes + rng.normal(0.0, 0.1, size=10)
        share, half = share_and_half_width(list(parts), list(wholes))
        held += abs(share - 0.7) <= half
    assert 0.92 <= held / 500 <= 0.98
    assert share_and_half_width([1.0, 2.0], [2.0, 4.0]) == (0.5, 0.0)


@pytest.mark.parametrize("name", TABLES)
def test_every_case_can_be_configured(name: str) -> None:
    base = load_simulation_config(CONFIGS / name)
    assert CASES[name][0].epsilon is None
    for case in CASES[name]:
        chosen = variant(base, 3, case.mode, case.epsilon, case.rounds, rate=case.rate, baselines=False)
        assert (chosen.seed, chosen.training.rate, chosen.privacy.epsilon) == (3, case.rate, case.epsilon)
        assert chosen.aggregation.kind == ("masked" if case.mode == "distributed" else "plain")


@pytest.mark.parametrize("name", ["uci-credit-card", "loans"])
def test_the_seed_of_shipped_trees_is_the_tasks_name(name: str) -> None:
    """Nothing was chosen with it."""
    spec = load_spec(CONFIGS / "tasks" / f"{name}.toml")
    assert spec.trees is not None
    assert spec.trees.seed == spec.name


def test_boosted_trees_take_raw_columns_missing_ones_too() -> None:
    task = CreditTask(credit_spec())
    table = credit_table(task.spec, 400)
    training, held_out = task.set_aside(table, 0.3, 1)
    found = boosted_central(task, training, held_out, seed=1)
    assert found == boosted_central(task, training, held_out, seed=1)
    assert all(0 <= found[key] <= 1 for key in ("auc", "brier", "ece"))
    assert any(np.isnan(values).any() for values in training.columns.values() if values.dtype.kind == "f")
