"""The server's step: gradient descent with momentum on the opened sum, and the average of the last rounds.

Element-wise float64 arithmetic in a fixed order, so that anyone who recomputes a round gets the same bytes.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from clients.model_files import file_digests, model_digest, read_vector, write_vector
from clients.plan import MICRO, Plan

PARAMETERS = "parameters.safetensors"
VELOCITY = "velocity.safetensors"
AVERAGE = "average.safetensors"
FILES = (AVERAGE, PARAMETERS, VELOCITY)  # in order of names, as the digest takes them
Vector = NDArray[np.float64]


@dataclass(frozen=True)
class Descent:
    """The model of a run between two rounds.

    Attributes:
        parameters: float64[d], where the next gradient is taken.
        velocity: float64[d], momentum.
        average: float64[d], mean of the parameters since round `average_from`: the model that is released. Before
            that round it is the parameters themselves.
    """

    parameters: Vector
    velocity: Vector
    average: Vector

    @classmethod
    def start(cls, parameters: Vector) -> Descent:
        """The model before the first round."""
        return cls(parameters, np.zeros_like(parameters), parameters)

    def step(self, total: Vector, plan: Plan) -> Descent:
        """One round's step.

        Args:
            total: float64[plan.values], see `mean_gradient`.
        """
        return self.along(mean_gradient(total, plan), plan)

    def along(self, gradient: Vector, plan: Plan) -> Descent:
        """The step along a mean gradient float64[d]."""
        velocity = (plan.momentum_micro / MICRO) * self.velocity + gradient
        parameters = self.parameters - (plan.rate_micro / MICRO) * velocity
        averaged = plan.number - plan.average_from
        average = parameters if averaged < 1 else self.average + (parameters - self.average) / (averaged + 1.0)
        return replace(self, parameters=parameters, velocity=velocity, average=average)

    def files(self) -> dict[str, bytes]:
        """The model as files by name."""
        return {
            PARAMETERS: write_vector(self.parameters),
            VELOCITY: write_vector(self.velocity),
            AVERAGE: write_vector(self.average),
        }

    @property
    def digest(self) -> bytes:
        """The model's hash on the ledger."""
        return model_digest(file_digests(self.files()))

    @classmethod
    def from_files(cls, files: Mapping[str, bytes]) -> Descent:
        """Read a stored model.

        Raises:
            ModelFileInvalid: a file is damaged.
        """
        vectors = [read_vector(files[name], name) for name in (PARAMETERS, VELOCITY, AVERAGE)]
        return cls(*vectors)


def mean_gradient(total: Vector, plan: Plan) -> Vector:
    """The mean over units of their clipped gradients, from an opened sum.

    Declared weights divide by the units that the cohort declares times the sampling rate, whoever drops out: a divisor
    that is known before the round, as in the fixed-denominator estimator of McMahan et al. 2018 (Learning
    Differentially Private Recurrent Language Models). Summed weights divide by those that the round sampled at the
    firms in this sum, give or take the noise of their total weight.

    Args:
        total: float64[plan.values], the opened sum of the cohort's clipped unit gradients, in gradient units; summed
            weights have their total in its last place.

    Returns:
        float64[plan.dimension].
    """
    if plan.weighting == "declared":
        return total / (plan.units * (plan.sampling_micro / MICRO))
    return total[:-1] / counted_units(total, plan)


def counted_units(total: Vector, plan: Plan) -> float:
    """The units that an opened sum with summed weights is of: its total weight over a unit's, and no less than a plan
    allows. Noise can make it too small or negative; the least weight then makes the step shorter, never longer.
    """
    return max(float(total[-1]), plan.least_weight_micro / MICRO) / plan.weight
