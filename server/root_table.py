"""The coordinator's root table: a few records of its own, whose gradient says which way an honest group would go."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from clients.data import read_table
from clients.tasks.architecture import Architecture
from clients.tasks.examples import Examples
from clients.tasks.task import Task
from clients.training import clipped_gradient_sum


@dataclass(frozen=True)
class RootTable:
    """A table in the task's columns.

    Attributes:
        digest: SHA-256 of the file: plans name it, so that it is chosen before anyone trains.
    """

    digest: bytes
    architecture: Architecture
    examples: Examples

    @classmethod
    def read(cls, path: Path, task: Task) -> RootTable:
        """Read a table that the operator gave.

        Raises:
            TableUnreadable, TableInvalid: what is wrong with it.
        """
        examples = task.examples(read_table(path, task.spec))
        return cls(hashlib.sha256(path.read_bytes()).digest(), task.architecture, examples)

    def gradient(self, parameters: NDArray[np.float64], clip: float) -> NDArray[np.float64]:
        """The mean over the table's units of their clipped gradients, float64[d]."""
        total = clipped_gradient_sum(self.architecture, parameters, self.examples, clip)
        return total / max(1, self.examples.units)
