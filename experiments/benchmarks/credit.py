"""What privacy and federation cost a credit model: AUC on held-out records, beside central and local-only training."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from clients.tasks.credit import CreditTask
from experiments.baselines import boosted_central
from experiments.benchmarks.figure import Figure
from experiments.benchmarks.interval import mean_and_half_width, share_and_half_width
from experiments.benchmarks.tables import CONFIGS, find_table
from experiments.simulation import prepare, simulate
from experiments.simulation_config import SimulationConfig, load_simulation_config

COMMAND = "ARTESIAN_DATA=FOLDER artesian bench credit"
TABLES = {
    "uci-credit-card.toml": "uci_credit_card.csv.gz",
    "loans.toml": "loans.csv.gz",
    "polish-bankruptcy.toml": "polish_1year.arff.gz",
}


@dataclass(frozen=True)
class Case:
    """One way to train; `rounds` and `rate` are settled on validation parts, see docs/figures.md."""

    mode: str
    epsilon: float | None
    rounds: int
    rate: float

    @property
    def name(self) -> str:
        return "without privacy" if self.epsilon is None else f"{self.mode}, epsilon {self.epsilon:g}"


# The first case of each table is the federation without privacy that the others are held against.
CASES: dict[str, tuple[Case, ...]] = {
    "uci-credit-card.toml": (
        Case("none", None, 40, 32.0),
        Case("distributed", 0.3, 20, 6.0),
        Case("distributed", 1.0, 20, 24.0),
        Case("distributed", 3.0, 40, 16.0),
        Case("distributed", 8.0, 40, 32.0),
        Case("local", 1.0, 20, 6.0),
        Case("local", 3.0, 20, 24.0),
    ),
    "loans.toml": (
        Case("none", None, 40, 16.0),
        Case("distributed", 1.0, 10, 12.0),
        Case("distributed", 3.0, 20, 8.0),
        Case("local", 8.0, 20, 8.0),
    ),
    "polish-bankruptcy.toml": (
        Case("none", None, 80, 16.0),
        Case("distributed", 3.0, 20, 16.0),
    ),
}


# Seeds of split, division and noise: the smaller a table, the more a figure depends on them.
SEEDS = {"uci-credit-card.toml": 5, "loans.toml": 10, "polish-bankruptcy.toml": 10}


def run() -> list[Figure]:
    """Means over seeds of split, division and noise; without the ledger, which changes no figure."""
    out: list[Figure] = []
    for config_name, cases in CASES.items():
        table = find_table(TABLES[config_name])
        if table is None:
            continue
        path = CONFIGS / config_name
        base = load_simulation_config(path)
        spec = path.parent / base.data.spec
        seeds = [_one_seed(base, spec, table, seed, cases) for seed in range(1, SEEDS[config_name] + 1)]
        for case in cases:
            out += _figures(base.name, case, seeds)
    return out


def variant(
    base: SimulationConfig,
    seed: int,
    mode: str,
    epsilon: float | None,
    rounds: int,
    *,
    baselines: bool,
    rate: float | None = None,
) -> SimulationConfig:
    """The configuration with another seed, privacy and steps; updates are masked where the mode needs it."""
    document = base.model_dump()
    document["seed"], document["ledger"], document["baselines"] = seed, False, baselines
    document["training"].update(rounds=rounds, rate=document["training"]["rate"] if rate is None else rate)
    document["privacy"].update(mode=mode, epsilon=epsilon)
    document["aggregation"]["kind"] = "masked" if mode == "distributed" else "plain"
    return SimulationConfig.model_validate(document)


@dataclass(frozen=True)
class _Seed:
    """What one split, one division and one draw of noise gave: what stands beside, and every case by its name."""

    beside: dict[str, Any]
    boosted: dict[str, float]
    found: dict[str, dict[str, Any]]

    @property
    def local(self) -> float:
        return float(self.beside["auc_local_tuned_mean"])


def _one_seed(base: SimulationConfig, spec: Path, table: Path, seed: int, cases: tuple[Case, ...]) -> _Seed:
    found = {}
    for case in cases:
        chosen = variant(base, seed, case.mode, case.epsilon, case.rounds, rate=case.rate, baselines=case is cases[0])
        found[case.name] = simulate(chosen, spec, table, None, lambda _: None)["credit"]
    prepared = prepare(variant(base, seed, "none", None, 1, baselines=False), spec, table)
    assert isinstance(prepared.task, CreditTask)
    boosted = boosted_central(prepared.task, prepared.training, prepared.held_out, seed)
    return _Seed(found[cases[0].name], boosted, found)


def _figures(table: str, case: Case, seeds: list[_Seed]) -> list[Figure]:
    """Of one case: its AUC with what stands beside, its calibration, and its share of what federation gains."""
    name, results = f"{table}, {case.name}", [one.found[case.name] for one in seeds]
    value, half = mean_and_half_width([one["auc_federated"] for one in results])
    gap, gap_half = mean_and_half_width([one.boosted["auc"] - one.found[case.name]["auc_federated"] for one in seeds])
    beside = {
        "95 % interval, plus or minus": half,
        "central LightGBM, tuned": mean_and_half_width([one.boosted["auc"] for one in seeds])[0],
        "gap to it": gap,
        "gap, 95 % interval, plus or minus": gap_half,
        **{what: _mean(seeds, key) for what, key in _BESIDE.items()},
    }
    out = [_figure(name, value, "AUC", beside, len(seeds))]
    for key in ("ece", "brier"):
        value, half = mean_and_half_width([one[key] for one in results])
        central = mean_and_half_width([one.boosted[key] for one in seeds])[0]
        beside = {"95 % interval, plus or minus": half, "central LightGBM, tuned": central}
        out.append(_figure(f"{name}, {key}", value, key, beside, len(seeds)))
    if case.epsilon is not None:
        gains = [one.found[case.name]["auc_federated"] - one.local for one in seeds]
        share, half = share_and_half_width(gains, [one.beside["auc_federated"] - one.local for one in seeds])
        beside = {"95 % interval, plus or minus": half, "federated without privacy": 1.0}
        out.append(_figure(f"{name}, share of the gain over local-only", share, "share", beside, len(seeds)))
    return out


_BESIDE = {
    "federated without privacy": "auc_federated",
    "central logistic regression": "auc_central",
    "the same, strength tuned": "auc_central_tuned",
    "local-only mean": "auc_local_mean",
    "the same, strength tuned at each firm": "auc_local_tuned_mean",
}


def _mean(seeds: list[_Seed], key: str) -> float:
    return mean_and_half_width([one.beside[key] for one in seeds])[0]


def _figure(name: str, value: float, unit: str, beside: dict[str, float], runs: int) -> Figure:
    rounded = {what: round(one, 5) for what, one in beside.items()}
    return Figure(name, round(value, 5), unit, rounded, runs, COMMAND)
