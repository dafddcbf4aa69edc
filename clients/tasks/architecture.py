"""Models as flat parameter vectors: what every one of them can do."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from clients.tasks.losses import Loss

if TYPE_CHECKING:
    import torch


class Architecture(ABC):
    """A model over `inputs` columns with `outputs` outputs, judged by `loss`; its parameters are one flat vector."""

    inputs: int
    outputs: int
    loss: Loss

    @property
    @abstractmethod
    def shapes(self) -> tuple[tuple[str, tuple[int, ...]], ...]:
        """Name and shape of every tensor, in the order of the flat vector; each is in row-major order there."""

    @abstractmethod
    def initial(self, seed: int) -> NDArray[np.float64]:
        """float64[size]: where training starts, from the public `seed`."""

    @abstractmethod
    def forward(self, parameters: NDArray[np.float64], inputs: Any) -> NDArray[np.float64]:
        """float64[n, outputs], without the offset; inputs float64[n, inputs], dense or CSR."""

    @abstractmethod
    def module(self) -> torch.nn.Module:
        """The same model as a torch module whose parameters come in the order of the flat vector."""

    @cached_property
    def size(self) -> int:
        """Length of the flat parameter vector."""
        return sum(int(np.prod(shape)) for _, shape in self.shapes)

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


@dataclass(frozen=True)
class LayerPass:
    """What a fully connected layer saw in one pass over `n` examples, `steps` times for each of them.

    The gradient of an example's loss by the layer's weight [out, in] is the sum of slope (outer) input over its steps,
    by its bias the sum of its slopes. A layer always has a bias here.

    Attributes:
        inputs: float64[n * steps, in], dense, or CSR in a first layer; the steps of an example follow each other.
        slopes: float64[n * steps, out], the loss's derivative by the layer's outputs.
    """

    inputs: Any
    slopes: NDArray[np.float64]
    steps: int = 1


class LayeredArchitecture(Architecture):
    """A model whose parameters all belong to fully connected layers, weight then bias, in the order of its passes."""

    @property
    @abstractmethod
    def pass_values(self) -> int:
        """How many float64 values the passes keep for one example: what a chunk of examples is sized by."""

    @abstractmethod
    def layer_passes(
        self, parameters: NDArray[np.float64], inputs: Any, offset: NDArray[np.float64], targets: NDArray[np.float64]
    ) -> tuple[LayerPass, ...]:
        """One pass forward and backward over `n` examples: what each layer saw, first layer first."""
