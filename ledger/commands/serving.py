"""`artesian ledger serve`: the one process that sequences a ledger and answers its members."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ledger.commands.answering import AsJson, answer, answering, tell
from ledger.commands.places import OwnHome, ledger_of, reading
from ledger.commands.policies import keep_policies, say_not_kept
from ledger.commands.replaced import require_not_replaced
from ledger.errors import LedgerError

if TYPE_CHECKING:
    from ledger.electorate import Membership


def serve(
    home: OwnHome,
    address: Annotated[str, typer.Option("--address", help="HOST:PORT to listen on.")] = "127.0.0.1:8445",
    key: Annotated[Path | None, typer.Option("--tls-key", help="TLS key (PEM); default: the home's tls.key.")] = None,
    certificate: Annotated[
        Path | None, typer.Option("--tls-certificate", help="TLS certificate (PEM); default: the home's tls.crt.")
    ] = None,
    client_ca: Annotated[
        Path | None,
        typer.Option(
            "--client-ca",
            help="Let in only clients with a certificate by this authority; default: the home's ca.crt, if the home "
            "has a revoked.json. What that lists is refused.",
        ),
    ] = None,
    inclusion_s: Annotated[int, typer.Option(min=1, help="Promise a place in the tree within so many seconds.")] = 60,
    checkpoint_s: Annotated[float, typer.Option(min=0, help="Least seconds between checkpoints.")] = 0.0,
    at_least: Annotated[
        int, typer.Option(min=0, help="Refuse to start with fewer entries: what some witness has cosigned.")
    ] = 0,
    copy: Annotated[
        list[str] | None,
        typer.Option(help="A member's exported folder or home, asked whether the log was handed over; repeatable."),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Sequence the ledger and serve it until SIGTERM or SIGINT. One process does, at one place.

    It refuses, with exit code 1, a ledger that the members have handed over by what a copy shows, or the home's mirror.
    """
    from ledger.homes import NEXT_LOG_KEY, log_key_of
    from ledger.keys import SigningKey
    from ledger.service.limits import Settings
    from ledger.service.peers import peers_of_home
    from ledger.service.server import serve as serve_log
    from ledger.service.tls import ServerTls, host_and_port

    def announce(bound: str) -> None:
        if as_json:
            answer({"ok": True, "address": bound}, [], as_json)
        tell(f"serving the ledger of {home} on {bound}")

    with answering(as_json):
        host, port = host_and_port(address)
        key, certificate = key or home / "tls.key", certificate or home / "tls.crt"
        peers = peers_of_home(home)
        if client_ca is None and peers is not None:
            client_ca = home / "ca.crt"
        secured = key.is_file() or certificate.is_file() or client_ca is not None
        coming, location = home / NEXT_LOG_KEY, ledger_of(home)
        require_not_replaced(home, copy or [])
        serve_log(
            location,
            SigningKey.load(log_key_of(home)),
            host=host,
            port=port,
            tls=ServerTls.from_files(key, certificate, client_ca) if secured else None,
            settings=Settings(inclusion_s=inclusion_s, checkpoint_s=checkpoint_s),
            next_key=SigningKey.load(coming) if coming.is_file() else None,
            at_least=at_least,
            announce=announce,
            peers=peers,
            on_settled=partial(_keep_policies, home, location),
        )


def _keep_policies(home: Path, location: str, settled: Membership) -> None:
    """Keep the policies of the members that are final; the service goes on when that fails, and says so."""
    try:
        with reading(location) as store:
            meta = store.meta()
            keep_policies(home, settled, meta["origin"], meta["cid"], store.entries)
    except LedgerError as error:
        say_not_kept(home, error)
