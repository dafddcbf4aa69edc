"""One round of 100 firms with a scorecard, in this process and on Ray: same model from the same seed, other seconds."""

from __future__ import annotations

from statistics import median
from typing import Any

from experiments.benchmarks.figure import Figure
from experiments.benchmarks.tables import CONFIGS, find_table
from experiments.errors import ExperimentError
from experiments.simulation import simulate
from experiments.simulation_config import SimulationConfig, load_simulation_config

COMMAND = "artesian bench engines"
FIRMS = 100
_ROUNDS = 10


def run(runs: int = 3) -> list[Figure]:
    """Median seconds of a round, whose first (it reads the tables and starts workers) is counted apart.

    Raises:
        ExperimentError: the engines trained different models.
    """
    rounds: dict[str, list[float]] = {"in-process": [], "ray": []}
    whole: dict[str, list[float]] = {"in-process": [], "ray": []}
    for seed in range(1, runs + 1):
        models = set()
        for engine in rounds:
            summary = _simulate(engine, seed)
            models.add(summary["model"])
            rounds[engine].append(summary["seconds"]["round_median"])
            whole[engine].append(summary["seconds"]["train"])
        if len(models) != 1:
            raise ExperimentError(f"benchmark engines: seed {seed} gave different models on different engines")
    in_process, ray = (median(rounds[engine]) for engine in rounds)
    return [
        Figure(f"a round of {FIRMS} firms in process", 1e3 * in_process, "ms", {"Ray": 1e3 * ray}, runs, COMMAND),
        Figure(f"Ray's round over ours, {FIRMS} firms", ray / in_process, "times", {}, runs, COMMAND),
        Figure(
            f"{_ROUNDS} rounds of {FIRMS} firms with start and end",
            median(whole["in-process"]),
            "s",
            {"Ray": median(whole["ray"])},
            runs,
            COMMAND,
        ),
    ]


def _simulate(engine: str, seed: int) -> dict[str, Any]:
    path, table = CONFIGS / "loans.toml", find_table("loans.csv.gz")
    assert table is not None
    document = load_simulation_config(path).model_dump()
    document.update(engine=engine, seed=seed, ledger=False, baselines=False)
    document["partition"].update(kind="iid", firms=FIRMS)
    document["training"]["rounds"] = _ROUNDS
    document["privacy"].update(mode="local", epsilon=8.0)
    document["aggregation"]["kind"] = "plain"
    config = SimulationConfig.model_validate(document)
    return simulate(config, path.parent / config.data.spec, table, None, lambda _: None)
