"""Private training: the clipped gradient sum of a firm's privacy units. What leaves gets its noise on the grid.

Everything that one privacy unit contributes in a round is averaged into one gradient and clipped once, whatever the
number of its examples (Abadi et al. 2016, with the unit of McMahan et al. 2018 in place of the record). Opacus gives
the per-example gradients of any torch module; a linear model takes a closed form that a test holds equal to Opacus's.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from clients.noise import RandomStream
from clients.tasks.architecture import Architecture
from clients.tasks.examples import Examples, average_within_units

Gradients = Literal["auto", "opacus"]
_UNITS_AT_ONCE = 256  # per-example gradients of a perceptron take examples x parameters x 4 bytes


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
    if architecture.linear and gradients == "auto":
        return _closed_form(architecture, parameters, examples, clip)
    return _with_opacus(architecture, parameters, examples, clip)


def _factors(norms: NDArray[np.float64], clip: float) -> NDArray[np.float64]:
    # Rounded towards zero by a hair, so that floating point cannot leave a clipped norm above the clip.
    return np.minimum(1.0, clip * (1.0 - 1e-9) / np.maximum(norms, 1e-300))


def _only_finite(gradients: NDArray[np.float64]) -> NDArray[np.float64]:
    """Zero the rows [n, ...] that hold a value that is not finite.

    A parent model chosen to overflow on one kind of record would otherwise spoil the whole sum, and the firm's failure
    to answer would tell, without any noise, that it has such a record.
    """
    finite = np.isfinite(gradients).all(axis=tuple(range(1, gradients.ndim)))
    return gradients if finite.all() else np.where(finite.reshape(-1, *[1] * (gradients.ndim - 1)), gradients, 0.0)


def _closed_form(
    architecture: Architecture, parameters: NDArray[np.float64], examples: Examples, clip: float
) -> NDArray[np.float64]:
    """A linear layer's gradient is slope (outer) input: its norm is the product of the norms (Goodfellow 2015)."""
    with np.errstate(over="ignore", invalid="ignore"):
        outputs = architecture.forward(parameters, examples.inputs) + examples.offset
        slope = _only_finite(architecture.loss.slope(outputs, examples.targets))
    if examples.one_each:
        norms = np.sqrt((slope**2).sum(axis=1)) * examples.row_norms
        weighted = slope * _factors(norms, clip)[:, None]
        return np.asarray(examples.transposed @ weighted).T.ravel()
    averaging = average_within_units(examples.unit, examples.units)
    # [units, inputs] for each output; sparse where the inputs are, or many entities would fill the memory.
    means = [averaging @ sparse.diags_array(slope[:, k]).tocsr() @ examples.inputs for k in range(architecture.outputs)]
    squares = sum(np.asarray((m.multiply(m) if sparse.issparse(m) else m**2).sum(axis=1)).ravel() for m in means)
    factors = _factors(np.sqrt(squares), clip)
    return np.concatenate([np.asarray(factors @ m).ravel() for m in means])


def _with_opacus(
    architecture: Architecture, parameters: NDArray[np.float64], examples: Examples, clip: float
) -> NDArray[np.float64]:
    """Per-example gradients by Opacus's hooks, in chunks of whole units."""
    from opacus.grad_sample import GradSampleModule

    module = architecture.module().double()
    _load(module, architecture, parameters)
    wrapped = GradSampleModule(module, batch_first=True, loss_reduction="sum")
    total = np.zeros(architecture.size)
    with warnings.catch_warnings():
        # Nothing is wanted of the inputs' gradients; torch says that the hooks do without them.
        warnings.filterwarnings("ignore", message="Full backward hook is firing")
        for start in range(0, examples.units, _UNITS_AT_ONCE):
            stop = min(start + _UNITS_AT_ONCE, examples.units)
            first, last = np.searchsorted(examples.unit, [start, stop])
            total += _chunk(wrapped, architecture, examples, slice(first, last), start, stop - start, clip)
    return total


def _chunk(
    wrapped: Any,
    architecture: Architecture,
    examples: Examples,
    rows: slice,
    first_unit: int,
    units: int,
    clip: float,
) -> NDArray[np.float64]:
    import torch

    inputs = examples.inputs[rows]
    dense = inputs.toarray() if sparse.issparse(inputs) else inputs
    wrapped.zero_grad(set_to_none=True)
    outputs = wrapped(torch.from_numpy(np.ascontiguousarray(dense))) + torch.from_numpy(examples.offset[rows])
    architecture.loss.torch(outputs, torch.from_numpy(examples.targets[rows])).sum().backward()  # type: ignore[no-untyped-call]
    unit = torch.from_numpy(examples.unit[rows] - first_unit)
    counts = torch.bincount(unit, minlength=units).double()
    summed = []
    for parameter in wrapped.parameters():
        flat = parameter.grad_sample.flatten(start_dim=1)
        summed.append(torch.zeros(units, flat.shape[1], dtype=flat.dtype).index_add_(0, unit, flat))
        parameter.grad_sample = None
    per_unit = _only_finite(torch.cat(summed, dim=1).numpy() / counts.numpy()[:, None])
    return np.asarray(_factors(np.sqrt((per_unit**2).sum(axis=1)), clip) @ per_unit)


def _load(module: Any, architecture: Architecture, parameters: NDArray[np.float64]) -> None:
    import torch

    tensors = architecture.tensors(parameters).values()
    with torch.no_grad():
        for parameter, values in zip(module.parameters(), tensors, strict=True):
            parameter.copy_(torch.from_numpy(values.copy()))
