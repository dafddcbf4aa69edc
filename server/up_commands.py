"""`artesian coordinator up`, `down`, `processes`: the coordinator's processes, supervised."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from clients.supervision.commands import Detach, Json, LogFormat, WhenReady, Within

Home = Annotated[Path, typer.Option(envvar="ARTESIAN_HOME", help="The coordinator's home directory.")]


def up(home: Home, detach: Detach = False, as_json: WhenReady = False, log_format: LogFormat = "text") -> None:
    r"""Run the coordinator's processes until SIGTERM or SIGINT: join desk, ledger, SuperLink, runner, scores.

    Before the consortium is founded only the join desk runs; the rest starts by itself when the founding is there. What
    dies is started again. One log on standard error, and a file for each in `logs/`. Ports are in \[network] of
    `coordinator.toml`; `dashboard_port` is reserved, and nothing listens there yet.
    """
    from clients.migrate_commands import bring_forward
    from clients.supervision.commands import bring_up, bring_up_detached
    from server.coordinator_programs import coordinator_programs
    from server.migration import COORDINATOR_MIGRATIONS

    bring_forward(home, COORDINATOR_MIGRATIONS)
    if detach:
        bring_up_detached(home, "coordinator", as_json)
    else:
        bring_up(home, coordinator_programs(home), as_json, log_format)


def down(home: Home, within: Within = 60.0, as_json: Json = False) -> None:
    """Stop what `up` runs, and wait until it has ended."""
    from clients.supervision.commands import take_down

    take_down(home, within, as_json)


def processes(home: Home, as_json: Json = False) -> None:
    """Show how the coordinator's processes stand; leaves with 1 unless they are ready."""
    from clients.supervision.commands import show_processes

    show_processes(home, as_json)
