"""Canaries: privacy units of the auditor's own whose gradient is known, each on a model coordinate of its own.

They come in as data does. The task is wrapped: its linear model has columns more, its examples contain canary units,
and their loss is linear, so that a canary's gradient is the same in every round, whatever the model has become. All
that clips, adds up, rounds, noises and masks runs as it is, and knows nothing of canaries.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from clients.data import Table
from clients.tasks.architecture import Architecture
from clients.tasks.examples import Examples
from clients.tasks.linear_model import LinearModel
from clients.tasks.losses import Loss
from clients.tasks.task import Task
from experiments.errors import ExperimentError

if TYPE_CHECKING:
    import torch

_FIRST = 2.0**40  # a canary's target is this plus the output that it lies on; no record has such a target


class NotAuditable(ExperimentError):
    """A task whose model leaves no room for canaries."""


@dataclass(frozen=True)
class CanaryLoss:
    """The loss of a task on its own examples; on canaries, the output that their target names."""

    task: Loss

    def value(self, outputs: NDArray[np.float64], targets: NDArray[np.float64]) -> NDArray[np.float64]:
        canary = targets >= _FIRST
        out = self.task.value(outputs, np.where(canary, 0.0, targets))
        return np.where(canary, outputs[np.arange(len(targets)), _output(targets)], out)

    def slope(self, outputs: NDArray[np.float64], targets: NDArray[np.float64]) -> NDArray[np.float64]:
        canary = targets >= _FIRST
        out = self.task.slope(outputs, np.where(canary, 0.0, targets))
        return np.where(canary[:, None], np.eye(outputs.shape[1])[_output(targets)], out)

    def torch(self, outputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        canary = targets >= _FIRST
        own = outputs.gather(1, (targets - _FIRST).clamp(min=0).long()[:, None])[:, 0]
        return own.where(canary, self.task.torch(outputs, targets.where(~canary, targets.new_zeros(()))))


def _output(targets: NDArray[np.float64]) -> NDArray[np.int64]:
    return np.maximum(targets - _FIRST, 0.0).astype(np.int64) * (targets >= _FIRST)


class CanaryTask:
    """A task with `count` reserved coordinates behind those of its linear model.

    Attributes:
        coordinates: int64[count], where canary j lies in the flat parameter vector and in a gradient.
    """

    def __init__(self, task: Task, count: int, rows: int, norm: float) -> None:
        """A canary has so many `rows`, all alike; `norm` is its gradient's before it is clipped.

        Raises:
            NotAuditable: the task's model is not linear.
        """
        self._task, self._rows, self._norm = task, rows, norm
        self.spec, own = task.spec, task.architecture
        if not isinstance(own, LinearModel):
            raise NotAuditable(f"task {task.spec.name!r}: canaries take a linear model; audit one, or audit by others")
        columns = -(-count // own.outputs)
        self._own = own
        self.architecture: Architecture = replace(own, inputs=own.inputs + columns, loss=CanaryLoss(own.loss))
        self._output, self._column = np.arange(count) % own.outputs, own.inputs + np.arange(count) // own.outputs
        self.coordinates: NDArray[np.int64] = self._output * self.architecture.inputs + self._column

    def examples(self, table: Table) -> Examples:
        """The table's examples, without canaries."""
        return self.among(self._task.examples(table), np.zeros(0, dtype=np.int64))

    def among(self, examples: Examples, chosen: NDArray[np.int64]) -> Examples:
        """A firm's examples with the canaries `chosen` behind them.

        Args:
            examples: of the task itself.
            chosen: int64[k], which canaries.
        """
        drawn = np.repeat(chosen, self._rows)
        width, here = self.architecture.inputs, np.arange(len(drawn))
        own = sparse.csr_array(examples.inputs)
        own.resize((own.shape[0], width))
        inputs = sparse.csr_array((np.full(len(drawn), self._norm), (here, self._column[drawn])), (len(drawn), width))
        names = examples.names
        return Examples(
            sparse.csr_array(sparse.vstack([own, inputs])),
            np.concatenate([examples.targets, _FIRST + self._output[drawn]]),
            np.concatenate([examples.offset, np.zeros((len(drawn), self._own.outputs))]),
            np.concatenate([examples.unit, examples.units + np.repeat(np.arange(len(chosen)), self._rows)]),
            examples.units + len(chosen),
            None
            if names is None
            else np.concatenate([names, np.array([f"canary {one}" for one in chosen], dtype=str)]),
        )

    def found_in(self, examples: Examples) -> NDArray[np.int64]:
        """Which canaries are among examples of this task."""
        rows = sparse.csr_array(examples.inputs)[examples.targets >= _FIRST].tocoo()
        output = _output(examples.targets[examples.targets >= _FIRST])[rows.coords[0]]
        return np.unique((rows.coords[1] - self._own.inputs) * self._own.outputs + output)

    def set_aside(self, table: Table, share: float, seed: int) -> tuple[Table, Table]:
        """As the task does."""
        return self._task.set_aside(table, share, seed)

    def evaluate(self, parameters: NDArray[np.float64], held_out: Table) -> dict[str, float]:
        """The task's metrics of the model without its reserved coordinates."""
        weight = parameters.reshape(self._own.outputs, self.architecture.inputs)
        return self._task.evaluate(weight[:, : self._own.inputs].ravel(), held_out)
