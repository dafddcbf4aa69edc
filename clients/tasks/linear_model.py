"""Linear models: no bias, their encodings contain a constant."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from clients.tasks.architecture import Architecture
from clients.tasks.losses import Loss
from clients.tasks.row_products import row_products

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True)
class LinearModel(Architecture):
    """One weight [outputs, inputs]; training starts from zeros."""

    inputs: int
    outputs: int
    loss: Loss

    @property
    def shapes(self) -> tuple[tuple[str, tuple[int, ...]], ...]:
        return (("weight", (self.outputs, self.inputs)),)

    def initial(self, seed: int) -> NDArray[np.float64]:
        return np.zeros(self.size)

    def forward(self, parameters: NDArray[np.float64], inputs: Any) -> NDArray[np.float64]:
        return row_products(inputs, self.tensors(parameters)["weight"].T)

    def module(self) -> torch.nn.Module:
        from torch import nn

        return nn.Linear(self.inputs, self.outputs, bias=False)
