"""What a firm's own table comes to under its task spec: rows, privacy units, what there is to learn from."""

from __future__ import annotations

from typing import Any

from clients.data import Table, TableInvalid, Violation, label_mask
from clients.table_source import FileSource, SqlSource
from clients.tasks.spec import TaskSpec
from clients.tasks.task import Task, task_for


def table_facts(source: FileSource | SqlSource, spec: TaskSpec) -> dict[str, Any]:
    """Read a table and say what is in it. For the firm's own eyes: all of it are exact counts.

    Raises:
        TableInvalid, TableUnreadable: it does not fit, or has no unit to learn from.
    """
    task = task_for(spec)
    table = source.table(spec)
    units = task.examples(table).units
    if not units and spec.series is not None:
        days = spec.privacy.block_days
        problem = f"no series has {days} days in a row that make up one block; give a longer history"
        raise TableInvalid(source.name, (Violation(spec.series.date, None, problem),), 1)
    return {
        "ok": True,
        "task": spec.name,
        "spec_sha256": spec.hash.hex(),
        "rows": table.rows,
        "privacy_unit": spec.privacy.words(spec.series),
        "units": units,
        **_outcomes(task, table),
    }


def _outcomes(task: Task, table: Table) -> dict[str, Any]:
    """The classes of a credit table, the series of a demand table."""
    label, series = task.spec.label, task.spec.series
    if label is not None:
        positive = int(label_mask(table.columns[label.column], label.positive).sum())
        return {"classes": {"positive": positive, "negative": table.rows - positive}}
    assert series is not None
    dates = table.columns[series.date]
    return {"series": len(set(table.columns[series.id])), "from": str(dates.min()), "to": str(dates.max())}


def refusal_facts(error: TableInvalid) -> dict[str, Any]:
    """The violations of a table that does not fit."""
    found = [{"column": one.column, "row": one.row, "problem": one.problem} for one in error.violations]
    facts = {"ok": False, "problem": f"{error.where}: {error.violations[0]}"}
    return {**facts, "violations": found, "count": error.count}
