"""The poisoning benchmark trains what it says, and every defence of it is a plan."""

from __future__ import annotations

from pathlib import Path

import pytest

from experiments.benchmarks import poisoning
from experiments.simulation import simulate
from experiments.simulation_config import SimulationConfig, SimulationConfigInvalid
from server.training_config import TrainingConfig


def test_a_figure_stands_beside_its_defences() -> None:
    (figure,) = poisoning.run(
        1,
        rounds=1,
        attacks=["label-flip"],
        noises=["without noise"],
        defences=["norm cap", "norm cap and votes"],
        tables=["loans"],
    )
    assert figure.name == "loans: label-flip, without noise, norm cap"
    assert 0.5 < figure.value < 1
    assert figure.beside.keys() == {"norm cap and votes"}


def test_defences_are_configurations() -> None:
    for rules in poisoning.DEFENCES.values():
        for noise in poisoning.NOISE.values():
            TrainingConfig.model_validate({"robust": rules, **noise})


def test_a_simulated_coordinator_has_no_root_table() -> None:
    config = SimulationConfig.model_validate({"data": {"spec": "x"}, "robust": {"groups": 2, "root": "root.csv"}})
    with pytest.raises(SimulationConfigInvalid, match=r"robust\.root"):
        simulate(config, Path("spec"), Path("table"), None, lambda _: None)
