"""What every task can do, whatever it learns: the only face that training, rounds and experiments see."""

from __future__ import annotations

from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from clients.data import Table
from clients.tasks.architecture import Architecture
from clients.tasks.examples import Examples
from clients.tasks.spec import TaskSpec


class Task(Protocol):
    """A task spec made executable."""

    spec: TaskSpec
    architecture: Architecture

    def examples(self, table: Table) -> Examples:
        """Model inputs, targets and privacy units of a labelled table."""
        ...

    def set_aside(self, table: Table, share: float, seed: int) -> tuple[Table, Table]:
        """Split into (training, held out) before anything else looks at the table."""
        ...

    def evaluate(self, parameters: NDArray[np.float64], held_out: Table) -> dict[str, float]:
        """Metrics of the model `parameters` on a held-out table."""
        ...


def task_for(spec: TaskSpec) -> Task:
    """The task that a spec describes."""
    from clients.tasks.credit import CreditTask
    from clients.tasks.demand import DemandTask
    from clients.tasks.recurrent_demand import RecurrentDemandTask

    if spec.kind == "credit":
        return CreditTask(spec)
    return RecurrentDemandTask(spec) if spec.model.kind == "gru-quantile" else DemandTask(spec)
