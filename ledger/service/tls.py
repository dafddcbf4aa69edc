"""TLS of the service and of its clients, from PEM files; without TLS there is only this machine itself."""

import ipaddress
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import grpc

from ledger.errors import LedgerError


class BadTls(LedgerError):
    """A certificate, key or address cannot be used."""

    exit_code = 2


@dataclass(frozen=True)
class ServerTls:
    """What the service shows, and whom it lets in, in PEM.

    Attributes:
        key: its private key.
        certificate: its certificate, with those between it and its authority.
        client_authority: when given, only clients with a certificate by this authority get a connection.
    """

    key: bytes
    certificate: bytes
    client_authority: bytes | None = None

    @classmethod
    def from_files(
        cls,
        key: str | os.PathLike[str],
        certificate: str | os.PathLike[str],
        client_authority: str | os.PathLike[str] | None = None,
    ) -> Self:
        """Read the files.

        Raises:
            BadTls: one of them cannot be read.
        """
        authority = None if client_authority is None else _read(client_authority)
        return cls(_read(key), _read(certificate), authority)

    def credentials(self) -> grpc.ServerCredentials:
        """For gRPC."""
        pairs = [(self.key, self.certificate)]
        authority = self.client_authority
        return grpc.ssl_server_credentials(pairs, authority, require_client_auth=authority is not None)


@dataclass(frozen=True)
class ClientTls:
    """Which services a client trusts, and what it shows them, in PEM.

    Attributes:
        authority: signs the service's certificate.
        key: the client's private key, where services ask for a client certificate.
        certificate: that certificate.
    """

    authority: bytes
    key: bytes | None = None
    certificate: bytes | None = None

    @classmethod
    def from_files(
        cls,
        authority: str | os.PathLike[str],
        key: str | os.PathLike[str] | None = None,
        certificate: str | os.PathLike[str] | None = None,
    ) -> Self:
        """Read the files.

        Raises:
            BadTls: one of them cannot be read, or one of key and certificate is missing.
        """
        if (key is None) != (certificate is None):
            raise BadTls("a client's key and certificate go together; give both, or none")
        own = [None if file is None else _read(file) for file in (key, certificate)]
        return cls(_read(authority), *own)

    def credentials(self) -> grpc.ChannelCredentials:
        """For gRPC."""
        return grpc.ssl_channel_credentials(self.authority, self.key, self.certificate)


def host_and_port(address: str) -> tuple[str, int]:
    """Split HOST:PORT; an IPv6 address stands in brackets.

    Raises:
        BadTls: not of that form.
    """
    host, _, port = address.rpartition(":")
    bracketed = host.startswith("[") and host.endswith("]")
    known = port.isascii() and port.isdecimal() and len(port) <= 5 and int(port) <= 65535
    if not host.strip("[]") or (":" in host and not bracketed) or not known:
        raise BadTls(f"address {address!r}: write it as HOST:PORT")
    return host.strip("[]"), int(port)


def is_loopback(host: str) -> bool:
    """Whether `host` can only be this machine itself."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def require_tls_beyond_loopback(host: str, *, secured: bool) -> None:
    """Raise `BadTls` when others could listen to what goes to or from `host`."""
    if not secured and not is_loopback(host):
        raise BadTls(f"{host} is not this machine itself; give a TLS key and certificate (a client: the authority's)")


def _read(path: str | os.PathLike[str]) -> bytes:
    try:
        return Path(path).read_bytes()
    except OSError as error:
        raise BadTls(f"{os.fspath(path)}: {error.strerror}; have a certificate issued first") from None
