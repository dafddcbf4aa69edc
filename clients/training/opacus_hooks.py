"""Unit gradients of any torch module, by Opacus's per-example gradients."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from clients.tasks.architecture import Architecture
from clients.tasks.examples import Examples
from clients.training.clipping import clip_factors, only_finite

_UNITS_AT_ONCE = 256  # per-example gradients of a perceptron take examples x parameters x 4 bytes


def opacus_gradient_sum(
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
    per_unit = only_finite(torch.cat(summed, dim=1).numpy() / counts.numpy()[:, None])
    with np.errstate(over="ignore"):
        norms = np.sqrt((per_unit**2).sum(axis=1))
    return np.asarray(clip_factors(norms, clip) @ per_unit)


def _load(module: Any, architecture: Architecture, parameters: NDArray[np.float64]) -> None:
    import torch

    tensors = architecture.tensors(parameters).values()
    with torch.no_grad():
        for parameter, values in zip(module.parameters(), tensors, strict=True):
            parameter.copy_(torch.from_numpy(values.copy()))
