"""A model as a torch module with given parameters, in float64."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from clients.tasks.architecture import Architecture

if TYPE_CHECKING:
    import torch


def loaded_module(architecture: Architecture, parameters: NDArray[np.float64]) -> torch.nn.Module:
    """The architecture's module with the flat vector `parameters` in it."""
    import torch

    module = architecture.module().double()
    tensors = architecture.tensors(parameters).values()
    with torch.no_grad():
        for parameter, values in zip(module.parameters(), tensors, strict=True):
            parameter.copy_(torch.from_numpy(values.copy()))
    return module


def dense_tensor(rows: Any) -> torch.Tensor:
    """float64[n, d] as a tensor; sparse rows are expanded."""
    import torch

    dense = rows.toarray() if sparse.issparse(rows) else rows
    return torch.from_numpy(np.ascontiguousarray(dense))
