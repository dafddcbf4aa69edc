"""`artesian firm take-policy`, and the same of `bank`: take a policy that a quorum has changed."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from clients.at_the_desk import Home, Json, confirm, tell

if TYPE_CHECKING:
    from clients.enrolment.consortium import ConsortiumPolicy

Yes = Annotated[bool, typer.Option("--yes", help="Do not ask.")]
File = Annotated[
    Path | None,
    typer.Argument(
        metavar="[FILE]",
        help="The new consortium.toml, with tasks/ beside it. Default: from the join desk.",
        show_default=False,
    ),
]


def take_policy(home: Home, file: File = None, yes: Yes = False, as_json: Json = False) -> None:
    """Take the consortium.toml that a quorum has approved, if this home's own mirror of the ledger names it.

    The specs of its tasks are taken with it. A firm takes part in a new task when its firm.toml names it. What changes
    no spec that a firm has already, it takes by itself while it is up; what does is shown, and taken at a yes.
    """
    from clients.taking_policy import SpecChanged, fetch_policy
    from clients.taking_policy import take_policy as take
    from ledger.commands.places import mirror_standing

    def attempt(replace_specs: bool) -> tuple[ConsortiumPolicy, list[str]] | None:
        if file is None:
            return fetch_policy(home, time.time, replace_specs=replace_specs)
        standing = mirror_standing(home)
        return take(home, file, None if standing is None else standing.state, replace_specs=replace_specs)

    try:
        done = attempt(False)
    except SpecChanged as changed:
        for line in changed.lines:
            tell(line)
        confirm("Take this, and let it be what is computed?", yes=yes, as_json=as_json, instead="--yes")
        done = attempt(True)
    answer_taken(home, done, as_json)


def answer_taken(home: Path, done: tuple[ConsortiumPolicy, list[str]] | None, as_json: bool) -> None:
    """Say which policy a home has now; None where it had that before."""
    from clients.enrolment.consortium import policy_of_home

    policy, fresh = done or (policy_of_home(home), [])
    if as_json:
        tasks, apps = (
            ([], []) if policy is None else ([one.name for one in policy.task], [one.sha256 for one in policy.app])
        )
        cid = "" if policy is None else policy.cid
        facts = {"ok": True, "changed": done is not None, "cid": cid, "tasks": tasks, "apps": apps, "new": fresh}
        typer.echo(json.dumps(facts))
        return
    if done is None:
        typer.echo(f"{home} has the policy already that its copy of the ledger names.")
        return
    assert policy is not None
    typer.echo(f"{home} has the policy of {policy.cid} that the ledger names.")
    if fresh:
        typer.echo(f"Specs taken: {', '.join(fresh)}; firm.toml says in which tasks a firm takes part.")
    if policy.app:
        typer.echo(f"Runs may be of app bundle {', '.join(one.sha256[:16] for one in policy.app)} and of no other.")
