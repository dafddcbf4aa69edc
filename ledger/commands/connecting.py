"""How a command reaches the ledger's service: address, certificates, and in whose name it asks."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ledger.commands.answering import UsageError

if TYPE_CHECKING:
    from ledger.keys import SigningKey
    from ledger.service.client import LedgerClient
    from ledger.service.tls import ClientTls

Address = Annotated[str, typer.Option("--address", help="The ledger's service, HOST:PORT; default: the home's.")]
Authority = Annotated[
    Path | None,
    typer.Option("--ca", help="Certificate (PEM) of the authority that vouches for the service; default: the home's."),
]

_CA, _KEY, _CERTIFICATE = "ca.crt", "tls.key", "tls.crt"


def address_of(home: Path | None, address: str) -> str:
    """The address that was given or that the home remembers; empty if there is none."""
    from ledger.homes import Settings

    return address or (Settings.load(home).address if home is not None else "")


@contextmanager
def connected(
    address: str, home: Path | None, ca: Path | None, speaker: tuple[str, SigningKey] | None = None, origin: str = ""
) -> Iterator[LedgerClient]:
    """A client of the service at `address`.

    Args:
        speaker: in whose name calls are made, and its key; without one, only what is public is seen.
        origin: the log's name, which the calls of a speaker are bound to.

    Raises:
        UsageError: there is no address.
    """
    from ledger.service.client import LedgerClient
    from ledger.service.tokens import Identity

    if not address:
        raise UsageError("give --address with HOST:PORT of the ledger's service")
    identity = None
    if speaker is not None:
        identity = Identity(speaker[0], speaker[1], origin or _origin(address, home, ca))
    client = LedgerClient(address, tls=_tls(home, ca), identity=identity)
    try:
        yield client
    finally:
        client.close()


def _origin(address: str, home: Path | None, ca: Path | None) -> str:
    """The log's name as the home remembers it, or else as the service says."""
    from ledger.checkpoint import SignedCheckpoint
    from ledger.homes import Settings

    known = Settings.load(home).origin if home is not None else ""
    if known:
        return known
    with connected(address, home, ca) as stranger:
        return SignedCheckpoint.parse(stranger.checkpoint()).checkpoint.origin


def _tls(home: Path | None, ca: Path | None) -> ClientTls | None:
    from ledger.service.tls import ClientTls

    if ca is None and home is not None and (home / _CA).is_file():
        ca = home / _CA
    if ca is None:
        return None
    if home is not None and (home / _KEY).is_file() and (home / _CERTIFICATE).is_file():
        return ClientTls.from_files(ca, home / _KEY, home / _CERTIFICATE)
    return ClientTls.from_files(ca)
