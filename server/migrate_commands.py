"""`artesian coordinator migrate`: bring the home's files forward to this release."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from clients.migrate_commands import DryRun, Json

Home = Annotated[Path, typer.Option(envvar="ARTESIAN_HOME", help="The coordinator's home directory.")]


def migrate(home: Home, dry_run: DryRun = False, as_json: Json = False) -> None:
    """Bring the home's files forward to this release, and say what was done; `up` does it by itself first.

    What is changed is copied beside itself first, as NAME.before-VERSION. Cut short, it goes on when called again.
    """
    from clients.migrate_commands import show_migrated
    from server.migration import COORDINATOR_MIGRATIONS

    show_migrated(home, COORDINATOR_MIGRATIONS, dry_run, as_json)
