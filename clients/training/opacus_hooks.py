"""Clipped sums of any torch module by Opacus's hooks, which write per-example gradients down."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
from numpy.typing import NDArray

from clients.tasks.architecture import Architecture
from clients.tasks.examples import Examples
from clients.training.clipping import clip_factors, only_finite
from clients.training.torch_module import dense_tensor, loaded_module
from clients.training.unit_chunks import unit_chunks

CHUNK_BYTES = 1 << 24
"""Of per-example gradients at once: more falls out of the processor's cache, less makes many small passes. Measured."""


def hooked_gradient_sum(
    architecture: Architecture, parameters: NDArray[np.float64], examples: Examples, clip: float
) -> NDArray[np.float64]:
    """The sum of clipped unit gradients, float64[size], in chunks of whole units."""
    from opacus.grad_sample import GradSampleModule

    module = loaded_module(architecture, parameters)
    wrapped = GradSampleModule(module, batch_first=True, loss_reduction="sum")
    total = np.zeros(architecture.size)
    with warnings.catch_warnings():
        # Nothing is wanted of the inputs' gradients; torch says that the hooks do without them.
        warnings.filterwarnings("ignore", message="Full backward hook is firing")
        for units, rows in unit_chunks(examples, CHUNK_BYTES // (8 * architecture.size)):
            total += _chunk(wrapped, architecture, examples, units, rows, clip)
    return total


def _chunk(
    wrapped: Any, architecture: Architecture, examples: Examples, units: slice, rows: slice, clip: float
) -> NDArray[np.float64]:
    import torch

    wrapped.zero_grad(set_to_none=True)
    outputs = wrapped(dense_tensor(examples.inputs[rows])) + torch.from_numpy(examples.offset[rows])
    architecture.loss.torch(outputs, torch.from_numpy(examples.targets[rows])).sum().backward()  # type: ignore[no-untyped-call]
    unit = torch.from_numpy(examples.unit[rows] - units.start)
    count = units.stop - units.start
    counts = torch.bincount(unit, minlength=count).double()
    summed = []
    for parameter in wrapped.parameters():
        flat = parameter.grad_sample.flatten(start_dim=1)
        summed.append(torch.zeros(count, flat.shape[1], dtype=flat.dtype).index_add_(0, unit, flat))
        parameter.grad_sample = None
    per_unit = only_finite(torch.cat(summed, dim=1).numpy() / counts.numpy()[:, None])
    with np.errstate(over="ignore"):
        norms = np.sqrt((per_unit**2).sum(axis=1))
    return np.asarray(clip_factors(norms, clip) @ per_unit)
