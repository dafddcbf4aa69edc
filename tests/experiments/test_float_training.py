"""Runs in float64 are what whole runs are, but for grid and masks; ways of training beside the planner's are valid."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from federation_world import federation, opened, spec, tables, train, training

from clients.tasks.task import task_for
from experiments.benchmarks.algorithms import CASES, ways
from experiments.float_training import float_run
from server.training_config import TrainingConfig

TASK = task_for(spec())
HELD = {f"firm-{k + 1}": TASK.examples(table) for k, table in enumerate(tables(3))}
UNITS = {name: one.units for name, one in HELD.items()}


def averages(config: TrainingConfig, seeds: int) -> Any:
    plans = config.plans(TASK, UNITS, 1)
    return np.array([float_run(TASK.architecture, HELD, plans, seed) for seed in range(seeds)])


@pytest.mark.parametrize("way", [{}, {"optimiser": "adam", "rate": 0.1}, {"local_steps": 3}])
def test_without_noise_it_is_the_whole_run(tmp_path: Path, way: dict[str, Any]) -> None:
    config = training(3, mode="none", **{"rate": 2.0, **way})
    built = federation(tmp_path / "f", 3, config, ledger=False, in_memory=True)
    with opened(built) as coordinator:
        release = train(built, coordinator)
    np.testing.assert_allclose(averages(config, 1)[0], release.descent.average, atol=2e-3)


@pytest.mark.parametrize("way", [{}, {"bands": 3}, {"sampling_rate": 0.5}, {"local_steps": 2}])
def test_its_noise_is_the_plans(way: dict[str, Any]) -> None:
    """One round from the start, where momentum has nothing to add: what differs between seeds is noise and samples."""
    mode = "local" if "local_steps" in way else "distributed"
    config = training(1, mode=mode, epsilon=0.5, **{"rate": 2.0, "momentum": 0.0, "average_last": 0.0, **way})
    plan = config.plans(TASK, UNITS, 1)[0]
    found = averages(config, 200).std(axis=0)
    wanted = 2.0 * plan.noise_in_mean(3) * plan.local_steps**0.5
    assert np.median(found) == pytest.approx(wanted, rel=0.2)


@pytest.mark.parametrize(("mode", "epsilon"), CASES)
def test_every_way_beside_the_planners_is_a_plan_of_the_same_epsilon(mode: str, epsilon: float) -> None:
    units = {f"firm-{k}": 500 for k in range(8)}
    for way in ways(7, 12.0, mode).values():
        document: dict[str, Any] = {"training": {"rounds": 7, "rate": 12.0, **way}}
        document |= {"privacy": {"mode": mode, "epsilon": epsilon}}
        assert TrainingConfig.model_validate(document).plans(TASK, units, 1)
