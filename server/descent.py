"""The server's step on the opened sum: momentum or Adam, and the average of the last rounds.

Element-wise float64 arithmetic in a fixed order, so that anyone who recomputes a round gets the same bytes.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from decimal import Context, Decimal

import numpy as np
from numpy.typing import NDArray

from clients.model_files import (
    AVERAGE,
    MEMORY,
    PARAMETERS,
    VELOCITY,
    file_digests,
    model_digest,
    read_vector,
    write_vector,
)
from clients.plan import MICRO, NANO, Plan, PlanInvalid

Vector = NDArray[np.float64]


@dataclass(frozen=True)
class Descent:
    """The model of a run between two rounds.

    Attributes:
        parameters: float64[d], where the next gradient is taken.
        velocity: float64[d], momentum.
        average: float64[d], mean of the parameters since round `average_from`: the model that is released. Before
            that round it is the parameters themselves.
        memory: float64[d] of Adam, its second moments; float64[k d] of correlated noise, the last k decoded sums, the
            newest first; else float64[0].
    """

    parameters: Vector
    velocity: Vector
    average: Vector
    memory: Vector = field(default_factory=lambda: np.zeros(0))

    @classmethod
    def start(cls, parameters: Vector) -> Descent:
        """The model before the first round."""
        return cls(parameters, np.zeros_like(parameters), parameters)

    def step(self, total: Vector, plan: Plan) -> Descent:
        """One round's step.

        Args:
            total: float64[plan.values], see `mean_gradient`.
        """
        correlated = plan.correlated
        if correlated is None:
            return self.along(mean_gradient(total, plan), plan)
        before = list(self.memory.reshape(-1, total.size)) if plan.row else []
        if len(before) != min(plan.row, correlated.bands - 1):
            raise PlanInvalid(f"plan: the model does not remember the rows before row {plan.row} of correlated noise")
        decoded = correlated.decode(total, before)
        kept = np.concatenate([decoded, *before][: correlated.bands - 1])
        return replace(self.along(mean_gradient(decoded, plan), plan), memory=kept)

    def along(self, gradient: Vector, plan: Plan) -> Descent:
        """The step along a mean gradient float64[d]."""
        velocity, memory, direction = self._direction(gradient, plan)
        parameters = self.parameters - (plan.rate_micro / MICRO) * direction
        averaged = plan.number - plan.average_from
        average = parameters if averaged < 1 else self.average + (parameters - self.average) / (averaged + 1.0)
        return Descent(parameters, velocity, average, memory)

    def _direction(self, gradient: Vector, plan: Plan) -> tuple[Vector, Vector, Vector]:
        """The new velocity, the new memory, and where the step goes."""
        if plan.optimiser == "momentum":
            velocity = (plan.momentum_micro / MICRO) * self.velocity + gradient
            return velocity, np.zeros(0), velocity
        begins = plan.number == 1 or self.memory.size != gradient.size  # the moments of a run are its own
        first, second = (np.zeros_like(gradient),) * 2 if begins else (self.velocity, self.memory)
        first = _decayed(first, gradient, plan.momentum_micro)
        second = _decayed(second, gradient * gradient, plan.second_micro)
        spread = second / _weight_so_far(plan.second_micro, plan.number) - (plan.correction_nano / NANO) ** 2
        floor = (plan.floor_nano / NANO) ** 2
        mean = first / _weight_so_far(plan.momentum_micro, plan.number)
        return first, second, mean / np.sqrt(np.maximum(spread, floor))

    def files(self) -> dict[str, bytes]:
        """The model as files by name."""
        files = {
            PARAMETERS: write_vector(self.parameters),
            VELOCITY: write_vector(self.velocity),
            AVERAGE: write_vector(self.average),
        }
        return {**files, MEMORY: write_vector(self.memory)} if self.memory.size else files

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
        names = (PARAMETERS, VELOCITY, AVERAGE, *([MEMORY] if MEMORY in files else []))
        return cls(*(read_vector(files[name], name) for name in names))


def _decayed(moment: Vector, fresh: Vector, decay_micro: int) -> Vector:
    return (decay_micro / MICRO) * moment + ((MICRO - decay_micro) / MICRO) * fresh


def _weight_so_far(decay_micro: int, rounds: int) -> float:
    """1 - decay^rounds, in decimals: powers of floats differ between machines."""
    exact = Context(prec=40)
    return float(exact.subtract(Decimal(1), exact.power(Decimal(decay_micro) / MICRO, rounds)))


def mean_gradient(total: Vector, plan: Plan) -> Vector:
    """The mean over units of their clipped gradients, from an opened sum.

    Declared weights divide by the units that the cohort declares times the share that is trained on and the sampling
    rate, whoever drops out: a divisor that is known before the round, as in the fixed-denominator estimator of McMahan
    et al. 2018 (Learning Differentially Private Recurrent Language Models). Summed weights divide by those that the
    round sampled at the firms in this sum, give or take the noise of their total weight.

    Args:
        total: float64[plan.values], the opened sum of the cohort's clipped unit gradients, in gradient units; summed
            weights have their total in its last place.

    Returns:
        float64[plan.dimension].
    """
    if plan.weighting == "declared":
        return total / (plan.units * plan.trained_share * plan.participation)
    return total[:-1] / counted_units(total, plan)


def counted_units(total: Vector, plan: Plan) -> float:
    """The units that an opened sum with summed weights is of: its total weight over a unit's, and no less than a plan
    allows. Noise can make it too small or negative; the least weight then makes the step shorter, never longer.
    """
    return max(float(total[-1]), plan.least_weight_micro / MICRO) / plan.weight
