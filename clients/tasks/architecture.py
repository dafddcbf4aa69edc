"""Models as flat parameter vectors: their layout, their forward pass, their loss, their torch module."""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit, log_expit

if TYPE_CHECKING:
    import torch


class Loss(Protocol):
    """A loss of one example, with its slope in closed form and as a torch expression."""

    def value(self, outputs: NDArray[np.float64], targets: NDArray[np.float64]) -> NDArray[np.float64]:
        """float64[n]: the loss of each example; outputs float64[n, k], targets float64[n]."""
        ...

    def slope(self, outputs: NDArray[np.float64], targets: NDArray[np.float64]) -> NDArray[np.float64]:
        """float64[n, k]: the derivative of `value` by the outputs."""
        ...

    def torch(self, outputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        """The same loss, [n], for automatic differentiation."""
        ...


@dataclass(frozen=True)
class LogLoss:
    """Logistic loss of one output, the log-odds; targets are 0 or 1."""

    def value(self, outputs: NDArray[np.float64], targets: NDArray[np.float64]) -> NDArray[np.float64]:
        sign = np.where(targets > 0.5, 1.0, -1.0)
        return np.asarray(-log_expit(sign * outputs[:, 0]))

    def slope(self, outputs: NDArray[np.float64], targets: NDArray[np.float64]) -> NDArray[np.float64]:
        return np.asarray(expit(outputs) - targets[:, None])

    def torch(self, outputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        from torch.nn.functional import binary_cross_entropy_with_logits

        return binary_cross_entropy_with_logits(outputs[:, 0], targets, reduction="none")


@dataclass(frozen=True)
class SmoothPinball:
    """Quantile loss whose kink is smoothed over a width `smoothing`; one output per quantile.

    q e + s softplus(-e / s) with e = target - output: tends to the pinball loss as s tends to 0.
    """

    quantiles: tuple[float, ...]
    smoothing: float

    def value(self, outputs: NDArray[np.float64], targets: NDArray[np.float64]) -> NDArray[np.float64]:
        error = targets[:, None] - outputs
        q = np.asarray(self.quantiles)
        return np.asarray((q * error - self.smoothing * log_expit(error / self.smoothing)).sum(axis=1))

    def slope(self, outputs: NDArray[np.float64], targets: NDArray[np.float64]) -> NDArray[np.float64]:
        error = targets[:, None] - outputs
        return np.asarray(expit(-error / self.smoothing) - np.asarray(self.quantiles))

    def torch(self, outputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        from torch.nn.functional import softplus

        error = targets[:, None] - outputs
        q = outputs.new_tensor(self.quantiles)
        return (q * error + self.smoothing * softplus(-error / self.smoothing)).sum(dim=1)


@dataclass(frozen=True)
class Architecture:
    """A linear model, or a perceptron with `hidden` layers of ReLUs, over `inputs` columns with `outputs` outputs.

    The flat vector holds the layers in order, each weight [out, in] in row-major order, then its bias. A linear
    model has no bias: its encodings contain a constant.
    """

    inputs: int
    outputs: int
    hidden: tuple[int, ...]
    loss: Loss

    @property
    def linear(self) -> bool:
        return not self.hidden

    @cached_property
    def shapes(self) -> tuple[tuple[str, tuple[int, ...]], ...]:
        """Name and shape of every tensor, in the order of the flat vector."""
        if self.linear:
            return (("weight", (self.outputs, self.inputs)),)
        widths = (self.inputs, *self.hidden, self.outputs)
        out: list[tuple[str, tuple[int, ...]]] = []
        for k, (fan_in, fan_out) in enumerate(itertools.pairwise(widths)):
            out += [(f"layer{k}.weight", (fan_out, fan_in)), (f"layer{k}.bias", (fan_out,))]
        return tuple(out)

    @cached_property
    def size(self) -> int:
        """Length of the flat parameter vector."""
        return sum(int(np.prod(shape)) for _, shape in self.shapes)

    def initial(self, seed: int) -> NDArray[np.float64]:
        """float64[size]: zeros for a linear model, else He's uniform initialisation from the public `seed`."""
        if self.linear:
            return np.zeros(self.size)
        rng = np.random.Generator(np.random.PCG64(seed))
        parts = []
        for _, shape in self.shapes:
            if len(shape) == 1:
                parts.append(np.zeros(shape))
            else:
                limit = np.sqrt(6.0 / shape[1])
                parts.append(rng.uniform(-limit, limit, size=shape).ravel())
        return np.concatenate(parts)

    def tensors(self, parameters: NDArray[np.float64]) -> dict[str, NDArray[np.float64]]:
        """The flat vector as named tensors (views)."""
        if parameters.shape != (self.size,):
            raise ValueError(f"the model has {self.size} parameters, not {parameters.shape}")
        out = {}
        start = 0
        for name, shape in self.shapes:
            length = int(np.prod(shape))
            out[name] = parameters[start : start + length].reshape(shape)
            start += length
        return out

    def forward(self, parameters: NDArray[np.float64], inputs: Any) -> NDArray[np.float64]:
        """float64[n, outputs], without the offset; inputs float64[n, inputs], dense or CSR."""
        tensors = self.tensors(parameters)
        if self.linear:
            return np.asarray(inputs @ tensors["weight"].T)
        x = inputs
        for k in range(len(self.hidden) + 1):
            x = np.asarray(x @ tensors[f"layer{k}.weight"].T) + tensors[f"layer{k}.bias"]
            if k < len(self.hidden):
                x = np.maximum(x, 0.0)
        return np.asarray(x)

    def module(self) -> torch.nn.Module:
        """The same model as a torch module whose parameters come in the order of the flat vector."""
        from torch import nn

        if self.linear:
            return nn.Linear(self.inputs, self.outputs, bias=False)
        widths = (self.inputs, *self.hidden, self.outputs)
        layers: list[nn.Module] = []
        for k, (fan_in, fan_out) in enumerate(itertools.pairwise(widths)):
            layers.append(nn.Linear(fan_in, fan_out))
            if k < len(self.hidden):
                layers.append(nn.ReLU())
        return nn.Sequential(*layers)
