"""A whole audit: every claim once as the code is, and with every fault that should be found."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from experiments.errors import ExperimentError
from experiments.privacy_audit.audited_run import audited_run
from experiments.privacy_audit.canaries import CanaryTask
from experiments.privacy_audit.config import AuditConfigInvalid, PrivacyAuditConfig, Subject
from experiments.privacy_audit.faults import FAULTS, FaultName, Mode
from experiments.privacy_audit.membership import attack_memberships
from experiments.privacy_audit.scores import claimed_mu, measured
from experiments.privacy_audit.variants import group, with_model
from experiments.simulation import Prepared, prepare
from experiments.simulation_config import SimulationConfig, load_simulation_config
from server.training_config import TrainingConfig

Progress = Callable[[str], None]
_SEEDS_APART = 100_003  # so that no two runs of an audit draw the same noise


class ClaimBroken(ExperimentError):
    """More can be measured than is claimed."""

    exit_code = 1


@dataclass(frozen=True)
class Case:
    """One run of an audit."""

    mode: Mode
    epsilon: float
    fault: FaultName


@dataclass(frozen=True)
class Prey:
    """A subject, ready to be audited.

    Attributes:
        rows: of the largest privacy unit of any firm.
    """

    simulation: SimulationConfig
    prepared: Prepared
    rows: int


def audit(config: PrivacyAuditConfig, folder: Path, progress: Progress) -> dict[str, Any]:
    """Run an audit.

    Args:
        folder: of the configuration, which the paths in it are relative to.

    Returns:
        A summary that JSON can hold: under `privacy_audit` what is common and one entry a run, under `membership` one
        for each attack on members.
    """
    began, seconds = time.monotonic(), dict[str, float]()
    claims = sum(len(subject.epsilons) * len(subject.modes) for subject in config.subject)
    runs: list[dict[str, Any]] = []
    preys = [prepare_subject(config, subject, folder) for subject in config.subject]  # what is wrong, before any run
    whole = sum(len(list(cases(one, prey.rows))) for one, prey in zip(config.subject, preys, strict=True))
    shadows = 0 if config.membership is None else config.membership.models * (1 + len(config.membership.epsilons))
    progress(f"{whole} federations to train and attack" + (f", then {shadows} models" if shadows else ""))
    for subject, prey in zip(config.subject, preys, strict=True):
        started = time.monotonic()
        todo = list(cases(subject, prey.rows))
        what = ", ".join(filter(None, (prey.prepared.task.spec.name, subject.algorithm)))
        for number, case in enumerate(todo, 1):
            runs.append(audit_case(config, subject, prey, case, config.seed + _SEEDS_APART * len(runs), claims))
            progress(f"{what}: federation {number} of {len(todo)}")
        name = prey.prepared.task.spec.name
        seconds[name] = seconds.get(name, 0.0) + time.monotonic() - started
    attacks: list[dict[str, Any]] = []
    if config.membership is not None:
        started = time.monotonic()
        attacks = attack_memberships(config.membership, config.delta, folder, config.seed, progress)
        seconds["membership"] = time.monotonic() - started
    seconds["total"] = time.monotonic() - began
    return {
        "name": config.name,
        "seed": config.seed,
        "config": config.model_dump(mode="json", exclude_none=True),
        "privacy_audit": {
            "confidence": config.confidence,
            "canaries": config.canaries.count,
            "delta": config.delta,
            "claims": claims,
            "holds": not any(one["above"] for one in runs if one["fault"] == "none"),
            "runs": runs,
        },
        "membership": attacks,
        "seconds": {name: round(value, 2) for name, value in seconds.items()},
    }


def require_claims(summary: Mapping[str, Any]) -> None:
    """Insist that no run without a fault is above its claim.

    Raises:
        ClaimBroken: naming the first that is.
    """
    for run in summary["privacy_audit"]["runs"]:
        if run["fault"] == "none" and run["above"]:
            raise ClaimBroken(
                f"{run['task']}, {run['mode']}: epsilon {run['claimed_epsilon']:.3g} is claimed, and the audit's lower "
                f"bound is {run['epsilon_lower_together']:.3g}"
            )


def prepare_subject(config: PrivacyAuditConfig, subject: Subject, folder: Path) -> Prey:
    """Read a subject's table and divide it among firms, as its simulation does; customers are made up if asked for."""
    path = folder / subject.simulation
    simulation = load_simulation_config(path).model_copy(update={"seed": config.seed})
    data = simulation.data
    if data.path is None:
        raise AuditConfigInvalid(f"{path}: names no table; audit a simulation that does")
    prepared = prepare(simulation, path.parent / data.spec, path.parent / data.path)
    if subject.applications > 1:
        prepared = group(prepared, subject.applications, config.seed)
    if subject.model:
        prepared = with_model(prepared, subject.model)
    rows = max(int(np.bincount(prepared.task.examples(part).unit).max()) for part in prepared.parts)
    return Prey(simulation, prepared, rows)


def cases(subject: Subject, rows: int) -> Iterator[Case]:
    """The runs of a subject whose units have up to so many rows; those without a fault first, for each mode."""
    for mode in subject.modes:
        yield from (Case(mode, epsilon, "none") for epsilon in subject.epsilons)
        for fault in subject.faults:
            visible = rows > 1 or not FAULTS[fault].rows_are_units
            if mode in FAULTS[fault].modes and visible:
                yield from (Case(mode, epsilon, fault) for epsilon in subject.fault_epsilons)


def audit_case(
    config: PrivacyAuditConfig, subject: Subject, prey: Prey, case: Case, seed: int, claims: int = 1
) -> dict[str, Any]:
    """Train one federation with canaries and say what its opened sums give away.

    Args:
        seed: of the auditor's coins and of the firms' noise.
        claims: tested together; the verdict's bound is corrected for so many.

    Returns:
        The run as JSON can hold it; `above` says that its bound is above what its release claims.
    """
    training = _training(prey.simulation, subject, case, config.delta)
    count, clip = config.canaries.count, training.training.clip
    task = CanaryTask(prey.prepared.task, count, prey.rows, config.canaries.norm * clip)
    included = np.random.default_rng([seed, 4]).random(count) < 0.5
    fault = FAULTS[case.fault]
    opened = audited_run(prey.prepared, training, task, included, fault, seed)
    alone = measured(opened, task, included, config.delta, config.confidence)
    together = measured(opened, task, included, config.delta, 1 - (1 - config.confidence) / claims)
    reached = max(together.epsilon_lower, together.epsilon_steinke)
    return {
        "task": prey.prepared.task.spec.name,
        "algorithm": subject.algorithm,
        "unit": opened.privacy["unit"],
        "rows": prey.rows,
        "mode": case.mode,
        "fault": case.fault,
        "words": fault.words,
        "rounds": len(opened.sums),
        "claimed_epsilon": opened.privacy["epsilon"],
        "claimed_mu": claimed_mu(opened),
        **asdict(alone),
        "epsilon_lower_together": reached,
        "above": reached > opened.privacy["epsilon"],
    }


def _training(simulation: SimulationConfig, subject: Subject, case: Case, delta: float) -> TrainingConfig:
    document = simulation.training_only().model_dump()
    document["training"].update(subject.steps)
    document["privacy"].update(mode=case.mode, epsilon=case.epsilon, delta=delta)
    if subject.bands > 1:  # a row of correlated noise cannot be solved without one of its firms
        document["aggregation"].update(drop_outs=0)
    return TrainingConfig.model_validate(document)
