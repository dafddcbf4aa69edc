"""`artesian firm metrics`, and what it shares with `artesian coordinator metrics`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from clients.metrics import Source

Home = Annotated[Path, typer.Option(envvar="ARTESIAN_HOME", help="The firm's home directory.")]
Once = Annotated[bool, typer.Option("--once", help="Print what a scrape would get now, and leave.")]
Port = Annotated[int, typer.Option(min=1, max=65535, help="On loopback.")]


def metrics(home: Home, port: Port = 9465, once: Once = False) -> None:
    """Serve the firm's own metrics to Prometheus on loopback, until SIGTERM or SIGINT. Off unless somebody starts it.

    They say what is left in the wallet: keep them on this machine.
    """
    from clients.firm_metrics import firm_sources

    export(firm_sources(home), port, once)


def export(sources: Sequence[Source], port: int, once: bool) -> None:
    """Print the readings once, or serve them until SIGTERM or SIGINT."""
    import signal
    import threading

    from clients.metrics_exporter import LOOPBACK, exposition, serve

    if once:
        typer.echo(exposition(sources), nl=False)
        return
    until = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: until.set())
    typer.echo(f"metrics at http://{LOOPBACK}:{port}/metrics", err=True)
    serve(sources, port, until)
