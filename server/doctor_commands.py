"""`artesian coordinator doctor`: what is wrong here, and how to mend it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

Home = Annotated[Path, typer.Option(envvar="ARTESIAN_HOME", help="The coordinator's home directory.")]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON document.")]


def doctor(home: Home, as_json: Json = False) -> None:
    """Check the coordinator: files, disk, certificates, policy, ports, processes, services; and say how to mend it.

    Changes nothing. Exits with 1 if something has to be mended, with 3 if only something cannot be reached.
    """
    import time

    from clients.doctor.commands import show
    from clients.doctor.files import require_home_of
    from clients.doctor.probe import RealProbe
    from server.doctor import diagnosed

    require_home_of(home, "coordinator")
    show(diagnosed(home, RealProbe(), time.time, _config_on_ledger), as_json)


def _config_on_ledger(home: Path) -> bytes | None:
    """What the ledger's policy names, read from the ledger's database beside whoever writes it."""
    from ledger.commands.places import standing

    return standing(home).state.terms.config
