"""`artesian firm migrate`, and what it shares with `artesian coordinator migrate` and with `up`."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from clients.migration import Migration

Home = Annotated[Path, typer.Option(envvar="ARTESIAN_HOME", help="The firm's home directory.")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Say what would be done, and change nothing.")]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON document.")]


def migrate(home: Home, dry_run: DryRun = False, as_json: Json = False) -> None:
    """Bring the home's files forward to this release, and say what was done; `up` does it by itself first.

    What is changed is copied beside itself first, as NAME.before-VERSION. Cut short, it goes on when called again.
    """
    from clients.firm_migrations import FIRM_MIGRATIONS

    show_migrated(home, FIRM_MIGRATIONS, dry_run, as_json)


def bring_forward(home: Path, chain: Sequence[Migration]) -> list[Migration]:
    """Migrate a home whose processes do not run, and say so on standard error.

    Raises:
        HomeUnreadable, HomeOfLaterRelease: it is not touched.
        AlreadyUp: there is something to do, and the home's processes run.
    """
    from clients.migration import migrate as carry_out
    from clients.migration import pending
    from clients.supervision.errors import AlreadyUp
    from clients.supervision.status import read_status

    if not pending(home, chain):
        return []
    status = read_status(home)
    if status is not None and status.alive:
        raise AlreadyUp(f"{home}: its processes run; stop them with `down`, then bring its files forward")
    done = carry_out(home, chain)
    for one in done:
        typer.echo(f"{home}: from version {one.start} to {one.end}: {one.what}", err=True)
    return done


def show_migrated(home: Path, chain: Sequence[Migration], dry_run: bool, as_json: bool) -> None:
    """Migrate a home, or say what that would do, as one line a migration or as one JSON document."""
    from clients.migration import pending, state_version

    before = state_version(home)
    steps = pending(home, chain) if dry_run else bring_forward(home, chain)
    if as_json:
        done = [{"from": one.start, "to": one.end, "what": [act.what for act in one.acts]} for one in steps]
        typer.echo(json.dumps({"ok": True, "dry_run": dry_run, "was": before, "migrations": done}))
        return
    if not steps:
        typer.echo(f"{home}: its files are of version {before}, which is this release's; nothing to do")
    for one in steps if dry_run else ():
        typer.echo(f"{home}: would go from version {one.start} to {one.end}: {one.what}")
