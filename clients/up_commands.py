"""`artesian firm up`, `down`, `processes`: the firm's processes, supervised."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from clients.supervision.commands import Detach, Json, LogFormat, WhenReady, Within

Home = Annotated[Path, typer.Option(envvar="ARTESIAN_HOME", help="The firm's home directory.")]


def up(home: Home, detach: Detach = False, as_json: WhenReady = False, log_format: LogFormat = "text") -> None:
    """Run the firm's processes until SIGTERM or SIGINT: witness, SuperNode, its executor, certificate renewal.

    What dies is started again. One log on standard error, and a file for each in `logs/`. Nothing listens for others:
    a firm needs only connections that it opens itself. `firm.toml` may be edited meanwhile: what reads it starts anew.
    """
    from clients.certificates import finish_coming
    from clients.firm_migrations import FIRM_MIGRATIONS
    from clients.firm_programs import firm_programs
    from clients.migrate_commands import bring_forward
    from clients.supervision.commands import bring_up, bring_up_detached

    bring_forward(home, FIRM_MIGRATIONS)
    finish_coming(home)
    if detach:
        bring_up_detached(home, "firm", as_json)
    else:
        bring_up(home, firm_programs(home), as_json, log_format)


def down(home: Home, within: Within = 60.0, as_json: Json = False) -> None:
    """Stop what `up` runs, and wait until it has ended."""
    from clients.supervision.commands import take_down

    take_down(home, within, as_json)


def processes(home: Home, as_json: Json = False) -> None:
    """Show how the firm's processes stand; leaves with 1 unless they are ready."""
    from clients.supervision.commands import show_processes

    show_processes(home, as_json)
