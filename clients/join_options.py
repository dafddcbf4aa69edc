"""What `artesian firm join` is told of a firm's tables: a value for each task, or one for the only task."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from clients.enrolment.desk_client import Terms


def by_task(given: list[str] | None, option: str) -> dict[str, str]:
    """Values by task as they were given; the empty name stands for the only task.

    Raises:
        BadInvite: a task has two.
    """
    from clients.enrolment.errors import BadInvite

    found: dict[str, str] = {}
    for text in given or ():
        task, equals, value = text.partition("=")
        name, value = (task, value) if equals else ("", text)
        if name in found:
            raise BadInvite(f"{option}: {name or 'a value'} is given twice")
        found[name] = value
    return found


def settled(given: Mapping[str, str], terms: Terms, option: str) -> dict[str, str]:
    """Values by the names of the consortium's tasks.

    Raises:
        BadInvite: a name is none of them, or is needed and left out.
    """
    from clients.enrolment.errors import BadInvite

    names = [task.name for task in terms.policy.task]
    if "" in given and len(names) != 1:
        raise BadInvite(f"{option}: say for which task, as TASK=VALUE; there are: {', '.join(names) or 'none'}")
    named = {name or names[0]: value for name, value in given.items()}
    unknown = [name for name in named if name not in names]
    if unknown:
        raise BadInvite(f"{option}: the consortium has no task {unknown[0]!r}; there are: {', '.join(names) or 'none'}")
    return named


def count_of(text: str) -> int:
    """Declared units.

    Raises:
        BadInvite: it is no whole number, or 0.
    """
    from clients.enrolment.errors import BadInvite

    if not (text.isascii() and text.isdigit() and int(text) >= 1):
        raise BadInvite(f"--units {text}: give a whole number, at least 1, such as --units credit=2400")
    return int(text)


def table_path(path: str) -> str:
    """A table as firm.toml names it, whose own paths begin at the home and not where this command is given.

    Raises:
        BadInvite: there is no such file, or not of a kind that is read.
    """
    from clients.enrolment.errors import BadInvite
    from clients.table_files import READABLE

    if not Path(path).is_file():
        raise BadInvite(f"--data {path}: no such file; leave it out to write it into firm.toml later")
    if not path.lower().endswith(READABLE):
        raise BadInvite(f"--data {path}: not a table that is read, which is one of {', '.join(READABLE)}")
    return str(Path(path).absolute())
