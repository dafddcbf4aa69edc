"""Many models of one task, each trained on a random half of its records: what a membership attack learns from."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from clients.plan import Plan
from clients.tasks.architecture import Architecture
from clients.tasks.examples import Examples
from clients.training import clipped_gradient_sum
from server.descent import Descent


@dataclass(frozen=True)
class Shadows:
    """So many trained models and what they say of each record.

    Attributes:
        members: bool[models, records], who was trained on.
        outputs: float64[models, records], the log-odds that the released model gives a record's own label.
        gradients: float64[models, records], how far each record's gradient points along the opened sums, over all
            rounds: what the coordinator sees beside the released model.
    """

    members: NDArray[np.bool_]
    outputs: NDArray[np.float64]
    gradients: NDArray[np.float64]


def train_shadows(
    architecture: Architecture,
    examples: Examples,
    plans: list[Plan],
    models: int,
    seed: int,
    progress: Callable[[int], None] = lambda _: None,
    members: NDArray[np.bool_] | None = None,
) -> Shadows:
    """Train models by the arithmetic of the federation, without one: the same sums, steps and averages.

    A federation adds integers under masks to the very same sum up to its grid. The noise is what the worst coalition
    of the plan is left with, as one continuous Gaussian.

    Args:
        architecture: a linear model with one output.
        examples: one a unit; every unit is in each model with probability 1/2 by itself.
        members: bool[models, units], who is in which model instead.
    """
    rng = np.random.default_rng([seed, 5])
    members = rng.random((models, examples.units)) < 0.5 if members is None else members
    outputs, gradients = np.empty(members.shape), np.empty(members.shape)
    sign = np.where(examples.targets > 0.5, 1.0, -1.0)
    for number, mine in enumerate(members):
        released, along = _train(architecture, examples, mine, plans, rng)
        outputs[number] = sign * (architecture.forward(released, examples.inputs) + examples.offset)[:, 0]
        gradients[number] = along
        progress(number + 1)
    return Shadows(members, outputs, gradients)


def _train(
    architecture: Architecture,
    examples: Examples,
    members: NDArray[np.bool_],
    plans: list[Plan],
    rng: np.random.Generator,
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """The released model and each record's inner products with the opened sums, added up over the rounds."""
    descent, mine = Descent.start(architecture.initial(0)), examples.sample(members)
    along = np.zeros(examples.units)
    for plan in plans:
        total = clipped_gradient_sum(architecture, descent.parameters, mine, plan.clip)
        total += rng.normal(size=len(total)) * plan.noise_multiplier * plan.unit_norm
        outputs = architecture.forward(descent.parameters, examples.inputs) + examples.offset
        slope = architecture.loss.slope(outputs, examples.targets)[:, 0]
        along += slope * (examples.inputs @ total)
        descent = descent.step(total, plan)
    return descent.average, along
