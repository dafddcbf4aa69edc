"""The sum over units of clipped gradients, by the way that suits the model and the shape."""

from __future__ import annotations

from typing import Literal

import numpy as np
from numpy.typing import NDArray

from clients.tasks.architecture import Architecture, LayeredArchitecture
from clients.tasks.examples import Examples
from clients.tasks.linear_model import LinearModel
from clients.training.layered import layered_gradient_sum
from clients.training.linear import linear_gradient_sum
from clients.training.opacus_ghost import ghost_gradient_sum, ghost_suits
from clients.training.opacus_hooks import hooked_gradient_sum

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

    Args:
        gradients: `opacus` has Opacus measure models that have a closed form, too.

    Returns:
        float64[size]; zeros when there is no unit (an empty Poisson sample).
    """
    if examples.units == 0:
        return np.zeros(architecture.size)
    if gradients == "auto" and isinstance(architecture, LinearModel):
        return linear_gradient_sum(architecture, parameters, examples, clip)
    if gradients == "auto" and isinstance(architecture, LayeredArchitecture):
        return layered_gradient_sum(architecture, parameters, examples, clip)
    if ghost_suits(architecture, examples):
        return ghost_gradient_sum(architecture, parameters, examples, clip)
    return hooked_gradient_sum(architecture, parameters, examples, clip)
