"""The sum over units of clipped gradients, by the way that suits the model."""

from __future__ import annotations

from typing import Literal

import numpy as np
from numpy.typing import NDArray

from clients.tasks.architecture import Architecture, LayeredArchitecture
from clients.tasks.examples import Examples
from clients.tasks.linear_model import LinearModel
from clients.training.layered import layered_gradient_sum
from clients.training.linear import linear_gradient_sum
from clients.training.opacus_hooks import opacus_gradient_sum

Gradients = Literal["auto", "opacus"]


def clipped_gradient_sum(
    architecture: Architecture,
    parameters: NDArray[np.float64],
    examples: Examples,
    clip: float,
    *,
    gradients: Gradients = "auto",
) -> NDArray[np.float64]:
    """The sum over units of each unit's mean gradient, clipped to the norm `clip`.

    Returns:
        float64[size]; zeros when there is no unit (an empty Poisson sample).
    """
    if examples.units == 0:
        return np.zeros(architecture.size)
    if gradients == "auto" and isinstance(architecture, LinearModel):
        return linear_gradient_sum(architecture, parameters, examples, clip)
    if gradients == "auto" and isinstance(architecture, LayeredArchitecture):
        return layered_gradient_sum(architecture, parameters, examples, clip)
    return opacus_gradient_sum(architecture, parameters, examples, clip)
