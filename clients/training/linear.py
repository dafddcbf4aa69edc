"""The closed form of linear models: a unit's gradient is never written down, sparse inputs stay sparse."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from clients.tasks.examples import Examples, average_within_units
from clients.tasks.linear_model import LinearModel
from clients.training.clipping import clip_factors, only_finite


def linear_gradient_sum(
    architecture: LinearModel, parameters: NDArray[np.float64], examples: Examples, clip: float
) -> NDArray[np.float64]:
    """A linear layer's gradient is slope (outer) input: its norm is the product of the norms (Goodfellow 2015)."""
    with np.errstate(over="ignore", invalid="ignore"):
        outputs = architecture.forward(parameters, examples.inputs) + examples.offset
        slope = only_finite(architecture.loss.slope(outputs, examples.targets))
    if examples.one_each:
        norms = np.sqrt((slope**2).sum(axis=1)) * examples.row_norms
        weighted = slope * clip_factors(norms, clip)[:, None]
        return np.asarray(examples.transposed @ weighted).T.ravel()
    averaging = average_within_units(examples.unit, examples.units)
    # [units, inputs] for each output; sparse where the inputs are, or many entities would fill the memory.
    means = [averaging @ sparse.diags_array(slope[:, k]).tocsr() @ examples.inputs for k in range(architecture.outputs)]
    squares = sum(np.asarray((m.multiply(m) if sparse.issparse(m) else m**2).sum(axis=1)).ravel() for m in means)
    factors = clip_factors(np.sqrt(squares), clip)
    return np.concatenate([np.asarray(factors @ m).ravel() for m in means])
