"""Clipped sums of any fully connected torch module by Opacus's ghost clipping, without per-example gradients.

One pass backward gives each example's norm from what its layers saw, a second one the sum weighted by the clip. That
measures single examples only, so a unit has one here; and a layer that sees sequences would lose digits where their
steps cancel, so there is none here.
"""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
from numpy.typing import NDArray

from clients.tasks.architecture import Architecture
from clients.tasks.examples import Examples
from clients.training.clipping import clip_factors
from clients.training.torch_module import dense_tensor, loaded_module
from clients.training.unit_chunks import unit_chunks

_WORTH_VALUES = 1 << 16
"""Per-example gradients of fewer values than this are as fast written down: two passes have their price. Measured."""

_CHUNK_ROWS = 1 << 13


def ghost_suits(architecture: Architecture, examples: Examples) -> bool:
    """Whether ghost clipping measures these units exactly, and faster than hooks write their gradients down."""
    from torch import nn

    if not examples.one_each or examples.units * architecture.size < _WORTH_VALUES:
        return False
    module = architecture.module()
    layers = list(module) if isinstance(module, nn.Sequential) else [module]
    return all(isinstance(one, nn.Linear) or not any(True for _ in one.parameters()) for one in layers)


def ghost_gradient_sum(
    architecture: Architecture, parameters: NDArray[np.float64], examples: Examples, clip: float
) -> NDArray[np.float64]:
    """The sum of clipped unit gradients, float64[size]; for units that `ghost_suits`."""
    from opacus.grad_sample.grad_sample_module_fast_gradient_clipping import GradSampleModuleFastGradientClipping

    module = loaded_module(architecture, parameters)
    wrapped = GradSampleModuleFastGradientClipping(module, batch_first=True, loss_reduction="sum")
    total = np.zeros(architecture.size)
    with warnings.catch_warnings():
        # Nothing is wanted of the inputs' gradients; torch says that the hooks do without them.
        warnings.filterwarnings("ignore", message="Full backward hook is firing")
        for _, rows in unit_chunks(examples, _CHUNK_ROWS):
            total += _chunk(wrapped, architecture, examples, np.arange(rows.start, rows.stop), clip)
    return total


def _chunk(
    wrapped: Any, architecture: Architecture, examples: Examples, rows: NDArray[np.int64], clip: float
) -> NDArray[np.float64]:
    import torch

    wrapped.zero_grad(set_to_none=True)
    wrapped.enable_hooks()
    outputs = wrapped(dense_tensor(examples.inputs[rows])) + torch.from_numpy(examples.offset[rows])
    losses = architecture.loss.torch(outputs, torch.from_numpy(examples.targets[rows]))
    losses.sum().backward(retain_graph=True)  # type: ignore[no-untyped-call]
    norms = wrapped.get_norm_sample().detach().numpy()
    finite = np.isfinite(norms)
    if not finite.all():
        # Not even zero times their gradients may be added: those are no numbers.
        left = rows[finite]
        return _chunk(wrapped, architecture, examples, left, clip) if len(left) else np.zeros(architecture.size)
    wrapped.disable_hooks()
    wrapped.zero_grad(set_to_none=True)
    (torch.from_numpy(clip_factors(norms, clip)) * losses).sum().backward()  # type: ignore[no-untyped-call]
    return np.concatenate([one.grad.numpy().ravel() for one in wrapped.parameters()])
