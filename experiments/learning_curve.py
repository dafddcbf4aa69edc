"""How a run's model became better, round by round, on held-out records: a researcher's view from outside."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit

from clients.data import Table
from clients.tasks.credit import CreditTask
from clients.tasks.task import Task
from ledger.rules import Phase
from server.coordinator import Coordinator
from server.model_store import load_model

METRIC = {"credit": "auc", "demand": "wape"}


def curve(home: Path, task_name: str, task: Task, held_out: Table) -> list[float]:
    """The task's main metric after each aggregated round of a recorded run, from the stored models."""
    with Coordinator(home) as coordinator:
        rounds = [r for r in coordinator.log.state.rounds.values() if r.task == task_name]
        done = sorted((r for r in rounds if r.phase in (Phase.AGGREGATED, Phase.PUBLISHED)), key=lambda r: r.index)
        models = [load_model(coordinator.artifacts, r.model) for r in done if r.model is not None]
    return [round(task.evaluate(model.average, held_out)[METRIC[task.spec.kind]], 6) for model in models]


def calibration(
    task: CreditTask, parameters: NDArray[np.float64], held_out: Table, bins: int = 10
) -> list[list[float]]:
    """[mean predicted, observed rate, records] of equally large groups, by predicted probability of default."""
    pd = expit(task.log_odds(parameters, held_out))
    targets = task.targets(held_out)
    groups = np.array_split(np.argsort(pd, kind="stable"), bins)
    return [[float(pd[g].mean()), float(targets[g].mean()), float(len(g))] for g in groups if len(g)]
