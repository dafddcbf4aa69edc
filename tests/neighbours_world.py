"""Neighbouring tables of every kind of privacy unit: the same records but for all of one unit, taken out or put in."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from task_world import credit_spec, credit_table, demand_spec, demand_table

from clients.data import Table
from clients.tasks.spec import TaskSpec
from clients.tasks.task import Task, task_for

Rows = NDArray[np.bool_]
ENTITY = {"unit": "entity", "entity": "customer", "max_rows": 3}


@dataclass(frozen=True)
class Kind:
    """A kind of unit: a task with it, and tables in which units are as awkward as they get."""

    name: str
    spec: TaskSpec

    @property
    def task(self) -> Task:
        return task_for(self.spec)

    def table(self, seed: int) -> Table:
        """Rows that say the same, entities far over their most rows, series with gaps, in no order."""
        rng = np.random.default_rng(seed)
        if self.spec.kind == "credit":
            table = credit_table(self.spec, 12, seed)
            table = table.take(rng.integers(0, 12, 30))  # many rows twice and more, of the same customers
        else:
            table = demand_table(stores=3, seed=seed)
            table = table.take(rng.uniform(size=table.rows) > 0.002)
        return table.take(rng.permutation(table.rows))

    def units(self, table: Table) -> Iterator[Rows]:
        """For each unit which rows are its own, in order of what it is called; by the words of the spec alone."""
        if self.name == "row":
            yield from np.eye(table.rows, dtype=np.bool_)
            return
        owner = table.columns["customer" if self.spec.kind == "credit" else "store"]
        blocks = np.zeros(table.rows, dtype=np.int64)
        if self.name == "block":
            length = self.spec.privacy.block_days
            assert length is not None
            shift = [int.from_bytes(hashlib.sha256(n.encode()).digest()[:4], "big") % length for n in owner.tolist()]
            blocks = (table.columns["day"].astype(np.int64) - np.array(shift)) // length
        for name in np.unique(owner):
            for block in np.unique(blocks[owner == name]):
                yield (owner == name) & (blocks == block)


KINDS = (
    Kind("row", credit_spec()),
    Kind("entity", credit_spec(privacy=ENTITY)),
    Kind("block", demand_spec()),
    Kind("series", demand_spec(privacy={"unit": "series"})),
)


def neighbours(kind: Kind, seed: int, most: int) -> Iterator[tuple[Table, Table]]:
    """A table and one without the first, the last and some units between; either is the other with a unit more."""
    table = kind.table(seed)
    units = list(kind.units(table))
    inside = np.random.default_rng(seed).permutation(np.arange(1, len(units) - 1))[: max(most - 2, 0)]
    for place in sorted({0, len(units) - 1, *inside.tolist()}):
        yield table, table.take(~units[place])
