"""`artesian coordinator metrics`: what Prometheus reads, on loopback."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from clients.metrics_commands import Once

Home = Annotated[Path, typer.Option(envvar="ARTESIAN_HOME", help="The coordinator's home directory.")]


def metrics(home: Home, once: Once = False) -> None:
    r"""Serve metrics to Prometheus on loopback, at `metrics_port` of \[network], until SIGTERM or SIGINT.

    `up` runs it. What cannot be read at a scrape is left out, and stands in artesian_source_up with 0.
    """
    from clients.metrics_commands import export
    from server.metrics import coordinator_sources
    from server.network import load_network

    export(coordinator_sources(home), load_network(home).metrics_port, once)
