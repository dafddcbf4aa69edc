"""A federation whose ledger another thread serves over TLS, with live witnesses at its firms, in this process."""

from __future__ import annotations

import threading
import tomllib
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import tomli_w

from clients.connection import CONNECTION
from clients.firm import Firm
from experiments.federation import Federation
from ledger.keys import SigningKey
from ledger.log import Log
from ledger.service.client import LedgerClient
from ledger.service.following import keep_witnessing
from ledger.service.limits import Settings
from ledger.service.server import serving
from ledger.service.tls import ClientTls, ServerTls
from ledger.service.tokens import Identity
from server.coordinator import CONFIG_FILE, LEDGER_FILE, SIGNING_KEY

SOON_S = 60.0


class Served:
    """A running service and the firms' witnesses.

    Attributes:
        address: HOST:PORT.
    """

    def __init__(self, built: Federation, address: str, origin: str) -> None:
        self.address = address
        self._built, self._origin = built, origin
        self._stops: dict[str, tuple[threading.Event, threading.Thread, LedgerClient]] = {}
        self.errors: list[Exception] = []

    def client(self, member: str) -> LedgerClient:
        """One that calls as a member."""
        home = self._built.member(member)
        tls = ClientTls.from_files(self._built.coordinator / "ca.crt")
        return LedgerClient(
            self.address, tls=tls, identity=Identity(member, SigningKey.load(home / "signing.pem"), self._origin)
        )

    @property
    def witnessing(self) -> set[str]:
        """The members whose witnesses run."""
        return set(self._stops)

    def start(self, member: str) -> None:
        """Its witness, as `artesian firm up` has it: it shares the mirror with the firm's ClientApp."""
        (self._built.member(member) / CONNECTION).touch()
        stop, client = threading.Event(), self.client(member)
        thread = threading.Thread(target=self._witness, args=(member, client, stop), name=f"witness of {member}")
        self._stops[member] = stop, thread, client
        thread.start()

    def stop(self, *members: str) -> None:
        """End the witnesses of these members; of all without."""
        for member in members or tuple(self._stops):
            stop, thread, client = self._stops.pop(member)
            stop.set()
            client.close()
            thread.join(SOON_S)

    def _witness(self, member: str, client: LedgerClient, stop: threading.Event) -> None:
        try:
            firm = Firm(self._built.member(member))
            keep_witnessing(firm.witness, client, stop=stop)
            firm.close()
        except Exception as error:
            self.errors.append(error)


def serve_from(home: Path, address: str, **table: Any) -> None:
    """Have the coordinator's processes use the ledger that is served at `address`."""
    path = home / CONFIG_FILE
    document = tomllib.loads(path.read_text(encoding="utf-8"))
    document["ledger_service"] = {"address": address, "final_s": 20.0, "reach_s": 20.0, **table}
    path.write_text(tomli_w.dumps(document), encoding="utf-8")


@contextmanager
def witnessed(built: Federation, address: str, origin: str, members: Sequence[str], **table: Any) -> Iterator[Served]:
    """Live witnesses of a ledger that is served at `address`, which the coordinator's processes use."""
    world = Served(built, address, origin)
    serve_from(built.coordinator, address, **table)
    try:
        for member in members:
            world.start(member)
        yield world
    finally:
        world.stop()
    assert not world.errors


@contextmanager
def served(built: Federation, witnesses: Sequence[str] | None = None, **table: Any) -> Iterator[Served]:
    """Serve the federation's ledger, with the live witnesses of some members, of all firms by default."""
    home = built.coordinator
    key = SigningKey.load(home / SIGNING_KEY)
    tls = ServerTls.from_files(home / "tls.key", home / "tls.crt")
    log = Log.open(home / LEDGER_FILE, key)
    with ExitStack() as stack:
        server = stack.enter_context(serving(log, key, tls=tls, settings=Settings(heartbeat_s=0.2)))
        members = built.firms if witnesses is None else witnesses
        yield stack.enter_context(witnessed(built, server.address, log.origin, members, **table))
