"""Lines put into `coordinator.toml` below the task that they are for: what its operator wrote, comments too, stays."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import Any

from clients.tasks.spec import TaskSpec, load_spec
from clients.toml_files import validated
from ledger.whole_file import write_whole
from server.coordinator import CONFIG_FILE, CoordinatorConfig, CoordinatorConfigInvalid, load_coordinator_config
from server.errors import ServerError

_TASK = re.compile(r"\[\[\s*task\s*\]\]")
_PART_OF_TASK = re.compile(r"\[{1,2}\s*task\s*\.")


class CannotPlace(ServerError):
    """The lines have no place in the file, or another has it."""

    exit_code = 1


def add_below(home: Path, spec: TaskSpec, lines: str) -> str:
    """Put tables into `coordinator.toml`, below the task of this very spec; returns the task's name.

    Args:
        lines: tables as a file with one task has them, `[task.training]`.

    Raises:
        CannotPlace: not exactly one task is of this spec, or it has such tables already; nothing was written.
        CoordinatorConfigInvalid: the file cannot be used, or not with these lines.
    """
    path = home / CONFIG_FILE
    tasks = load_coordinator_config(path).task
    of_spec = [place for place, task in enumerate(tasks) if load_spec(home / task.spec).hash == spec.hash]
    if len(of_spec) != 1:
        known = ", ".join(task.name for task in tasks) or "none"
        what = "several tasks are of this spec; add the lines by hand" if of_spec else "no task is of this spec"
        raise CannotPlace(f"{path}: {what} (tasks: {known})")
    place, name = of_spec[0], tasks[of_spec[0]].name
    text = path.read_text(encoding="utf-8")
    before, more = tomllib.loads(text), tomllib.loads(lines)["task"]
    there = sorted(more.keys() & before["task"][place].keys())
    if there:
        raise CannotPlace(f"{path}: {name} has [task.{there[0]}] already; take that away, or change it by hand")
    after = _inserted(text, place, lines)
    before["task"][place] |= more
    if after is None or _parsed(after) != before:
        raise CannotPlace(f"{path}: its tables are not written as [[task]]; add the lines below {name} by hand")
    validated(before, CoordinatorConfig, CoordinatorConfigInvalid, str(path))
    write_whole(path, after, mode=path.stat().st_mode & 0o777)
    return name


def _inserted(text: str, place: int, lines: str) -> str | None:
    """The text with the lines after the last one that says something of this task; None where it is not found."""
    rows = text.splitlines()
    heads = [number for number, row in enumerate(rows) if _TASK.match(row.strip())]
    if place >= len(heads):
        return None
    end = heads[place] + 1
    for number in range(heads[place] + 1, len(rows)):
        row = rows[number].strip()
        if row.startswith("[") and not _PART_OF_TASK.match(row):
            break
        if row and not row.startswith("#"):
            end = number + 1
    return "\n".join([*rows[:end], "", *lines.splitlines(), *rows[end:], ""])


def _parsed(text: str) -> dict[str, Any] | None:
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError:
        return None
