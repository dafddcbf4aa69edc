"""`artesian firm take-policy`, and the same of `bank`: take a policy that a quorum has changed."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

Home = Annotated[Path, typer.Option(envvar="ARTESIAN_HOME", help="The member's home directory.")]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON document.")]


def take_policy(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="The new consortium.toml, with tasks/ beside it.")],
    home: Home,
    as_json: Json = False,
) -> None:
    """Take a consortium.toml that a quorum has approved, if this home's own mirror of the ledger names it.

    The specs of its tasks are taken with it, from the folder tasks/ beside the file. A firm takes part in a new
    task when its firm.toml names it.
    """
    from clients.agreed_policy import take_policy as take
    from ledger.commands.places import mirror_standing

    standing = mirror_standing(home)
    policy, fresh = take(home, file, None if standing is None else standing.state)
    if as_json:
        facts = {"ok": True, "cid": policy.cid, "tasks": [one.name for one in policy.task], "new": fresh}
        typer.echo(json.dumps(facts))
        return
    typer.echo(f"{home} has the policy of {policy.cid} that the ledger names.")
    if fresh:
        typer.echo(f"New specs: {', '.join(fresh)}; firm.toml says in which tasks a firm takes part.")
