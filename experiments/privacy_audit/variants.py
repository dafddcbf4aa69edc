"""What an audit changes about a task: customers made up, so that a unit has several rows, or another model."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import tomli_w

from clients.data import Table
from clients.tasks.spec import parse_spec
from clients.tasks.task import task_for
from experiments.errors import ExperimentError
from experiments.simulation import Prepared

COLUMN = "customer"


class NoCustomers(ExperimentError):
    """A task that cannot be given customers: its privacy unit is no row."""


def group(prepared: Prepared, applications: int, seed: int) -> Prepared:
    """Deal the rows of every firm to customers of `applications` rows each, by chance, who become the privacy unit.

    Raises:
        NoCustomers: the task is no credit task whose privacy unit is a row.
    """
    document: dict[str, Any] = tomllib.loads(prepared.spec_text)
    if document["kind"] != "credit" or document["privacy"]["unit"] != "row":
        raise NoCustomers("applications: customers are made up for credit tasks whose privacy unit is a row, no others")
    document["privacy"] = {"unit": "entity", "entity": COLUMN, "max_rows": applications}
    document["column"].append({"name": COLUMN, "kind": "text"})
    task = task_for(parse_spec(document, "task spec with customers"))
    rng = np.random.default_rng([seed, 3])

    def dealt(table: Table) -> Table:
        customer = rng.permutation(table.rows) // applications
        return Table({**table.columns, COLUMN: np.char.add("c", customer.astype(str))}, table.rows)

    parts = tuple(map(dealt, prepared.parts))
    return Prepared(task, tomli_w.dumps(document), dealt(prepared.training), dealt(prepared.held_out), parts)


def with_model(prepared: Prepared, model: Mapping[str, Any]) -> Prepared:
    """The same task with other keys in its spec's `[model]`; without `[trees]`, which widen scorecards alone.

    Raises:
        TaskSpecInvalid: the spec allows no such model.
    """
    document: dict[str, Any] = tomllib.loads(prepared.spec_text)
    document["model"].update(model)
    if document["model"]["kind"] != "scorecard":
        document.pop("trees", None)
    task = task_for(parse_spec(document, "task spec with another model"))
    return replace(prepared, task=task, spec_text=tomli_w.dumps(document))
