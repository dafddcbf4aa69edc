"""`artesian firm take-release`: take a published model from a folder."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

Home = Annotated[Path, typer.Option(envvar="ARTESIAN_HOME", help="The firm's home directory.")]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON document.")]


def take_release(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="A release's folder: model files, manifest, receipt.")],
    home: Home,
    as_json: Json = False,
) -> None:
    """Take a published model from a folder, if this firm's own mirror of the ledger says that it is one.

    It must be final there, not revoked, and of the task spec that this firm has. The coordinator sends releases by
    itself after a training run; this is for a firm that was away, and works beside a running client.
    """
    from clients.firm import Firm
    from clients.taking import take_from_folder

    firm = Firm(home)
    task, held = take_from_folder(firm, folder)
    model = held.model.hex()
    if as_json:
        facts = {"ok": True, "member": firm.member, "task": task, "model": model, "entry": held.entry}
        typer.echo(json.dumps(facts, ensure_ascii=False))
    else:
        typer.echo(f"{firm.member} has taken the model {model[:16]} of {task}, published at entry {held.entry}.")
