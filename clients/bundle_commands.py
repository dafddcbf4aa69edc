"""`artesian firm apps`, `approve-app`, `refusals`: what code this firm's answers are for, and what it has refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import typer

Home = Annotated[Path, typer.Option(envvar="ARTESIAN_HOME", help="The firm's home directory.")]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON document.")]

_MOST_LINES = 20


def apps(home: Home, as_json: Json = False) -> None:
    """Show the app bundles that this firm takes part with, and those that it has refused.

    The firm always runs its own installed software and never what a server sends; a bundle's hash says for which
    version a run is meant. For a refused one, the files in which it differs from what is installed are listed. Where
    the consortium's policy names bundles, a run must be of one of those, and of one that this firm takes part with.
    """
    from clients.flower.approvals import Approvals
    from clients.flower.bundle import differences
    from clients.sitting_out import moment

    known = Approvals(home)
    policy = known.policy()
    named = () if policy is None else policy.app
    installed, approved, asked = known.installed, known.approved(), known.asked()
    changes = {one: differences(what.files, installed.files) for one, what in asked.items()}
    if as_json:
        document: dict[str, Any] = {
            "policy": [{"sha256": one.sha256, "version": one.version} for one in named],
            "installed": {"sha256": installed.sha256, "version": installed.version},
            "approved": [{"sha256": one, "at": at_s} for one, at_s in approved.items()],
            "refused": [
                {"sha256": one, "last": what.last_s, "differences": changes[one]} for one, what in asked.items()
            ],
        }
        typer.echo(json.dumps(document))
        return

    def beside(sha256: str) -> str:
        return "" if policy is None or policy.names_app(sha256) else "; not in the policy, so runs of it are refused"

    for app in named:
        taken = app.sha256 == installed.sha256 or app.sha256 in approved
        more = "" if taken else f"; to take part in runs of it: artesian firm approve-app {app.sha256}"
        typer.echo(f"policy     {app.sha256}  artesian {app.version or '?'}{more}")
    typer.echo(f"installed  {installed.sha256}  artesian {installed.version}{beside(installed.sha256)}")
    for one, at_s in approved.items():
        typer.echo(f"approved   {one}  {moment(at_s)}{beside(one)}")
    for one, what in asked.items():
        typer.echo(f"refused    {one}  last asked for {moment(what.last_s)}{beside(one)}")
        lines = changes[one] if what.files else ["it is no bundle that can be read"]
        for line in lines[:_MOST_LINES]:
            typer.echo(f"           {line if line.isprintable() else ascii(line)}")
        if len(lines) > _MOST_LINES:
            typer.echo(f"           and {len(lines) - _MOST_LINES} more: --json")


def approve_app(
    sha256: Annotated[
        str, typer.Argument(metavar="HASH", help="The bundle's SHA-256, as artesian firm apps prints it.")
    ],
    home: Home,
    withdraw: Annotated[bool, typer.Option("--withdraw", help="Take the approval back.")] = False,
    as_json: Json = False,
) -> None:
    """Take part in runs of an app bundle other than the installed one. What runs is still the installed software."""
    from clients.flower.approvals import Approvals

    was = withdraw and Approvals(home).withdraw(sha256)
    if not withdraw:
        Approvals(home).approve(sha256)
    if as_json:
        typer.echo(json.dumps({"ok": True, "sha256": sha256, "approved": not withdraw}))
    elif withdraw:
        typer.echo(f"{sha256}: {'no more approved' if was else 'was not approved'}.")
    else:
        typer.echo(f"{sha256}: approved, from the next message on.")


def refusals(
    home: Home,
    most: Annotated[int, typer.Option("--most", min=1, max=10_000, help="How many to show.")] = 20,
    as_json: Json = False,
) -> None:
    """Show what this firm has refused, newest first, with what its operator may know of the cause."""
    from clients.refusal_log import RefusalLog
    from clients.sitting_out import moment

    log = RefusalLog(home)
    found = log.latest(most)
    if as_json:
        rows = [
            {"at": one.at_s, "asked": one.asked, "round": one.round, "code": one.code, "detail": one.detail}
            for one in found
        ]
        typer.echo(json.dumps({"refusals": rows, "by_code": log.by_code()}))
        return
    if not found:
        typer.echo("Nothing has been refused.")
    for one in found:
        typer.echo(f"{moment(one.at_s)}  {one.asked}  {one.round[:8] or '-'}  {one.code}: {one.detail}")
