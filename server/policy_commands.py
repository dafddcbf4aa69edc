"""`artesian coordinator propose-policy`, `take-policy`, `apps`: what members decide together, which software runs."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Annotated

import typer

Home = Annotated[Path, typer.Option(envvar="ARTESIAN_HOME", help="The coordinator's home directory.")]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON document.")]


def propose_policy(
    file: Annotated[
        Path, typer.Argument(metavar="FILE", help="A changed copy of consortium.toml; new specs in tasks/ beside it.")
    ],
    home: Home,
    as_json: Json = False,
) -> None:
    """Propose another consortium.toml to the members, who read at the join desk what it changes, and approve.

    At a quorum the desk puts it on the ledger and in its place here; members that are up take it by themselves.
    Invites that were made before are void then.
    """
    from server.enrolment.admission import Admission
    from server.enrolment.book import EnrolmentBook
    from server.enrolment.ledger_access import LedgerAccess
    from server.initialising import require_home

    require_home(home)
    ledger = LedgerAccess(home)
    with EnrolmentBook(home) as book:
        made = Admission(home, book, ledger, time.time).propose_policy(file)
        state = ledger.state()
    name, needed, words = made.proposed.name, made.needed, made.proposal.words()
    least, firms = made.proposal.payload["min_cohort"], len(state.active("firm")) if state is not None else 0
    if as_json:
        facts = {"name": name, "needed": needed, "words": words, "min_cohort": least, "firms": firms}
        typer.echo(json.dumps({"ok": True, **facts}, ensure_ascii=False))
        return
    if least > firms:
        typer.echo(
            f"Note: min_cohort = {least} and the ledger has {firms} firms: once this is agreed, no round runs until "
            f"{least - firms} more have joined.",
            err=True,
        )
    typer.echo(f"Proposed: {name}. {needed} members must approve it, each with:")
    typer.echo(f"  artesian firm approve {name} --home HOME   (a bank: artesian bank approve)")


def take_policy(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="The consortium.toml, with tasks/ beside it.")],
    home: Home,
    as_json: Json = False,
) -> None:
    """Put the consortium.toml that the ledger names in its place here, with the specs of its tasks.

    The join desk does this by itself for what `propose-policy` has proposed; this is for what came another way.
    """
    from clients.policy_commands import answer_taken
    from clients.taking_policy import take_policy as take
    from server.enrolment.ledger_access import LedgerAccess
    from server.initialising import require_home

    require_home(home)
    answer_taken(home, take(home, file, LedgerAccess(home).state(), replace_specs=True), as_json)


def apps(home: Home, as_json: Json = False) -> None:
    """Show the app bundle that this coordinator's runs are of, and those that the consortium's policy names.

    Where the policy names any, firms refuse runs of others. The lines to put into a copy of consortium.toml that is
    proposed are shown.
    """
    from clients.enrolment.consortium import ConsortiumApp, policy_of_home
    from clients.flower.bundle import installed_bundle

    installed, policy = installed_bundle(), policy_of_home(home)
    named = () if policy is None else policy.app
    own = ConsortiumApp(sha256=installed.sha256, version=installed.version)
    if as_json:
        listed = [{"sha256": one.sha256, "version": one.version} for one in named]
        facts = {"sha256": installed.sha256, "version": installed.version}
        typer.echo(json.dumps({"ok": True, "installed": facts, "policy": listed}))
        return
    for app in named:
        typer.echo(f"policy     {app.sha256}  artesian {app.version or '?'}")
    typer.echo(f"installed  {installed.sha256}  artesian {installed.version}")
    if not named:
        typer.echo("The policy names none: each firm decides for itself. To name this one, propose a copy of it with:")
    elif not any(one.sha256 == installed.sha256 for one in named):
        typer.echo("The policy does not name it, so firms refuse its runs. Propose a copy of the policy with:")
    else:
        return
    typer.echo(own.text())
