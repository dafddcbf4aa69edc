"""The commands of a group under headings in its `--help`, in the order in which an operator meets them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import typer
from typer.models import CommandInfo


def arrange(app: typer.Typer, panels: Mapping[str, Sequence[str]]) -> None:
    """Put the group's commands under headings; one that is not named comes last, without one.

    Args:
        panels: names of commands by heading, both in the order in which `--help` shows them.

    Raises:
        ValueError: a name is no command's.
    """
    headings = {name: heading for heading, names in panels.items() for name in names}
    known = {_name(command): command for command in app.registered_commands}
    if wrong := headings.keys() - known.keys():
        raise ValueError(f"no commands to put under a heading: {', '.join(sorted(wrong))}")
    for name, heading in headings.items():
        known[name].rich_help_panel = heading
    order = {name: place for place, name in enumerate(headings)}
    app.registered_commands.sort(key=lambda command: order.get(_name(command), len(order)))


def _name(command: CommandInfo) -> str:
    return command.name or getattr(command.callback, "__name__", "").replace("_", "-")
