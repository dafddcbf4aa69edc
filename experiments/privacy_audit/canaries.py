"""Canaries: privacy units of the auditor's own whose gradient is known, each on a model coordinate of its own.

They come in as data does. The task is wrapped: its model has room for them, its examples contain them. All that clips,
adds up, rounds, noises and masks runs as it is, and knows nothing of canaries.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from clients.data import Table
from clients.tasks.examples import Examples
from clients.tasks.task import Task
from experiments.privacy_audit.canary_models import make_room, rows_of


class CanaryTask:
    """A task whose model has coordinates for `count` canaries.

    Attributes:
        coordinates: int64[count], where canary j lies in the flat parameter vector and in a gradient.
    """

    def __init__(self, task: Task, count: int, rows: int, norm: float) -> None:
        """A canary has so many `rows`, all alike; `norm` is its gradient's before it is clipped.

        Raises:
            NotAuditable: the task's model leaves no room.
        """
        self._task, self._rows, self._norm = task, rows, norm
        self._room = make_room(task.architecture, count)
        self.spec, self.architecture, self.coordinates = task.spec, self._room.architecture, self._room.coordinates

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
        own = sparse.csr_array(examples.inputs, copy=True)
        own.resize((own.shape[0], self.architecture.inputs))
        names = examples.names
        return Examples(
            sparse.csr_array(sparse.vstack([own, rows_of(self._room, drawn, self._norm)])),
            np.concatenate([examples.targets, self._room.targets(examples.targets, drawn)]),
            np.concatenate([examples.offset, np.zeros((len(drawn), examples.offset.shape[1]))]),
            np.concatenate([examples.unit, examples.units + np.repeat(np.arange(len(chosen)), self._rows)]),
            examples.units + len(chosen),
            None if names is None else np.concatenate([names, np.array([f"canary {j}" for j in chosen], dtype=str)]),
        )

    def found_in(self, examples: Examples) -> NDArray[np.int64]:
        """Which canaries are among examples of this task."""
        return self._room.found(examples.inputs, examples.targets)

    def set_aside(self, table: Table, share: float, seed: int) -> tuple[Table, Table]:
        """As the task does."""
        return self._task.set_aside(table, share, seed)

    def evaluate(self, parameters: NDArray[np.float64], held_out: Table) -> dict[str, float]:
        """The task's metrics of the model without its reserved coordinates."""
        return self._task.evaluate(self._room.own_part(parameters), held_out)
