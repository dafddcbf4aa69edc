"""What privacy and federation cost a credit model: AUC on held-out records, beside central and local-only training."""

from __future__ import annotations

from statistics import median
from typing import Any

from experiments.benchmarks.figure import Figure
from experiments.benchmarks.tables import CONFIGS, find_table
from experiments.simulation import simulate
from experiments.simulation_config import SimulationConfig, load_simulation_config

COMMAND = "ARTESIAN_DATA=FOLDER artesian bench credit"
TABLES = {"uci-credit-card.toml": "uci_credit_card.csv.gz", "loans.toml": "loans.csv.gz"}
# (what, mode, epsilon, rounds), settled on validation parts; docs/figures.md says what was looked at before.
_CASES: dict[str, tuple[tuple[str, str, float | None, int], ...]] = {
    "uci-credit-card.toml": (
        ("without privacy", "none", None, 40),
        ("distributed, epsilon 1", "distributed", 1.0, 20),
        ("local, epsilon 3", "local", 3.0, 20),
    ),
    "loans.toml": (
        ("without privacy", "none", None, 20),
        ("distributed, epsilon 3", "distributed", 3.0, 20),
        ("local, epsilon 8", "local", 8.0, 20),
    ),
}


def run(runs: int = 5) -> list[Figure]:
    """Medians over `runs` seeds of split, division and noise; without the ledger, which changes no figure."""
    out: list[Figure] = []
    for config_name, cases in _CASES.items():
        table = find_table(TABLES[config_name])
        if table is None:
            continue
        path = CONFIGS / config_name
        base = load_simulation_config(path)
        found: dict[str, list[dict[str, Any]]] = {case[0]: [] for case in cases}
        for seed in range(1, runs + 1):
            for position, (what, mode, epsilon, rounds) in enumerate(cases):
                config = variant(base, seed, mode, epsilon, rounds, baselines=position == 0)
                summary = simulate(config, path.parent / base.data.spec, table, None, lambda _: None)
                found[what].append(summary["credit"])
        out += _figures(base.name, found, runs)
    return out


def variant(
    base: SimulationConfig, seed: int, mode: str, epsilon: float | None, rounds: int, *, baselines: bool
) -> SimulationConfig:
    """The configuration with another seed and privacy; updates are masked where the mode needs it."""
    document = base.model_dump()
    document["seed"], document["ledger"], document["baselines"] = seed, False, baselines
    document["training"]["rounds"] = rounds
    document["privacy"].update(mode=mode, epsilon=epsilon)
    document["aggregation"]["kind"] = "masked" if mode == "distributed" else "plain"
    return SimulationConfig.model_validate(document)


def _figures(name: str, found: dict[str, list[dict[str, Any]]], runs: int) -> list[Figure]:
    first = next(iter(found.values()))
    beside = {
        "central logistic regression": median(one["auc_central"] for one in first),
        "the same, strength tuned": median(one["auc_central_tuned"] for one in first),
        "local-only mean": median(one["auc_local_mean"] for one in first),
        "the same, strength tuned at each firm": median(one["auc_local_tuned_mean"] for one in first),
    }
    return [
        Figure(
            name=f"{name}, {what}",
            value=round(median(one["auc_federated"] for one in results), 5),
            unit="AUC",
            beside={key: round(value, 5) for key, value in beside.items()},
            runs=runs,
            command=COMMAND,
        )
        for what, results in found.items()
    ]
