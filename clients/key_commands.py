"""`artesian firm forget-epoch`: destroy the masking secrets that this firm holds."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

Home = Annotated[Path, typer.Option(envvar="ARTESIAN_HOME", help="The firm's home directory.")]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON document.")]


def forget_epoch(home: Home, as_json: Json = False) -> None:
    """Destroy the masking secrets of the present epoch, for good. The next round that asks for them gets a new epoch.

    A key that this firm holds for encrypted sums of others goes, too, and so do bare sums kept for correlated noise.

    Updates that this firm sent in the epoch stay masked for ever; a sum that it was to help to open now is not opened
    with its help. Works beside a running client.
    """
    from clients.firm import Firm

    firm = Firm(home)
    ended = firm.round_secrets.end()
    held = firm.holds_keys and firm.held_keys.begun_s is not None
    if held:
        firm.held_keys.retire()
    for task in firm.config.task:
        firm.kept_sums(task.name).destroy()
    if as_json:
        files = [] if ended is None else list(ended.files)
        facts = {"ok": True, "member": firm.member, "epoch": None if ended is None else ended.epoch, "destroyed": files}
        facts["held_key_destroyed"] = held
        typer.echo(json.dumps(facts))
    elif ended is None:
        typer.echo(f"{firm.member} holds no masking secrets.")
    else:
        typer.echo(f"{firm.member}: epoch {ended.epoch} has ended here. Destroyed: {', '.join(ended.files)}.")
    if held and not as_json:
        typer.echo(f"{firm.member}: the key that it held for an encrypted sum is destroyed.")
