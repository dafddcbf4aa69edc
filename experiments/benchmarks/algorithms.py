"""What the planner's rule rests on: algorithms, and paths shorter and longer than it proposes, on validation parts.

Runs are in float64, without grid and masks (`experiments.float_training`); every run of a case costs the same epsilon.
Test parts are not looked at.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from clients.tasks.credit import CreditTask
from clients.tasks.examples import Examples
from experiments.benchmarks.figure import Figure
from experiments.benchmarks.interval import mean_and_half_width
from experiments.benchmarks.tables import CONFIGS, find_table
from experiments.float_training import float_run
from experiments.simulation import Prepared, declared_units, prepare
from experiments.simulation_config import SimulationConfig, load_simulation_config

COMMAND = "ARTESIAN_DATA=FOLDER artesian bench algorithms"
TABLES = {
    "loans.toml": "loans.csv.gz",
    "uci-credit-card.toml": "uci_credit_card.csv.gz",
    "stores.toml": "stores.csv.gz",
}
CASES = (("distributed", 0.3), ("distributed", 1.0), ("distributed", 3.0), ("local", 1.0), ("local", 3.0))
Way = Mapping[str, Any]


@dataclass(frozen=True)
class Split:
    """One seed of split, division and noise."""

    base: SimulationConfig
    prepared: Prepared
    held: Mapping[str, Examples]
    units: Mapping[str, int]

    @classmethod
    def of(cls, name: str, seed: int) -> Split | None:
        """The validation part of a table; None where the table is not on this machine."""
        table = find_table(TABLES[name])
        if table is None:
            return None
        document = load_simulation_config(CONFIGS / name).model_dump()
        document.update(seed=seed, ledger=False, baselines=False)
        document["data"]["evaluate"] = "validation"
        base = SimulationConfig.model_validate(document)
        prepared = prepare(base, CONFIGS / base.data.spec, table)
        held = {f"firm-{k}": prepared.task.examples(part) for k, part in enumerate(prepared.parts)}
        return cls(base, prepared, held, declared_units(prepared))

    def config(self, mode: str, epsilon: float, way: Way) -> SimulationConfig:
        """How this split is trained; what `way` leaves open is the planner's."""
        document = self.base.model_dump()
        document["privacy"].update(mode=mode, epsilon=epsilon)
        document["aggregation"].update(kind="masked", drop_outs=None if "bands" in way else 1)
        document["training"] = {"plan": "auto", "rounds": 60}
        asked = SimulationConfig.model_validate(document).settled(self.prepared.task, self.units, 1)
        training = {**asked.training.model_dump(), **way}
        return SimulationConfig.model_validate({**document, "training": training})

    def measure(self, config: SimulationConfig) -> float:
        """AUC, or WAPE of a forecast, on the validation part."""
        task = self.prepared.task
        plans = config.plans(task, self.units, 1)
        model = float_run(task.architecture, self.held, plans, config.seed)
        return float(task.evaluate(model, self.prepared.held_out)["auc" if isinstance(task, CreditTask) else "wape"])


def ways(rounds: int, rate: float, mode: str) -> dict[str, Way]:
    """The ways that stand beside the planner's proposal of so many rounds at this rate."""
    out: dict[str, Way] = {
        "half the path": {"rounds": max(rounds // 2, 1), "rate": rate * rounds / max(rounds // 2, 1) / 2},
        "twice the path": {"rounds": 2 * rounds},
        "the path in half the rounds": {"rounds": max(rounds // 2, 1), "rate": rate * rounds / max(rounds // 2, 1)},
        "the path in twice the rounds": {"rounds": 2 * rounds, "rate": rate / 2},
        "Adam": {"optimiser": "adam", "rate": 0.15, "floor": 0.01},
    }
    if mode == "local":
        fewer = max(rounds // 4, 1)
        four = {"rounds": fewer, "local_steps": 4, "rate": rate * rounds / 4 / fewer}
        return {**out, "four local steps in a quarter of the rounds": four}
    twice = {"rounds": 2 * rounds, "rate": rate / 2}
    return {
        **out,
        "a Poisson sample of a quarter, twice the rounds": {"sampling_rate": 0.25, **twice},
        "correlated noise, 2 bands, twice the rounds": {"bands": 2, **twice},
        "correlated noise, 4 bands, twice the rounds": {"bands": 4, **twice},
    }


def run(runs: int = 5) -> list[Figure]:
    """Means over `runs` seeds that none of the settings was chosen on, with 95 % intervals."""
    out = []
    for name in TABLES:
        splits = [split for seed in range(11, 11 + runs) if (split := Split.of(name, seed)) is not None]
        for mode, epsilon in CASES if splits else ():
            out.append(_figure(name, splits, mode, epsilon))
    return out


def _figure(name: str, splits: list[Split], mode: str, epsilon: float) -> Figure:
    proposed = [split.config(mode, epsilon, {}) for split in splits]
    own = [split.measure(config) for split, config in zip(splits, proposed, strict=True)]
    mean, half = mean_and_half_width(own)
    beside = {"+/- 95 %": round(half, 5)}
    steps = proposed[0].training
    for what, way in ways(steps.rounds, steps.rate, mode).items():
        found = [split.measure(split.config(mode, epsilon, way)) for split in splits]
        away, spread = mean_and_half_width([one - other for one, other in zip(found, own, strict=True)])
        beside[what] = round(mean + away, 5)
        beside[f"{what}: difference +/- 95 %"] = round(spread, 5)
    unit = "AUC" if isinstance(splits[0].prepared.task, CreditTask) else "WAPE"
    title = f"{name.removesuffix('.toml')}, {mode}, epsilon {epsilon:g}"
    return Figure(
        f"{title}: planner, {steps.rounds} rounds at {steps.rate:g}", round(mean, 5), unit, beside, len(splits), COMMAND
    )
