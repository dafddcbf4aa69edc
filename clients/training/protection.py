"""What a firm does to its gradient before it is rounded and noised: sample units, clip them, box the sum."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from clients.noise import RandomStream
from clients.tasks.architecture import Architecture
from clients.tasks.examples import Examples
from clients.training.gradient_sum import Gradients, clipped_gradient_sum


@dataclass(frozen=True)
class Protection:
    """What a firm does to its gradient before it is rounded and noised.

    Attributes:
        clip: the largest Euclidean norm of one unit's gradient.
        box: coordinates of the sum are projected to [-box, box] (never widens the sensitivity).
        sampling_rate: each unit joins the round with this probability (Poisson sampling); 1 takes all.
        weight: what each unit that joined adds to one coordinate more, the firm's weight; 0 leaves it out.
    """

    clip: float
    box: float
    sampling_rate: float
    weight: float = 0.0


def bounded_gradient_sum(
    architecture: Architecture,
    parameters: NDArray[np.float64],
    examples: Examples,
    protection: Protection,
    stream: RandomStream,
    *,
    gradients: Gradients = "auto",
) -> NDArray[np.float64]:
    """One firm's sum of clipped unit gradients and, if asked for, its weight; all in the box. No part may leave bare.

    Adding or removing one unit moves it by at most sqrt(clip**2 + weight**2) in Euclidean norm: the two parts are
    orthogonal, and to project to a box brings no two points further apart.

    Args:
        parameters: float64[size], the round's model.
        stream: source of the sample; secure in production.

    Returns:
        float64[size], or float64[size + 1] with the weight last: the sampled units times `protection.weight`.
    """
    if protection.sampling_rate < 1.0:
        examples = examples.sample(stream.bernoulli(examples.units, protection.sampling_rate))
    total = clipped_gradient_sum(architecture, parameters, examples, protection.clip, gradients=gradients)
    if protection.weight:
        total = np.append(total, protection.weight * examples.units)
    np.clip(total, -protection.box, protection.box, out=total)
    return total
