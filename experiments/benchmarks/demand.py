"""What privacy costs a demand model: WAPE on the last 84 days, beside seasonal-naive, local-only and central models."""

from __future__ import annotations

from statistics import median
from typing import Any

from experiments.benchmarks.credit import variant
from experiments.benchmarks.figure import Figure
from experiments.benchmarks.tables import CONFIGS, find_table
from experiments.simulation import simulate
from experiments.simulation_config import load_simulation_config

COMMAND = "ARTESIAN_DATA=FOLDER artesian bench demand"
_TABLES = ("rossmann_100.csv.gz", "stores.csv.gz")  # all 100 stores where they are, else the 64 that ship
_CASES: tuple[tuple[str, str, float | None], ...] = (
    ("without privacy", "none", None),
    ("distributed, epsilon 8 per 56 days of a store", "distributed", 8.0),
    ("distributed, epsilon 3 per 56 days of a store", "distributed", 3.0),
)


def run(runs: int = 5) -> list[Figure]:
    """Medians over `runs` seeds of division and noise; the test days are the same in all."""
    table = next(path for name in _TABLES if (path := find_table(name)) is not None)
    path = CONFIGS / "stores.toml"
    base = load_simulation_config(path)
    found: dict[str, list[dict[str, Any]]] = {case[0]: [] for case in _CASES}
    for seed in range(1, runs + 1):
        for position, (what, mode, epsilon) in enumerate(_CASES):
            config = variant(base, seed, mode, epsilon, base.training.rounds, baselines=position == 0)
            summary = simulate(config, path.parent / base.data.spec, table, None, lambda _: None)
            found[what].append(summary["demand"])
    first = next(iter(found.values()))
    beside = {
        "weekly seasonal naive": median(one["wape_seasonal_naive"] for one in first),
        "ridge at each firm alone, mean": median(one["wape_local_mean"] for one in first),
        "central ridge": median(one["wape_central"] for one in first),
    }
    return [
        Figure(
            name=f"stores ({table.name}), {what}",
            value=round(median(one["wape_federated"] for one in results), 5),
            unit="WAPE",
            beside={key: round(value, 5) for key, value in beside.items()},
            runs=runs,
            command=COMMAND,
        )
        for what, results in found.items()
    ]
