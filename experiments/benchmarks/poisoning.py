"""What poisoning does to a credit model: AUC on held-out records for attacks and defences, with and without noise."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

from clients.data import Table
from clients.firm import close_firms
from clients.firm_config import SIMULATION
from experiments.benchmarks.figure import Figure
from experiments.benchmarks.tables import CONFIGS, find_table
from experiments.federation import FederatedTask, Terms, build, write_table
from experiments.poisoning import SHARES, PoisonedApp, attackers_of, flip_labels
from experiments.simulation import Prepared, prepare
from experiments.simulation_config import SimulationConfig, load_simulation_config
from server.app import app as server_app
from server.engine import run_in_process
from server.releases import current_release
from server.training_config import TrainingConfig

COMMAND = "ARTESIAN_DATA=FOLDER artesian bench poisoning"
TABLES: Mapping[str, str] = {"loans": "loans.csv.gz", "uci-credit-card": "uci_credit_card.csv.gz"}
FIRMS, GROUPS, ROUNDS, ROOT_RECORDS = 30, 6, 20, 100
ROOT = "root.csv"
DEFENCES: Mapping[str, Mapping[str, Any]] = {
    "no defence": {},
    "group median": {"groups": GROUPS, "combine": "median", "norm_cap": None},
    "norm cap": {"groups": GROUPS},
    "norm cap and cosine": {"groups": GROUPS, "root": ROOT},
    "norm cap and votes": {"groups": GROUPS, "held_out": 0.2},
    "all": {"groups": GROUPS, "root": ROOT, "held_out": 0.2},
}
NOISE: Mapping[str, Mapping[str, Any]] = {
    "without noise": {"privacy": {"mode": "none"}, "aggregation": {"kind": "plain"}},
    "epsilon 3": {"privacy": {"mode": "distributed", "epsilon": 3.0, "colluders": 1}},
}


def run(
    runs: int = 3,
    *,
    firms: int = FIRMS,
    rounds: int = ROUNDS,
    attacks: Sequence[str] = tuple(SHARES),
    noises: Sequence[str] = tuple(NOISE),
    defences: Sequence[str] = tuple(DEFENCES),
    tables: Sequence[str] = tuple(TABLES),
) -> list[Figure]:
    """One figure for each table, noise and attack, its defences beside it; medians over seeds of split and division."""
    out = []
    for table in tables:
        place = find_table(TABLES[table])
        if place is None:
            continue
        for noise in noises:
            found: dict[tuple[str, str], list[float]] = {}
            for seed in range(1, runs + 1):
                config, prepared, root = divided(table, place, firms, seed)
                for attack in attacks:
                    for defence in defences:
                        chosen = variant(config, rounds, NOISE[noise], DEFENCES[defence])
                        auc = poisoned_auc(prepared, root, chosen, attack, seed)
                        found.setdefault((attack, defence), []).append(auc)
            out += [_figure(table, noise, attack, defences, found, runs) for attack in attacks]
    return out


def variant(base: SimulationConfig, rounds: int, noise: Mapping[str, Any], rules: Mapping[str, Any]) -> TrainingConfig:
    """The table's own training, for so many rounds, with this noise and these rules."""
    steps = base.training.model_copy(update={"rounds": rounds}).model_dump()
    return TrainingConfig.model_validate({"training": steps, "robust": rules, **noise})


def _figure(
    table: str,
    noise: str,
    attack: str,
    defences: Sequence[str],
    found: Mapping[tuple[str, str], Sequence[float]],
    runs: int,
) -> Figure:
    medians = {name: round(median(found[attack, name]), 4) for name in defences}
    first = next(iter(medians))
    beside = {name: value for name, value in medians.items() if name != first}
    return Figure(f"{table}: {attack}, {noise}, {first}", medians[first], "AUC", beside, runs, COMMAND)


def divided(name: str, place: Path, firms: int, seed: int) -> tuple[SimulationConfig, Prepared, Table]:
    """A table among firms, and a root table for the coordinator, which no firm has."""
    path = CONFIGS / f"{name}.toml"
    base = load_simulation_config(path).model_dump()
    base["seed"] = seed
    base["partition"].update(firms=firms, kind="iid")
    config = SimulationConfig.model_validate(base)
    prepared = prepare(config, path.parent / config.data.spec, place)
    rng = np.random.Generator(np.random.PCG64([seed, 78]))
    parts, taken = [], []
    for part in prepared.parts:
        order = rng.permutation(part.rows)
        count = -(-ROOT_RECORDS // firms)
        taken.append(part.take(np.sort(order[:count])))
        parts.append(part.take(np.sort(order[count:])))
    columns = {name: np.concatenate([one.columns[name] for one in taken]) for name in taken[0].columns}
    root = Table(columns, sum(one.rows for one in taken))
    left = Prepared(prepared.task, prepared.spec_text, prepared.training, prepared.held_out, tuple(parts))
    return config, left, root


def poisoned_auc(prepared: Prepared, root: Table, config: TrainingConfig, attack: str, seed: int) -> float:
    """Train a federation with attackers in it; AUC of what comes out on the held-out records."""
    name, task = prepared.task.spec.name, prepared.task
    width = len(str(len(prepared.parts)))
    names = [f"firm-{k + 1:0{width}d}" for k in range(len(prepared.parts))]
    bad = attackers_of(attack, names, seed)
    flipped = set(bad) if attack == "label-flip" else set()
    parts = [
        flip_labels(part, task.spec) if member in flipped else part
        for member, part in zip(names, prepared.parts, strict=True)
    ]
    limits = {
        "min_cohort": 3,
        "colluders": 1,
        "aggregation": [config.aggregation.kind],
        "without_privacy": config.privacy.mode == "none",
        "without_ledger": True,
        "epsilon": 100.0,
        "delta": config.privacy.delta,
    }
    with tempfile.TemporaryDirectory(prefix="artesian-") as scratch:
        federated = FederatedTask(name, task, prepared.spec_text, parts, config)
        built = build(Path(scratch) / "home", [federated], Terms(SIMULATION, 3, seed, False, True, limits))
        write_table(root, built.coordinator / ROOT)
        app = PoisonedApp(attack, task, {member: built.member(member) for member in bad})
        nodes = [{"home": str(built.member(member))} for member in built.firms]
        try:
            run_in_process(server_app, app, nodes, {"home": str(built.coordinator), "task": name}, seed)  # type: ignore[arg-type]  # all it does is call it
            release = current_release(built.coordinator, name)
        finally:
            close_firms()
    assert release is not None
    return float(task.evaluate(release.descent.average, prepared.held_out)["auc"])
