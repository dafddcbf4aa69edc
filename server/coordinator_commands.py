"""`artesian coordinator`: what the operator of the coordinator does."""

import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from server.scoring.desk import Desk
    from server.scoring.service import Tls

app = typer.Typer(no_args_is_help=True, epilog="Example: artesian coordinator scores --home coordinator")

LEDGER_FILE = "ledger.db"
SIGNING_KEY = "signing.pem"


@app.callback()
def main() -> None:
    """Answer banks' score questions."""


@app.command(epilog="Example: artesian coordinator scores --home coordinator --host 0.0.0.0 --port 8443")
def scores(
    home: Annotated[Path, typer.Option(envvar="ARTESIAN_HOME", help="The coordinator's home directory.")],
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="Port to listen on; 0 takes a free one.", min=0, max=65535)] = 8443,
    rate_per_s: Annotated[float, typer.Option(help="Questions a second for each bank.", min=0.001)] = 500.0,
    burst: Annotated[int, typer.Option(help="Questions that a rested bank may ask at once.", min=1)] = 5000,
) -> None:
    """Answer banks' score questions until SIGTERM or SIGINT."""
    import asyncio

    from server.scoring.service import Tls

    with open_desk(home, rate_per_s, burst) as desk:
        asyncio.run(_serve(desk, Tls.from_home(home), host, port))


@contextmanager
def open_desk(home: Path, rate_per_s: float, burst: int) -> "Iterator[Desk]":
    """Put together what answering needs from the coordinator's home: key, ledger, certificates, releases.

    The ledger is open for writing meanwhile, so this process is its only sequencer.

    Raises:
        LedgerError, ServerError: a part is missing, damaged or in use.
    """
    from ledger.keys import SigningKey
    from ledger.log import Log
    from ledger.rules import COORDINATOR
    from server.releases import load_scorers
    from server.scoring.desk import Desk
    from server.scoring.on_ledger import QueryStatements, enrolled_in
    from server.scoring.quota import Quota
    from server.scoring.recording import GroupRecorder

    key = SigningKey.load(home / SIGNING_KEY)
    with Log.open(home / LEDGER_FILE, key) as log:
        write = QueryStatements(log.append, cid=log.cid, issuer=COORDINATOR, key=key, now_s=time.time)
        yield Desk(
            cid=log.cid,
            issuer=COORDINATOR,
            key=key,
            scorers=load_scorers(home),
            is_enrolled=enrolled_in(lambda: log.state),
            quota=Quota(rate_per_s, burst, time.monotonic),
            record=GroupRecorder(write),
            now_ms=lambda: time.time_ns() // 1_000_000,
        )


async def _serve(desk: "Desk", tls: "Tls", host: str, port: int) -> None:
    import asyncio

    from server.scoring.service import ScoreServer

    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    server = ScoreServer(desk, tls, host, port)
    await server.start()
    released = ", ".join(sorted(desk.scorers)) or "nothing yet"
    typer.echo(f"answering on {host}:{server.port} for {desk.cid}: {released}", err=True)
    await stop.wait()
    await server.stop()
