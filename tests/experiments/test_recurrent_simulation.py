"""A recurrent model goes the whole way of a round: planned, trained with noise under masks, released, evaluated."""

from __future__ import annotations

from pathlib import Path

import tomli_w
from task_world import DEMAND, demand_table, document

from experiments.federation import write_table
from experiments.simulation import simulate
from experiments.simulation_config import SimulationConfig


def test_a_recurrent_model_is_trained_with_privacy(tmp_path: Path) -> None:
    model = {"kind": "gru-quantile", "hidden": [4]}
    (tmp_path / "spec.toml").write_text(tomli_w.dumps(document(DEMAND, model=model)))
    write_table(demand_table(stores=6), tmp_path / "table.csv")
    config = SimulationConfig.model_validate(
        {
            "name": "recurrent",
            "ledger": False,
            "data": {"spec": "spec.toml"},
            "partition": {"kind": "iid", "firms": 3},
            "training": {"rounds": 2, "clip": 0.2},
            "privacy": {"mode": "distributed", "epsilon": 8.0, "colluders": 0},
        }
    )
    summary = simulate(config, tmp_path / "spec.toml", tmp_path / "table.csv", None, lambda _: None)
    figures = summary["demand"]
    assert summary["refusals"] == []
    assert (figures["rounds"], figures["unit"]) == (2, "35 days of one store")
    assert 7.0 < figures["epsilon"] <= 8.0
    assert 0 < figures["wape_federated"] < 1
    assert 0 < figures["wape_central"] < 1
