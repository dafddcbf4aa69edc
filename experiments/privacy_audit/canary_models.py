"""Models with room for canaries: columns more in a linear model, a layer of their own beside the layers of another.

Either way a canary's gradient is the same whatever the model has become, and lies on the canary's coordinate alone.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from clients.tasks.architecture import Architecture, LayeredArchitecture, LayerPass
from clients.tasks.linear_model import LinearModel
from clients.tasks.losses import Loss
from clients.tasks.recurrent import RecurrentModel
from experiments.errors import ExperimentError

if TYPE_CHECKING:
    import torch

FIRST_CANARY = 2.0**40
"""A canary's target in a linear model is this plus the output that it lies on; no record has such a target."""

_SLOPE = 1e-6  # of a canary in its layer; a layer's bias has it too, and must not count


class NotAuditable(ExperimentError):
    """A task whose model leaves no room for canaries."""


@dataclass(frozen=True)
class CanaryLoss:
    """The loss of a linear model on a task's own examples; on canaries, the output that their target names."""

    task: Loss

    def value(self, outputs: NDArray[np.float64], targets: NDArray[np.float64]) -> NDArray[np.float64]:
        canary = targets >= FIRST_CANARY
        out = self.task.value(outputs, np.where(canary, 0.0, targets))
        return np.where(canary, outputs[np.arange(len(targets)), _output(targets)], out)

    def slope(self, outputs: NDArray[np.float64], targets: NDArray[np.float64]) -> NDArray[np.float64]:
        canary = targets >= FIRST_CANARY
        out = self.task.slope(outputs, np.where(canary, 0.0, targets))
        return np.where(canary[:, None], np.eye(outputs.shape[1])[_output(targets)], out)

    def torch(self, outputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        canary = targets >= FIRST_CANARY
        own = outputs.gather(1, (targets - FIRST_CANARY).clamp(min=0).long()[:, None])[:, 0]
        return own.where(canary, self.task.torch(outputs, targets.where(~canary, targets.new_zeros(()))))


def _output(targets: NDArray[np.float64]) -> NDArray[np.int64]:
    return np.maximum(targets - FIRST_CANARY, 0.0).astype(np.int64) * (targets >= FIRST_CANARY)


@dataclass(frozen=True)
class LayeredWithCanaries(LayeredArchitecture):
    """A layered model with one layer more beside it, which canaries go through and nothing else does.

    Inputs are CSR: the model's own columns, then one for each canary.
    """

    own: LayeredArchitecture
    canaries: int

    @property
    def inputs(self) -> int:  # type: ignore[override]
        return self.own.inputs + self.canaries

    @property
    def outputs(self) -> int:  # type: ignore[override]
        return self.own.outputs

    @property
    def loss(self) -> Loss:  # type: ignore[override]
        return self.own.loss

    @cached_property
    def shapes(self) -> tuple[tuple[str, tuple[int, ...]], ...]:
        return (*self.own.shapes, ("canaries.weight", (1, self.canaries)), ("canaries.bias", (1,)))

    @property
    def pass_values(self) -> int:
        return self.own.pass_values + 2

    def initial(self, seed: int) -> NDArray[np.float64]:
        return np.concatenate([self.own.initial(seed), np.zeros(self.canaries + 1)])

    def forward(self, parameters: NDArray[np.float64], inputs: Any) -> NDArray[np.float64]:
        return self.own.forward(parameters[: self.own.size], self._own_columns(inputs))

    def layer_passes(
        self, parameters: NDArray[np.float64], inputs: Any, offset: NDArray[np.float64], targets: NDArray[np.float64]
    ) -> tuple[LayerPass, ...]:
        beside = inputs[:, self.own.inputs :]
        canary = np.diff(beside.indptr) > 0
        own = self.own.layer_passes(parameters[: self.own.size], self._own_columns(inputs), offset, targets)
        passes = [replace(one, slopes=np.where(np.repeat(canary, one.steps)[:, None], 0.0, one.slopes)) for one in own]
        return (*passes, LayerPass(beside, _SLOPE * canary[:, None]))

    def module(self) -> torch.nn.Module:
        raise NotAuditable("canaries of layered models take the closed form: leave gradients 'auto'")

    def _own_columns(self, inputs: Any) -> Any:
        columns = inputs[:, : self.own.inputs]
        return columns.toarray() if isinstance(self.own, RecurrentModel) else columns


@dataclass(frozen=True)
class Room:
    """A model with room for canaries.

    Attributes:
        own: the model that room was made in.
        columns: int64[canaries], the input column of each.
        outputs: int64[canaries], the output that each lies on; one after the other in a linear model, else 0.
        coordinates: int64[canaries], where each lies in the flat parameter vector and in a gradient.
        scale: what a canary's input is multiplied by, so that its gradient has the norm asked for.
    """

    own: Architecture
    architecture: Architecture
    columns: NDArray[np.int64]
    outputs: NDArray[np.int64]
    coordinates: NDArray[np.int64]
    scale: float

    @property
    def _linear(self) -> bool:
        return isinstance(self.own, LinearModel)

    def targets(self, own: NDArray[np.float64], canaries: NDArray[np.int64]) -> NDArray[np.float64]:
        """Targets for rows of these canaries, of the shape of the task's own targets."""
        if self._linear:
            return np.asarray(FIRST_CANARY + self.outputs[canaries])
        return np.zeros((len(canaries), *own.shape[1:]))

    def found(self, inputs: Any, targets: NDArray[np.float64]) -> NDArray[np.int64]:
        """Which canaries have rows among CSR inputs."""
        beside = inputs[:, self.own.inputs :].tocoo()
        row, column = beside.coords
        if not self._linear:
            return np.unique(column)
        return np.unique(column * self.own.outputs + _output(targets[row]))

    def own_part(self, parameters: NDArray[np.float64]) -> NDArray[np.float64]:
        """The parameters of the model that room was made in."""
        if self._linear:
            return parameters.reshape(self.own.outputs, -1)[:, : self.own.inputs].ravel()
        return parameters[: self.own.size]


def make_room(own: Architecture, count: int) -> Room:
    """The model with a coordinate for each of `count` canaries.

    Raises:
        NotAuditable: the model is neither linear nor layered.
    """
    each = np.arange(count)
    if isinstance(own, LinearModel):
        wider = replace(own, inputs=own.inputs - (-count // own.outputs), loss=CanaryLoss(own.loss))
        output, column = each % own.outputs, own.inputs + each // own.outputs
        return Room(own, wider, column, output, output * wider.inputs + column, 1.0)
    if isinstance(own, LayeredArchitecture):
        layered = LayeredWithCanaries(own, count)
        return Room(own, layered, own.inputs + each, np.zeros_like(each), own.size + each, 1.0 / _SLOPE)
    raise NotAuditable(f"canaries take a linear model or one of layers, not a {type(own).__name__}")


def rows_of(room: Room, canaries: NDArray[np.int64], norm: float) -> Any:
    """CSR inputs [n, inputs] of rows of these canaries, each with a gradient of this norm."""
    here = np.arange(len(canaries))
    values = np.full(len(canaries), norm * room.scale)
    return sparse.csr_array((values, (here, room.columns[canaries])), (len(canaries), room.architecture.inputs))
