"""`up`, `down` and `processes`, as the groups of the command line share them."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

if TYPE_CHECKING:
    from clients.supervision.program import Program
    from clients.supervision.status import ProgramStatus, SetStatus

Format = Literal["text", "json", "none"]
LogFormat = Annotated[
    Format, typer.Option(help="How the lines on standard error are written; none: in the files of `logs/` only.")
]
Detach = Annotated[bool, typer.Option("--detach", help="Leave when all is ready; `down` stops what goes on.")]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON document.")]
WhenReady = Annotated[bool, typer.Option("--json", help="Print one JSON document when all is ready.")]
Within = Annotated[float, typer.Option(metavar="SECONDS", help="How long to wait until all have ended.", min=0)]

_READY_WITHIN_S = 180.0


def bring_up(home: Path, programs: Sequence[Program], as_json: bool, log_format: Format) -> None:
    """Run the programs until SIGTERM or SIGINT, and say when they are ready.

    Raises:
        AlreadyUp: another process runs them.
        NeverReady: stopped before they were.
    """
    import os

    from clients.process_log import FORMAT_VARIABLE
    from clients.supervision.errors import NeverReady
    from clients.supervision.up import keep_up

    if log_format == "json":
        os.environ[FORMAT_VARIABLE] = "json"  # what is known of a line stays with it

    was_ready = False

    def on_ready(status: SetStatus) -> None:
        nonlocal was_ready
        was_ready = True
        typer.echo(json.dumps(_facts(home, status), ensure_ascii=False) if as_json else ready_line(status))

    keep_up(home, programs, log_format, on_ready)
    if not was_ready:
        raise NeverReady(f"{home}: stopped before all was ready")


def bring_up_detached(home: Path, role: str, as_json: bool) -> None:
    """Run `artesian ROLE up` in the background, and say when it is ready.

    Raises:
        EndedEarly, NeverReady: it is not.
    """
    from clients.supervision.detached import detach

    status = detach(home, (role, "up", "--home", str(home), "--log-format", "none"), _READY_WITHIN_S)
    if as_json:
        typer.echo(json.dumps(_facts(home, status), ensure_ascii=False))
    else:
        typer.echo(f"{home}: {ready_line(status)}. It goes on as process {status.pid}; logs are in {home / 'logs'}.")


def take_down(home: Path, within_s: float, as_json: bool) -> None:
    """Stop what `up` runs, and wait for it.

    Raises:
        NotStopped: it still runs after `within_s`.
    """
    from clients.supervision.up import stop_set

    stopped = stop_set(home, within_s)
    words = "All processes have ended." if stopped else "Nothing was up."
    typer.echo(json.dumps({"ok": True, "was_up": stopped}) if as_json else f"{home}: {words}")


def show_processes(home: Path, as_json: bool) -> None:
    """Show how the processes stand; leaves with 1 unless all that should is ready."""
    from clients.supervision.status import read_status

    status = read_status(home)
    ready = status is not None and status.alive and status.state == "ready"
    if as_json:
        facts = {"home": str(home), "state": "never up", "programs": []} if status is None else _facts(home, status)
        typer.echo(json.dumps({**facts, "ok": ready}, ensure_ascii=False))
    elif status is None:
        typer.echo(f"{home}: was never up.")
    else:
        typer.echo(f"{home}: {status.state}, supervised by process {status.pid}.")
        for line in table(status.programs):
            typer.echo(line)
    raise typer.Exit(0 if ready else 1)


def table(programs: Sequence[ProgramStatus]) -> list[str]:
    """One line a program: name, state, pid, restarts, and why it is not ready."""
    width = max((len(one.name) for one in programs), default=0)
    return [
        f"  {one.name:{width}}  {one.state:13}  {one.pid or '-':>7}  {_restarts(one.restarts):12}  {one.why}".rstrip()
        for one in programs
    ]


def _restarts(count: int) -> str:
    return "" if not count else f"{count} restart{'' if count == 1 else 's'}"


def _facts(home: Path, status: SetStatus) -> dict[str, Any]:
    facts = status.document()
    del facts["token"]
    return {"ok": True, "home": str(home), **facts}


def ready_line(status: SetStatus) -> str:
    """What is told once the set is ready: programs that run, and others that wait for something outside."""
    ready = [one.name for one in status.programs if one.state == "ready"]
    others = [f"{one.name} ({one.why or one.state})" for one in status.programs if one.state != "ready"]
    if not ready:
        return f"up; waiting: {', '.join(others)}"
    return f"ready: {', '.join(ready)}{'; not yet: ' if others else ''}{', '.join(others)}"
