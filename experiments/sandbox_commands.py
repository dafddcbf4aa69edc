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


@app.command(epilog="Example: artesian sandbox tables tables --firms 3")
def tables(
    folder: Annotated[Path, typer.Argument(help="Where to write them; new or empty.")],
    firms: Annotated[int, typer.Option(help="How many firms.", min=3, max=16)] = 3,
    as_json: Json = False,
) -> None:
    """Write what a tutorial needs in place of your own: real loans as the firms' tables, their spec, an applicant."""
    from experiments.errors import ExperimentError
    from experiments.sandbox import SPEC
    from experiments.sandbox_tables import APPLICANT, write_tables

    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise ExperimentError(f"{folder}: is not empty; give a new folder for the tables")
    units = write_tables(folder, firms)
    spec = folder / "credit.toml"
    spec.write_bytes(SPEC.read_bytes())
    if as_json:
        typer.echo(json.dumps({"ok": True, "units": units, "spec": str(spec), "applicant": str(folder / APPLICANT)}))
        return
    for firm, count in units.items():
        typer.echo(f"{folder / firm}.csv: declare {count} units")
    typer.echo(f"{spec}: the task spec; {folder / APPLICANT}: somebody none of them has seen")


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
