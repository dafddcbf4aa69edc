"""A task as one firm takes part in it: by its `firm.toml`, and with its own examples."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from clients.errors import ClientError
from clients.firm_config import TaskAtFirm
from clients.tasks.examples import Examples
from clients.tasks.spec import TaskSpec
from clients.tasks.task import Task


class NotTakingPart(ClientError):
    """The firm has no such task. The coordinator is told, so it names none of the firm's others."""

    exit_code = 1


class NoSuchTask(ClientError):
    """A task that an operator names and `firm.toml` does not; says which there are."""


def require_named(member: str, tasks: Iterable[TaskAtFirm], name: str) -> None:
    """Insist that a firm has a task, as its own operator names it.

    Raises:
        NoSuchTask: listing those that it has.
    """
    known = [one.name for one in tasks]
    if name not in known:
        raise NoSuchTask(f"{name}: no task of {member}'s; its firm.toml has {', '.join(known)}")


@dataclass(frozen=True)
class DeclaredTask:
    """A task as the firm's `firm.toml` names it: which account of the wallet pays for it."""

    settings: TaskAtFirm
    spec: TaskSpec

    @property
    def name(self) -> str:
        return self.settings.name

    @property
    def data(self) -> str:
        return self.settings.location

    @property
    def dataset(self) -> str:
        return self.settings.dataset or self.settings.location

    @property
    def named(self) -> bool:
        """Whether the owner has named the data set; else it is called after its file."""
        return bool(self.settings.dataset)

    @property
    def unit(self) -> str:
        return self.spec.privacy.words(self.spec.series)


@dataclass(frozen=True)
class PrivateTask:
    """A task with the firm's own examples.

    Attributes:
        groups: int64[n] of each category and flag of a task that may be measured for fairness: for every example the
            place of its record's value, read with the examples, so that no message makes the firm read again.
    """

    settings: TaskAtFirm
    task: Task
    examples: Examples
    groups: Mapping[str, NDArray[np.int64]] = field(default_factory=dict)

    @property
    def declared(self) -> DeclaredTask:
        """The same without the examples."""
        return DeclaredTask(self.settings, self.task.spec)

    @property
    def dataset(self) -> str:
        return self.declared.dataset

    @property
    def unit(self) -> str:
        return self.declared.unit
