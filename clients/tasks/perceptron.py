"""Perceptrons: fully connected layers with ReLUs between them."""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from clients.tasks.architecture import LayeredArchitecture, LayerPass
from clients.tasks.losses import Loss
from clients.tasks.row_products import row_products

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True)
class Perceptron(LayeredArchitecture):
    """`hidden` layers of ReLUs, at least one; each weight [out, in], then its bias."""

    inputs: int
    outputs: int
    hidden: tuple[int, ...]
    loss: Loss

    @cached_property
    def _widths(self) -> tuple[tuple[int, int], ...]:
        return tuple(itertools.pairwise((self.inputs, *self.hidden, self.outputs)))

    @cached_property
    def shapes(self) -> tuple[tuple[str, tuple[int, ...]], ...]:
        out: list[tuple[str, tuple[int, ...]]] = []
        for k, (fan_in, fan_out) in enumerate(self._widths):
            out += [(f"layer{k}.weight", (fan_out, fan_in)), (f"layer{k}.bias", (fan_out,))]
        return tuple(out)

    def initial(self, seed: int) -> NDArray[np.float64]:
        """He's uniform initialisation; biases are zeros."""
        rng = np.random.Generator(np.random.PCG64(seed))
        parts = []
        for _, shape in self.shapes:
            if len(shape) == 1:
                parts.append(np.zeros(shape))
            else:
                limit = np.sqrt(6.0 / shape[1])
                parts.append(rng.uniform(-limit, limit, size=shape).ravel())
        return np.concatenate(parts)

    def forward(self, parameters: NDArray[np.float64], inputs: Any) -> NDArray[np.float64]:
        return self._outputs(parameters, inputs)[1]

    def _outputs(self, parameters: NDArray[np.float64], inputs: Any) -> tuple[list[Any], NDArray[np.float64]]:
        """What goes into each layer, and what comes out of the last."""
        tensors = self.tensors(parameters)
        seen = [inputs]
        for k in range(len(self._widths)):
            out = row_products(seen[k], tensors[f"layer{k}.weight"].T)
            out += tensors[f"layer{k}.bias"]
            if k < len(self.hidden):
                seen.append(np.maximum(out, 0.0, out=out))
        return seen, out

    @property
    def pass_values(self) -> int:
        return 2 * (sum(self.hidden) + self.outputs)

    def layer_passes(
        self, parameters: NDArray[np.float64], inputs: Any, offset: NDArray[np.float64], targets: NDArray[np.float64]
    ) -> tuple[LayerPass, ...]:
        seen, outputs = self._outputs(parameters, inputs)
        tensors = self.tensors(parameters)
        slopes = self.loss.slope(outputs + offset, targets)
        passes = [LayerPass(seen[-1], slopes)]
        for k in range(len(self.hidden), 0, -1):
            weight = tensors[f"layer{k}.weight"]
            slopes = slopes * weight if len(weight) == 1 else row_products(slopes, weight)
            slopes *= seen[k] > 0.0
            passes.append(LayerPass(seen[k - 1], slopes))
        return tuple(reversed(passes))

    def module(self) -> torch.nn.Module:
        from torch import nn

        layers: list[nn.Module] = []
        for k, (fan_in, fan_out) in enumerate(self._widths):
            layers.append(nn.Linear(fan_in, fan_out))
            if k < len(self.hidden):
                layers.append(nn.ReLU())
        return nn.Sequential(*layers)
