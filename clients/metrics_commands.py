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
Port = Annotated[
    int | None,
    typer.Option(min=1, max=65535, show_default=False, help="On loopback; default: what firm.toml says, or 9465."),
]
Configured = Annotated[
    bool, typer.Option("--configured", help="Only at the port of firm.toml; leave with 2 if it names none.")
]
DEFAULT_PORT = 9465


def metrics(home: Home, port: Port = None, once: Once = False, configured: Configured = False) -> None:
    """Serve the firm's own metrics to Prometheus on loopback, until SIGTERM or SIGINT. Off unless somebody starts it.

    `artesian firm up` runs it where firm.toml names a port. They say what is left in the wallet: keep them on this
    machine.
    """
    from clients.firm_config import FirmConfigInvalid, metrics_port
    from clients.firm_metrics import firm_sources

    named = metrics_port(home)
    if configured and named is None:
        raise FirmConfigInvalid(f"{home / 'firm.toml'}: names no port for metrics any more; give `down` and `up`")
    export(firm_sources(home), port or named or DEFAULT_PORT, once)


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
