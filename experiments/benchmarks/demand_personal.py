"""What federation brings a firm's own forecasts: the personal layer beside the same ensemble without the federation.

100 stores among 20 firms, 14 days ahead on the last 84 days; a privacy unit is 56 days of one store. Means over seeds
of division, noise and models, with 95 % confidence intervals (Student's t) of what differs from seed to seed.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Any

import numpy as np
from scipy.stats import t as student

from experiments.benchmarks.figure import Figure
from experiments.benchmarks.tables import CONFIGS, find_table
from experiments.simulation import simulate
from experiments.simulation_config import SimulationConfig, load_simulation_config

COMMAND = "ARTESIAN_DATA=FOLDER artesian bench demand_personal"
_TABLES = ("rossmann_100.csv.gz", "stores.csv.gz")  # all 100 stores where they are, else the 64 that ship
_LONG = {"rounds": 60, "rate": 2.0, "momentum": 0.9, "clip": 0.15}
_NOISY = {"rounds": 40, "rate": 2.0, "momentum": 0.8, "clip": 0.1}
_SHORT = {"rounds": 40, "rate": 1.0, "momentum": 0.8, "clip": 0.05}
_MONTHS, _NO_MONTHS = "tasks/stores-months.toml", "tasks/stores.toml"
# (what, epsilon, days of history, spec, steps, with the personal layer), settled on days before the test part.
_CASES: tuple[tuple[str, float, int | None, str, dict[str, float], bool], ...] = (
    ("epsilon 3", 3.0, None, _MONTHS, _LONG, True),
    ("epsilon 8", 8.0, None, _MONTHS, _LONG, True),
    ("epsilon 8, 180 days of history", 8.0, 180, _NO_MONTHS, _SHORT, True),
    ("epsilon 1", 1.0, None, _MONTHS, _NOISY, False),
)


def run(runs: int = 5) -> list[Figure]:
    """Means over `runs` seeds; the test days are the same in all. What a seed found goes to standard error."""
    table = next(path for name in _TABLES if (path := find_table(name)) is not None)
    path = CONFIGS / "stores-personal.toml"
    base = load_simulation_config(path)
    found: dict[str, list[dict[str, Any]]] = {case[0]: [] for case in _CASES}
    for seed in range(1, runs + 1):
        for what, epsilon, history, spec, steps, personal in _CASES:
            config = _variant(base, seed, epsilon, history, spec, steps, personal)
            figures = simulate(config, path.parent / spec, table, None, lambda _: None)["demand"]
            found[what].append(figures)
            told = {key: round(value, 5) for key, value in figures.items() if key.startswith("wape")}
            print(f"seed {seed}, {what}: {told}", file=sys.stderr, flush=True)
    return [figure for what, results in found.items() for figure in _figures(what, results, runs)]


def _variant(
    base: SimulationConfig,
    seed: int,
    epsilon: float,
    history: int | None,
    spec: str,
    steps: dict[str, float],
    personal: bool,
) -> SimulationConfig:
    document = base.model_dump()
    document.update(seed=seed, ledger=False, baselines=False)
    document["training"].update(steps)
    document["privacy"]["epsilon"] = epsilon
    document["data"].update(spec=spec, history_days=history)
    if not personal:
        document["personal"] = None
    return SimulationConfig.model_validate(document)


def _figures(what: str, results: Sequence[dict[str, Any]], runs: int) -> list[Figure]:
    alone = [one["wape_federated"] for one in results]
    naive = {"weekly seasonal naive": results[0]["wape_seasonal_naive"]}
    out = [_figure(f"global model alone, {what}", alone, "WAPE", naive, runs)]
    if "wape_own_personal" in results[0]:
        own = {name: [one[f"wape_own_{name}"] for one in results] for name in ("local", "ensemble", "personal")}
        gain = [1.0 - mine / local for mine, local in zip(own["personal"], own["local"], strict=True)]
        beside = {"the same ensemble trained locally": float(np.mean(own["local"]))}
        out.append(_figure(f"personal layer, {what}", own["personal"], "WAPE", beside, runs))
        always = [1.0 - mine / local for mine, local in zip(own["ensemble"], own["local"], strict=True)]
        chosen = {"without the choice, always the ensemble on the federated model": float(np.mean(always))}
        out.append(_figure(f"personal layer, {what}: lower than trained locally by", gain, "of WAPE", chosen, runs))
    return out


def _figure(name: str, values: Sequence[float], unit: str, beside: dict[str, float], runs: int) -> Figure:
    told = {**_interval(values), **beside}
    return Figure(
        name=name,
        value=round(float(np.mean(values)), 5),
        unit=unit,
        beside={key: round(value, 5) for key, value in told.items()},
        runs=runs,
        command=COMMAND,
    )


def _interval(values: Sequence[float]) -> dict[str, float]:
    """Half the width of the 95 % confidence interval of the mean."""
    n = len(values)
    half = float(student.ppf(0.975, n - 1) * np.std(values, ddof=1) / np.sqrt(n)) if n > 1 else float("nan")
    return {"95 % interval, plus or minus": half}
