"""How far a measured figure is off, by what it may cost: beside the error that it states."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from clients.data import Table, read_table
from clients.discrete_gaussian import discrete_gaussian
from clients.measuring.statistic import statistic_of
from clients.measuring.vectors import bounded_sum, unit_vectors
from clients.noise import RandomStream
from clients.plan import MICRO, Plan
from clients.tasks.spec import load_spec
from clients.tasks.task import Task, task_for
from clients.training import clipped_gradient_sum
from experiments.benchmarks.figure import Figure
from experiments.benchmarks.tables import CONFIGS, find_table
from server.figures import figures
from server.measurement_order import BINS
from server.measurement_report import counts_of
from server.training_config import TrainingConfig

COMMAND = "ARTESIAN_DATA=FOLDER artesian bench measurement"
FIRMS, DRAWS = 8, 60
EPSILONS = (0.1, 0.3, 1.0, 3.0)
TABLES = {
    "loans.toml": ("loans.csv.gz", "auc", "auc"),
    "uci-credit-card.toml": ("uci_credit_card.csv.gz", "auc", "auc"),
    "stores.toml": ("stores.csv.gz", "wape", "wape"),
}


def run(
    draws: int = DRAWS, tables: Sequence[str] = tuple(TABLES), epsilons: Sequence[float] = EPSILONS
) -> list[Figure]:
    """Root mean square errors over draws of the noise of 8 firms; one may be missing, and one side with the others."""
    out: list[Figure] = []
    for spec_name in tables:
        file, name, known_as = TABLES[spec_name]
        path = find_table(file)
        if path is not None:
            out += _of_table(CONFIGS / "tasks" / spec_name, path, name, known_as, draws, epsilons)
    return out


def _of_table(
    spec_path: Path, path: Path, name: str, known_as: str, draws: int, epsilons: Sequence[float]
) -> list[Figure]:
    spec = load_spec(spec_path)
    task = task_for(spec)
    training, held_out = task.set_aside(read_table(path, spec), 0.3, 1)
    model = _trained(task, training)
    # Units of a forecast are blocks of days, longer than the days that are set aside: it is measured where it learned.
    measured = held_out if spec.kind == "credit" else training
    examples, bins = task.examples(measured), BINS if spec.kind == "credit" else 0
    exact = task.evaluate(model, held_out)[known_as]
    out = []
    for epsilon in epsilons:
        plan = _plan(task, bins, examples.units, epsilon)
        statistic, grid = statistic_of(spec, "evaluation", bins), plan.grid(FIRMS)
        vectors = unit_vectors(task, statistic, plan, model, examples, None)
        bare = np.rint(bounded_sum(vectors, plan.clip, np.inf, None) / grid.step).astype(np.int64)
        stream = RandomStream.seeded(1, name, str(epsilon))
        told: list[dict[str, Any]] = []
        for _ in range(draws):
            noise = sum(discrete_gaussian(stream, grid.sigma, statistic.size) for _ in range(FIRMS))
            told.append(figures(statistic, not bins, bins, counts_of(statistic, bare + noise, FIRMS, grid))[name])
        bare_grid = type(grid)(grid.bound, grid.step, 0)
        without = figures(statistic, not bins, bins, counts_of(statistic, bare, FIRMS, bare_grid))[name]["value"]
        sure = [one for one in told if one["value"] is not None]
        if not sure:  # the noise drowns it each time
            continue
        error = np.sqrt(np.mean([(one["value"] - without) ** 2 for one in sure]))
        stated = np.mean([one["plus_minus"] for one in sure]) / 1.96
        unit = name.upper()
        out.append(
            Figure(
                f"{spec.name}: error of the {unit} of {examples.units:,} units measured at epsilon {epsilon:g}",
                round(float(error), 5),
                unit,
                {
                    "the deviation that it states": round(float(stated), 5),
                    f"{unit} without noise": without,
                    f"{unit} of the held-out records themselves": round(float(exact), 5),
                    "share of draws that tell it": len(sure) / draws,
                },
                draws,
                COMMAND,
            )
        )
    return out


def _trained(task: Task, table: Table) -> NDArray[np.float64]:
    """float64[d]: what forty steps without noise give on all training records."""
    examples, steps = task.examples(table), (40, 16.0, 0.8) if task.spec.kind == "credit" else (60, 2.0, 0.85)
    rounds, rate, momentum = steps
    model, velocity = np.zeros(task.architecture.size), np.zeros(task.architecture.size)
    for _ in range(rounds):
        gradient = clipped_gradient_sum(task.architecture, model, examples, 1.0) / examples.units
        velocity = momentum * velocity + gradient
        model = model - rate * velocity
    return model


def _plan(task: Task, bins: int, units: int, epsilon: float) -> Plan:
    statistic = statistic_of(task.spec, "evaluation", bins)
    clip = float(np.ceil(statistic.norm * MICRO) / MICRO)
    config = TrainingConfig.model_validate(
        {"training": {"rounds": 1, "clip": clip}, "privacy": {"epsilon": epsilon, "colluders": 1}}
    )
    measures = {"dimension": statistic.size, "measures": "evaluation", "measure_bins": bins}
    declared = {f"firm-{k}": -(-units // FIRMS) for k in range(FIRMS)}
    return config.plans(task, declared, 1, measures=measures)[0]
