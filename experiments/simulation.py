"""Simulate a federation on one table and compare it with every firm alone and with all data in one place."""

from __future__ import annotations

import json
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from clients.composition import tightest_epsilon
from clients.data import Table, read_table
from clients.firm_config import SIMULATION
from clients.mechanism import MICRO, Mechanism
from clients.plan import Plan
from clients.tasks.credit import CreditTask
from clients.tasks.demand import DemandTask
from clients.tasks.spec import load_spec
from clients.tasks.task import Task, task_for
from experiments import baselines
from experiments.federation import FederatedTask, Federation, Terms, build, round_figure, run
from experiments.firm_names import firm_names
from experiments.partition import divide
from experiments.personal import Divided, compare_credit, compare_demand, demand_parts, own_test
from experiments.simulation_config import SimulationConfig, SimulationConfigInvalid
from ledger.keys import SigningKey
from ledger.log import Log
from server.coordinator import LEDGER_FILE, SIGNING_KEY
from server.measurement_report import read_measurements
from server.releases import Release, current_release

Progress = Callable[[str], None]


@dataclass(frozen=True)
class Prepared:
    """A table with its test records set aside and the rest divided among firms.

    `own` says what each firm's own models are fitted to and judged on; empty where there are none.
    """

    task: Task
    spec_text: str
    training: Table
    held_out: Table
    parts: tuple[Table, ...]
    own: tuple[Divided, ...] = ()


def prepare(config: SimulationConfig, spec_path: Path, table_path: Path) -> Prepared:
    """Read, check, set the test records aside, divide the others.

    Raises:
        TaskSpecInvalid, TableUnreadable, TableInvalid, PartitionImpossible: what is wrong with the input.
    """
    spec = load_spec(spec_path)
    task = task_for(spec)
    table = read_table(table_path, spec)
    training, held_out = task.set_aside(table, config.data.test_share, config.seed)
    if config.data.evaluate == "validation":
        training, held_out = task.set_aside(training, config.data.test_share, config.seed + 1)
    if config.data.history_days is not None and spec.series is not None:
        date = training.columns[spec.series.date]
        training = training.take(date > date.max() - np.timedelta64(config.data.history_days, "D"))
    p = config.partition
    index = divide(training, spec, p.firms, p.kind, alpha=p.alpha, column=p.column, seed=config.seed)
    text = spec_path.read_text(encoding="utf-8")
    parts = [training.take(rows) for rows in index]
    if config.personal is None:
        return Prepared(task, text, training, held_out, tuple(parts))
    if isinstance(task, DemandTask):
        return Prepared(task, text, training, held_out, tuple(parts), tuple(demand_parts(task, parts, held_out)))
    aside = [own_test(task, part, k, config.personal.own_test_share, config.seed) for k, part in enumerate(parts)]
    own = tuple(Divided(part.take(~out), part.take(out)) for part, out in zip(parts, aside, strict=True))
    left = np.concatenate([rows[~out] for rows, out in zip(index, aside, strict=True)])
    return Prepared(task, text, training.take(np.sort(left)), held_out, tuple(one.training for one in own), own)


def simulate(
    config: SimulationConfig, spec_path: Path, table_path: Path, home: Path | None, progress: Progress
) -> dict[str, Any]:
    """Run a simulation; see `summarise` for what it returns.

    Args:
        home: where the federation's homes are kept; None uses a temporary directory that is removed.
    """
    if config.engine == "ray" and config.aggregation.kind == "masked" and not config.ledger:
        raise SimulationConfigInvalid("engine: ray with masked updates needs ledger = true, or use aggregation plain")
    if config.robust.root is not None:
        raise SimulationConfigInvalid("robust.root: a simulated coordinator has no table of its own; leave it out")
    holder = config.aggregation.key_holder
    if holder in firm_names(config.partition.firms):
        raise SimulationConfigInvalid(
            f"aggregation.key_holder: {holder!r} is one of the firms that train; name another, like 'auditor'"
        )
    began = time.monotonic()
    prepared = prepare(config, spec_path, table_path)
    seconds = {"prepare": time.monotonic() - began}
    progress(
        f"{prepared.training.rows} training records among {len(prepared.parts)} firms, "
        f"{prepared.held_out.rows} set aside"
    )
    with tempfile.TemporaryDirectory(prefix="artesian-") as scratch:
        began = time.monotonic()
        name = prepared.task.spec.name
        plans = config.plans(prepared.task, declared_units(prepared), 1)  # refuses what does not fit before all else
        federated = FederatedTask(name, prepared.task, prepared.spec_text, prepared.parts, config.training_only())
        federation = build(home or Path(scratch) / "home", [federated], _terms(config))
        seconds["found"] = time.monotonic() - began
        began = time.monotonic()
        run(federation, name, config.engine, progress, config.seed)
        seconds["train"] = time.monotonic() - began
        if config.measure:
            began = time.monotonic()
            run(federation, name, config.engine, progress, config.seed, config.measure)
            seconds["measure"] = time.monotonic() - began
        release = current_release(federation.coordinator, name)
        assert release is not None
        began = time.monotonic()
        figures = compare(federated, prepared, release, config.seed, with_baselines=config.baselines)
        figures |= _personal(prepared, release, config.seed)
        seconds["evaluate"] = time.monotonic() - began
        measurements = read_measurements(federation.coordinator, name)
        figures |= cost_with(measurements, plans)
        ledger = describe_ledger(federation) if config.ledger else None
        runs = json.loads((federation.coordinator / "runs" / f"{name}.json").read_text(encoding="utf-8"))
    seconds["round_median"] = float(np.median(runs["round_s"]))
    sizes = [part.rows for part in prepared.parts]
    return {
        "name": config.name,
        "seed": config.seed,
        "config": config.model_dump(mode="json", exclude_none=True),
        "evaluated_on": config.data.evaluate,
        "firm_records": sizes,
        prepared.task.spec.kind: figures,
        **({"measurements": measurements} if measurements else {}),
        "model": release.model.hex(),
        "ledger": ledger,
        "refusals": runs["refusals"],
        "seconds": {key: round(value, 4) for key, value in seconds.items()},
    }


def cost_with(measurements: Sequence[Mapping[str, Any]], plans: Sequence[Plan]) -> dict[str, float]:
    """What all measurements cost every unit together, and training and measurements; nothing where none costs.

    Args:
        measurements: as `read_measurements` gives them.
        plans: of the rounds that trained.
    """
    measured = [one["privacy"] for one in measurements if one["privacy"]["epsilon"] is not None]
    if not measured:
        return {}
    delta = max(one["delta"] for one in measured)
    asked = [Mechanism(round(one["noise_multiplier"] * MICRO)) for one in measured]
    trained = [mechanism for plan in plans if (mechanism := plan.round_mechanism()) is not None]
    return {
        "epsilon_measured": tightest_epsilon(asked, delta),
        "epsilon_together": tightest_epsilon([*trained, *asked], delta),
    }


def declared_units(prepared: Prepared) -> dict[str, int]:
    """What each firm would declare."""
    counts = [prepared.task.examples(part).units for part in prepared.parts]
    return {f"firm-{k}": round_figure(count) for k, count in enumerate(counts)}


def _terms(config: SimulationConfig) -> Terms:
    """Simulated firms agree to what the simulation asks: that is its purpose; deployed firms have their own limits."""
    limits = {
        "min_cohort": 3,
        "colluders": min(1, config.privacy.colluders if config.privacy.colluders is not None else 1),
        "smallest_group": config.aggregation.smallest_group,
        "aggregation": [config.aggregation.kind],
        "key_holders": [config.aggregation.key_holder] if config.aggregation.key_holder else [],
        "without_privacy": config.privacy.mode == "none",
        "without_ledger": not config.ledger,
        "measurements": sorted({one.what for one in config.measure}),
        # Costs add up to less than their sum, so this is enough for all that is asked.
        "epsilon": sum([config.privacy.epsilon or 1.0, *(one.epsilon or 1.0 for one in config.measure)]),
        "delta": config.privacy.delta,
    }
    in_memory = not config.ledger and config.engine == "in-process"
    return Terms(SIMULATION, min(3, config.partition.firms), config.seed, config.ledger, in_memory, limits)


def compare(
    federated: FederatedTask, prepared: Prepared, release: Release, seed: int, *, with_baselines: bool = True
) -> dict[str, Any]:
    """The federated model beside local-only and central training, all on the held-out records."""
    task, privacy = prepared.task, release.manifest["privacy"]
    measured = task.evaluate(release.descent.average, prepared.held_out)
    common = {
        "epsilon": privacy["epsilon"],
        "delta": privacy["delta"],
        "unit": privacy["unit"],
        "mode": privacy["mode"],
        "colluders": privacy["colluders"],
        "privacy_statement": privacy.get("statement"),
        "rounds": release.manifest["rounds"],
        "firms": len(prepared.parts),
        "held_out_records": prepared.held_out.rows,
    }
    if isinstance(task, CreditTask):
        own = {"auc_federated": measured["auc"], "brier": measured["brier"], "ece": measured["ece"]}
        return {**own, **(_credit_baselines(task, prepared, seed) if with_baselines else {}), **common}
    assert isinstance(task, DemandTask)
    figures: dict[str, Any] = {
        "wape_federated": measured["wape"],
        "wape_seasonal_naive": measured["wape_seasonal_naive"],
        "coverage_80": measured["coverage"],
        "horizon_days": task.series.horizon_days,
    }
    if with_baselines:
        alone = [baselines.demand_alone(task, part, prepared.held_out) for part in prepared.parts]
        figures["wape_local_mean"] = baselines.mean(alone)
        figures["wape_local"] = alone
        figures["wape_central"] = baselines.demand_alone(task, prepared.training, prepared.held_out)
    return {**figures, **common}


def _personal(prepared: Prepared, release: Release, seed: int) -> dict[str, Any]:
    """What the firms' own models reach on top of the federated one; nothing where there are none."""
    task, federated = prepared.task, release.descent.average
    if not prepared.own:
        return {}
    if isinstance(task, CreditTask):
        return compare_credit(task, federated, prepared.own, seed)
    assert isinstance(task, DemandTask)
    return compare_demand(task, federated, prepared.own, seed)


def _credit_baselines(task: CreditTask, prepared: Prepared, seed: int) -> dict[str, Any]:
    alone = [baselines.credit_alone(task, part, prepared.held_out, seed) for part in prepared.parts]
    central = baselines.credit_alone(task, prepared.training, prepared.held_out, seed)
    return {
        "auc_local_mean": baselines.mean([one["auc"] for one in alone]),
        "auc_local_worst": min(one["auc"] for one in alone),
        "auc_local": [one["auc"] for one in alone],
        "auc_local_tuned_mean": baselines.mean([one["auc_tuned"] for one in alone]),
        "auc_central": central["auc"],
        "auc_central_tuned": central["auc_tuned"],
        "brier_central": central["brier"],
    }


def describe_ledger(federation: Federation) -> dict[str, Any]:
    """What stands on the ledger now, read from its own files."""
    key = SigningKey.load(federation.coordinator / SIGNING_KEY)
    with Log.open(federation.coordinator / LEDGER_FILE, key) as log:
        (group,) = log.policy.groups.values()
        return {
            "entries": log.size,
            "checkpoints": log.checkpoints,
            "quorum": group.threshold,
            "witnesses": len(group.members),
            "final": log.final_size == log.size,
            "final_size": log.final_size,
        }
