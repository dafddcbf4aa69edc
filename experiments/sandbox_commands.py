"""`artesian sandbox`: a whole consortium on this machine, with real processes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from clients.supervision.commands import Json, Within

if TYPE_CHECKING:
    pass

app = typer.Typer(
    no_args_is_help=True,
    help="A whole consortium on this machine, with real processes.",
    epilog="Example: artesian sandbox up --home sandbox",
)

Home = Annotated[Path, typer.Option(envvar="ARTESIAN_HOME", help="The folder for all homes; new or empty at first.")]


@app.command(epilog="Example: artesian sandbox up --home sandbox --firms 3 --once")
def up(
    home: Home,
    firms: Annotated[int, typer.Option(help="How many firms.", min=3, max=16)] = 3,
    rounds: Annotated[int, typer.Option(help="How many rounds are trained before the release.", min=1)] = 1,
    once: Annotated[bool, typer.Option("--once", help="Stop when the rounds are trained.")] = False,
    verbose: Annotated[bool, typer.Option("--verbose", help="Show the log of all processes too.")] = False,
    as_json: Json = False,
) -> None:
    """Found a consortium of firms and a bank, have all join, train on real loans, and stay up until Ctrl-C.

    Every step is a command that operators use, and is shown. Given again for the same folder, it brings all up again.
    """
    from experiments.sandbox_up import bring_up

    result = bring_up(home, firms, rounds, once=once, verbose=verbose, as_json=as_json)
    if as_json and once:
        typer.echo(json.dumps(result))


@app.command(epilog="Example: artesian sandbox down --home sandbox")
def down(home: Home, within: Within = 120.0, as_json: Json = False) -> None:
    """Stop what `up` runs, and wait until it has ended."""
    from clients.supervision.commands import take_down

    take_down(home, within, as_json)


@app.command(epilog="Example: artesian sandbox processes --home sandbox")
def processes(home: Home, as_json: Json = False) -> None:
    """Show how the coordinator's and the firms' supervisors stand; leaves with 1 unless they are ready."""
    from clients.supervision.commands import show_processes

    show_processes(home, as_json)
