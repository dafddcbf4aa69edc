"""The personal layer in a simulation: own tests that nothing was trained on, and figures of every firm."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from federation_world import SPEC, spec, tables
from task_world import demand_spec, demand_table

from clients.tasks.credit import CreditTask
from clients.tasks.demand import DemandTask
from experiments.federation import write_table
from experiments.personal import Divided, compare_credit, compare_demand, demand_parts, own_test
from experiments.simulation import simulate
from experiments.simulation_config import SimulationConfig

TASK = CreditTask(spec())


def test_an_own_test_is_a_share_and_the_same_for_one_seed() -> None:
    (part,) = tables(1, rows=200)
    out = own_test(TASK, part, 0, 0.3, 1)
    assert 50 < out.sum() < 70
    np.testing.assert_array_equal(out, own_test(TASK, part, 0, 0.3, 1))
    assert not np.array_equal(out, own_test(TASK, part, 1, 0.3, 1))


def test_a_firm_whose_training_would_be_left_with_one_class_has_no_test() -> None:
    (part,) = tables(1, rows=40)
    few = TASK.targets(part) < 0.5
    few[np.flatnonzero(~few)[:1]] = True
    lone = part.take(few)
    tried = [own_test(TASK, lone, 0, 0.9, seed) for seed in range(8)]
    assert any(not out.any() for out in tried)
    assert all(len(np.unique(TASK.targets(lone.take(~out)))) == 2 for out in tried)


def test_credit_figures_of_firms_that_differ() -> None:
    firms = [Divided(part, part) for part in tables(2, rows=80)]
    found = compare_credit(TASK, np.full(TASK.architecture.size, 4.0), firms, seed=1)
    assert found["brier_own_calibrated"] < found["brier_own_federated"]
    assert found["auc_own_calibrated"] == found["auc_own_federated"]
    assert [one["tested"] for one in found["personal"]] == [80, 80]


def test_demand_figures_are_over_all_firms_test_days() -> None:
    task = DemandTask(demand_spec())
    training, held_out = task.set_aside(demand_table(stores=1, days=110), 0.0, 1)
    found = compare_demand(task, np.zeros(task.architecture.size), demand_parts(task, [training], held_out), seed=1)
    (firm,) = found["personal"]
    assert found["wape_own_personal"] == pytest.approx(firm["wape"]["personal"])
    assert firm["days"] == 2 * 6  # two origins, Sundays closed
    np.testing.assert_allclose(
        found["wape_own_federated"], task.evaluate(np.zeros(task.architecture.size), held_out)["wape"]
    )


def test_a_simulation_says_what_own_models_reach(tmp_path: Path) -> None:
    (tmp_path / "credit.toml").write_text(SPEC)
    whole = tables(1, rows=400)[0]
    write_table(whole, tmp_path / "table.csv")
    document: dict[str, Any] = {
        "ledger": False,
        "baselines": False,
        "data": {"spec": "credit.toml"},
        "partition": {"firms": 4},
        "personal": {},
        "training": {"rounds": 1},
        "privacy": {"mode": "none"},
        "aggregation": {"kind": "plain"},
    }
    config = SimulationConfig.model_validate(document)
    part = simulate(config, tmp_path / "credit.toml", tmp_path / "table.csv", None, lambda _: None)["credit"]
    assert {f"brier_own_{name}" for name in ("federated", "calibrated", "local", "personal")} <= part.keys()
    assert len(part["personal"]) == 4
