"""`artesian version`: which versions this program is of, speaks, reads and writes."""

from __future__ import annotations

import json
from typing import Annotated

import typer

app = typer.Typer(no_args_is_help=False)


@app.command("version", epilog="Example: artesian version --json")
def version(as_json: Annotated[bool, typer.Option("--json", help="Print one JSON document.")] = False) -> None:
    """Show the version of the program, of the messages it speaks, of the records it judges, and of its homes."""
    from clients.versions import MESSAGE_VERSIONS, SOFTWARE, facts
    from ledger.statement import PAYLOAD_VERSION

    said = facts()
    if as_json:
        typer.echo(json.dumps(said))
        return
    typer.echo(f"artesian {SOFTWARE}")
    typer.echo(f"Messages: version {MESSAGE_VERSIONS}. Records: up to version {PAYLOAD_VERSION}.")
    typer.echo(f"Homes: version {said['state']}.")
