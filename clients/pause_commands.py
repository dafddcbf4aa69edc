"""`artesian firm pause` and `resume`: sit out of a task, or of all of them, for some time."""

from __future__ import annotations

import json
import time
from datetime import datetime
from pathlib import Path
from typing import Annotated

import typer

Home = Annotated[Path, typer.Option(envvar="ARTESIAN_HOME", help="The firm's home directory.")]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON document.")]
Task = Annotated[str | None, typer.Argument(help="A task of this firm's. Default: all of them.")]


def pause(
    home: Home,
    task: Task = None,
    until: Annotated[
        datetime | None, typer.Option(help="Take part again from this day or moment on, local time. Default: resume.")
    ] = None,
    reason: Annotated[str, typer.Option(help="Why, for this firm's own operators.")] = "",
    tell: Annotated[bool, typer.Option("--tell", help="Tell the coordinator the reason too.")] = False,
    as_json: Json = False,
) -> None:
    """Sit out: take no part in a task from the next message on. Nothing is spent; the firm still witnesses.

    The coordinator is told that this firm sits out, and until when. The present round is still opened if this firm has
    contributed to it.
    """
    from clients.firm_config import load_firm_config
    from clients.firm_tasks import require_named
    from clients.sitting_out import ALL, Pause, moment, sit_out

    config, now_s = load_firm_config(home / "firm.toml"), time.time()
    if task is not None:
        require_named(config.member, config.task, task)
    until_s = None if until is None else until.timestamp()
    sit_out(home, task or ALL, Pause(now_s, until_s, reason, tell))
    if as_json:
        typer.echo(json.dumps({"ok": True, "member": config.member, "task": task, "until": until_s, "told": tell}))
        return
    when = "until artesian firm resume" if until_s is None else f"until {moment(until_s)}"
    typer.echo(f"{config.member} sits out of {task or 'all tasks'} {when}.")


def resume(home: Home, task: Task = None, as_json: Json = False) -> None:
    """Take part again, from the next run on."""
    from clients.firm_config import load_firm_config
    from clients.firm_tasks import require_named
    from clients.sitting_out import ALL, take_part

    config = load_firm_config(home / "firm.toml")
    if task is not None:
        require_named(config.member, config.task, task)
    was = take_part(home, task or ALL)
    if as_json:
        typer.echo(json.dumps({"ok": True, "member": config.member, "task": task, "was_paused": was}))
        return
    typer.echo(f"{config.member} takes part in {task or 'all tasks'}{'' if was else ': it was not paused'}.")
