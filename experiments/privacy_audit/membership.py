"""Membership inference by the likelihood ratio attack, LiRA (Carlini et al. 2022, arXiv 2112.03570).

Was a record trained on? Every model is attacked with the help of all others: for each record the scores of the models
that had it and of those that had not are taken for two normal distributions, and the model's own score is compared.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtr, ndtri
from scipy.stats import rankdata

from clients.composition import tightest_epsilon
from clients.data import read_table
from clients.plan import Plan
from clients.tasks.spec import load_spec
from clients.tasks.task import Task, task_for
from experiments.firm_names import firm_names
from experiments.privacy_audit.config import AuditConfigInvalid, Membership
from experiments.privacy_audit.shadows import train_shadows
from experiments.simulation_config import SimulationConfig, load_simulation_config
from server.training_config import TrainingConfig

Scores = NDArray[np.float64]
FALSE_POSITIVES = (0.01, 0.001)


@dataclass(frozen=True)
class Attack:
    """How well members were told from others, over all models and records.

    Attributes:
        auc: how often a member has the higher score than another record.
        tpr: by false positive rate, the share of members that was found.
        auc_error, tpr_error: half widths of 95 % confidence intervals over the models.
    """

    auc: float
    auc_error: float
    tpr: tuple[float, ...]
    tpr_error: tuple[float, ...]


def attack_memberships(
    asked: Membership, delta: float, folder: Path, seed: int, progress: Callable[[str], None]
) -> list[dict[str, Any]]:
    """Attack the models of a credit simulation, without privacy and at each epsilon.

    Returns:
        One entry for each epsilon and score, as JSON can hold it, with the bounds that the claim implies.
    """
    task, simulation, table = _read(folder / asked.simulation)
    examples = task.examples(table)
    out = []
    for epsilon in (None, *asked.epsilons):
        plans = _plans(simulation, task, examples.units, asked.mode, epsilon, delta)
        what = "membership without privacy" if epsilon is None else f"membership at epsilon {epsilon:g}"

        def told(done: int, what: str = what) -> None:
            if done % 16 == 0 or done == asked.models:
                progress(f"{what}: model {done} of {asked.models}")

        shadows = train_shadows(task.architecture, examples, plans, asked.models, seed, told)
        claimed = None if epsilon is None else _claimed(plans, delta)
        for view, scores in (("black-box", shadows.outputs), ("white-box", shadows.gradients)):
            attacked = attack(likelihood_ratios(scores, shadows.members), shadows.members)
            out.append(
                {
                    "task": task.spec.name,
                    "view": view,
                    "epsilon": None if claimed is None else claimed[0],
                    "records": examples.units,
                    "models": asked.models,
                    "rounds": len(plans),
                    "false_positive_rates": list(FALSE_POSITIVES),
                    **{key: list(v) if isinstance(v, tuple) else v for key, v in asdict(attacked).items()},
                    "tpr_bound": None
                    if claimed is None
                    else [most_found(*claimed, delta, rate) for rate in FALSE_POSITIVES],
                    "auc_bound": None if claimed is None else float(ndtr(claimed[1] / math.sqrt(2))),
                }
            )
    return out


def likelihood_ratios(scores: Scores, members: NDArray[np.bool_]) -> Scores:
    """Log likelihood ratios of membership, float64[models, records]; of each model from all the others.

    The deviations are pooled over records, one for members and one for others: too few models have each record for one
    of its own (section VI C there).
    """
    weight = members.astype(np.float64)
    out = np.zeros(scores.shape)
    for sign, inside in ((1.0, weight), (-1.0, 1.0 - weight)):
        count = inside.sum(axis=0) - inside
        count = np.maximum(count, 1.0)
        mean = ((inside * scores).sum(axis=0) - inside * scores) / count
        left = np.where(inside > 0, scores - mean, 0.0)
        deviation = math.sqrt(float((left**2).sum()) / max(float(inside.sum()), 1.0))
        out += sign * (-(((scores - mean) / deviation) ** 2) / 2 - math.log(deviation))
    return out


def attack(ratios: Scores, members: NDArray[np.bool_]) -> Attack:
    """Measure an attack whose scores are float64[models, records]."""
    aucs = np.array([_auc(one, mine) for one, mine in zip(ratios, members, strict=True)])
    tpr, error = [], []
    for rate in FALSE_POSITIVES:
        threshold = np.quantile(ratios[~members], 1.0 - rate, method="higher")
        found = np.array([(one[mine] > threshold).mean() for one, mine in zip(ratios, members, strict=True)])
        tpr.append(float(found.mean()))
        error.append(_half_width(found))
    return Attack(float(aucs.mean()), _half_width(aucs), tuple(tpr), tuple(error))


def _auc(scores: Scores, members: NDArray[np.bool_]) -> float:
    inside, outside = int(members.sum()), int((~members).sum())
    return float((rankdata(scores)[members].sum() - inside * (inside + 1) / 2) / (inside * outside))


def _half_width(values: NDArray[np.float64]) -> float:
    return float(1.96 * values.std(ddof=1) / math.sqrt(len(values)))


def most_found(epsilon: float, mu: float, delta: float, false_positive_rate: float) -> float:
    """The largest true positive rate that the claim allows any attack at this false positive rate.

    That of (epsilon, delta) (Kairouz, Oh, Viswanath 2015, theorem 2.1), and of mu-Gaussian privacy, which is closer.
    """
    a = false_positive_rate
    approximate = min(math.exp(epsilon) * a + delta, 1.0 - math.exp(-epsilon) * (1.0 - delta - a))
    return float(min(approximate, ndtr(ndtri(a) + mu)))


def _claimed(plans: list[Plan], delta: float) -> tuple[float, float]:
    """Epsilon and mu of full-batch plans."""
    mechanisms = [one for plan in plans if (one := plan.round_mechanism()) is not None]
    mu = math.sqrt(sum(one.steps / one.noise_multiplier**2 for one in mechanisms))
    return tightest_epsilon(mechanisms, delta), mu


def _read(path: Path) -> tuple[Task, SimulationConfig, Any]:
    simulation = load_simulation_config(path)
    if simulation.data.path is None:
        raise AuditConfigInvalid(f"{path}: names no table; attack a simulation that does")
    spec = load_spec(path.parent / simulation.data.spec)
    if spec.kind != "credit" or spec.privacy.unit != "row" or spec.model.kind != "scorecard":
        raise AuditConfigInvalid(f"{path}: the attack is on scorecards whose privacy unit is a row")
    return task_for(spec), simulation, read_table(path.parent / simulation.data.path, spec)


def _plans(
    simulation: SimulationConfig, task: Task, units: int, mode: str, epsilon: float | None, delta: float
) -> list[Plan]:
    """The plans of a federation that trains on half of the units."""
    document = simulation.training_only().model_dump()
    document["training"]["sampling_rate"] = 1.0
    document["privacy"].update(mode="none" if epsilon is None else mode, epsilon=epsilon, delta=delta)
    firms = simulation.partition.firms
    declared = dict.fromkeys(firm_names(firms), max(1, round(units / 2 / firms)))
    return TrainingConfig.model_validate(document).plans(task, declared, 1)
