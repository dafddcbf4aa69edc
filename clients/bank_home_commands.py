"""`artesian bank status` and `artesian bank migrate`."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Annotated

import typer

from clients.migrate_commands import DryRun, Json

Home = Annotated[Path, typer.Option(envvar="ARTESIAN_HOME", help="The bank's home directory.")]


def status(
    home: Home,
    offline: Annotated[bool, typer.Option("--offline", help="Ask nobody; only the bank's own files.")] = False,
    as_json: Json = False,
) -> None:
    """Show where the bank stands: its services, certificate, mirror of the ledger, releases, and what was refused.

    The services are connected to, and the coordinator is asked which release it runs and what it waits for. Nothing
    is changed. Exits with 1 if the certificate does not hold, or the log has contradicted itself.
    """
    from clients.bank_live import bank_facts, lines_of
    from clients.coordinator_view import asked, shown
    from clients.doctor.probe import RealProbe

    facts = bank_facts(home, time.time, None if offline else RealProbe())
    facts["coordinator"] = None if offline else asked(home, time.time)
    if as_json:
        typer.echo(json.dumps({"ok": facts["problem"] is None, **facts}, ensure_ascii=False))
    else:
        for line in (*lines_of(facts), *shown(facts["coordinator"])):
            typer.echo(line)
    if facts["problem"] is not None:
        raise typer.Exit(1)


def migrate(home: Home, dry_run: DryRun = False, as_json: Json = False) -> None:
    """Bring the home's files forward to this release, and say what was done.

    What is changed is copied beside itself first, as NAME.before-VERSION. Cut short, it goes on when called again.
    """
    from clients.bank_migrations import BANK_MIGRATIONS
    from clients.migrate_commands import show_migrated

    show_migrated(home, BANK_MIGRATIONS, dry_run, as_json)
