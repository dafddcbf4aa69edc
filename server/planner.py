"""Proposes how to train from public figures alone: the task's spec, firms, declared units, epsilon, mode.

The rule is one number. A run moves the parameters along a path, rounds times rate, and what noise adds to them by its
end grows with the length of that path, not with the rounds that it is divided into. So the path is as long as the noise
allows, and is divided into rounds of the usual rate. How long, is measured on validation parts (`artesian bench
algorithms`; docs/figures.md). Full batch with momentum is proposed always: nothing that was measured beats it.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from clients.composition import tightest_epsilon
from clients.plan import MICRO, Plan
from server.errors import ServerError
from server.steps import Steps

if TYPE_CHECKING:
    from clients.tasks.task import Task


class NoRule(ServerError):
    """A kind of model that nothing was measured for: its steps are to be given."""


@dataclass(frozen=True)
class Rule:
    """What was measured for a kind of model.

    Attributes:
        clip: of one unit's gradient.
        noise: largest deviation of the noise that a whole run may add to a parameter, times (1 - momentum).
        path: shortest and longest useful rounds times rate.
        rate: of a round, and the largest where rounds are few.
        fewest: rounds, where so many are allowed: the average is of the last half.
    """

    clip: float
    noise: float
    path: tuple[float, float]
    rate: tuple[float, float]
    fewest: int


MOMENTUM = 0.8
RULES: Mapping[str, Rule] = {
    "scorecard": Rule(clip=1.0, noise=0.12, path=(20.0, 640.0), rate=(16.0, 32.0), fewest=2),
    "linear-quantile": Rule(clip=0.2, noise=0.035, path=(20.0, 180.0), rate=(2.0, 4.0), fewest=10),
}


def planned_steps(kind: str, first: Plan, firms: int, most_rounds: int, given: Steps) -> Steps:
    """Rounds, rate, momentum and clip for a cohort of `firms`.

    Args:
        kind: the spec's kind of model.
        first: the plan of a run of one round, with the rule's clip: what noise there is for such firms.
        given: what else is said of the steps, which stays.

    Raises:
        NoRule: nothing was measured for such models.
    """
    rule = rule_for(kind)
    noise = first.noise_in_mean(firms)
    shortest, longest = rule.path
    path = min(max(rule.noise / noise if noise else longest, shortest), longest)
    usual, most = rule.rate
    rounds = min(max(round(path / usual), rule.fewest), most_rounds)
    rate = float(f"{min(path / rounds, most):.2g}")
    return given.model_copy(
        update={"plan": "given", "rounds": rounds, "rate": rate, "momentum": MOMENTUM, "clip": rule.clip}
    )


def rule_for(kind: str) -> Rule:
    """What was measured for a kind of model.

    Raises:
        NoRule: nothing was.
    """
    rule = RULES.get(kind)
    if rule is None:
        known = ", ".join(RULES)
        raise NoRule(f"training.plan: no rule was measured for a {kind} model, only for {known}; give rounds and rate")
    return rule


def prediction(task: Task, plan: Plan, firms: int) -> dict[str, Any]:
    """What a run of plans like this one costs, and how much noise it has, before anybody has trained.

    Returns:
        epsilon (of all rounds, the least that is known to hold), delta, noise_multiplier; noise_in_mean, the deviation
        of a value of a round's mean gradient, in clips; noise_in_parameters, of what a whole run adds to a parameter.
    """
    noise, path = plan.noise_in_mean(firms), math.sqrt(plan.rounds) * plan.rate_micro / MICRO
    private = plan.privacy != "none"
    return {
        "task": task.spec.name,
        "unit": task.spec.privacy.words(task.spec.series),
        "parameters": plan.dimension,
        "algorithm": "full-batch gradient descent with momentum",
        "epsilon": tightest_epsilon(plan.run_mechanisms(), plan.delta) if private else None,
        "delta": plan.delta,
        "noise_multiplier": plan.noise_multiplier,
        "colluders": plan.colluders,
        "threshold": plan.threshold,
        "noise_in_mean": noise / plan.clip,
        "noise_in_parameters": noise * path / (1.0 - plan.momentum_micro / MICRO),
    }
