"""How the doctor reaches the network: names, ports, an HTTP proxy, TLS. It sends nothing of the home."""

from __future__ import annotations

import socket
import ssl
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import Protocol
from urllib.parse import urlsplit

from ledger.service.tls import is_loopback

TIMEOUT_S = 5.0
MOST_S = 15.0
_MOST_HEAD = 16_384


class ProxyRefused(OSError):
    """A proxy that does not open a tunnel; the message is its status line."""


@dataclass(frozen=True)
class Seen:
    """What a TLS handshake has shown.

    Attributes:
        until_s: end of the service's certificate, seconds since 1970.
        date_s: the service's clock, seconds since 1970, where it says it (HTTP's `Date`).
    """

    until_s: float
    date_s: float | None = None


class Probe(Protocol):
    """The network."""

    def resolve(self, host: str) -> list[str]:
        """Addresses of a name. Raises OSError."""
        ...

    def reach(self, host: str, port: int, proxy: str) -> None:
        """Connect and hang up, through the proxy where there is one. Raises OSError, ProxyRefused."""
        ...

    def handshake(self, host: str, port: int, proxy: str, authority: Path, *, http: bool) -> Seen:
        """Speak TLS, trusting this CA alone; with `http` ask for the date. Raises OSError, ssl.SSLError."""
        ...


class RealProbe:
    """The network as it is."""

    def resolve(self, host: str) -> list[str]:
        """See `Probe`."""
        return sorted({str(found[4][0]) for found in socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)})

    def reach(self, host: str, port: int, proxy: str) -> None:
        """See `Probe`."""
        with _connected(host, port, proxy):
            pass

    def handshake(self, host: str, port: int, proxy: str, authority: Path, *, http: bool) -> Seen:
        """See `Probe`."""
        context = ssl.create_default_context(cafile=str(authority))
        context.set_alpn_protocols(["http/1.1"] if http else ["h2"])
        with _connected(host, port, proxy) as plain, context.wrap_socket(plain, server_hostname=host) as secure:
            until = ssl.cert_time_to_seconds(str((secure.getpeercert() or {})["notAfter"]))
            return Seen(until, _date(secure, host) if http else None)


@contextmanager
def _cut_off(connection: socket.socket) -> Iterator[None]:
    """Hang up after `MOST_S`: a peer that sends a byte now and then, in its handshake too, holds nobody for hours."""

    def hang_up() -> None:
        with suppress(OSError):
            connection.shutdown(socket.SHUT_RDWR)

    timer = threading.Timer(MOST_S, hang_up)
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()


@contextmanager
def _connected(host: str, port: int, proxy: str) -> Iterator[socket.socket]:
    through = urlsplit(proxy) if proxy and not is_loopback(host) else None
    place = (host, port) if through is None else (str(through.hostname), int(through.port or 0))
    with socket.create_connection(place, TIMEOUT_S) as connection, _cut_off(connection):
        if through is not None:
            asked = f"CONNECT {host}:{port} HTTP/1.1\r\nHost: {host}:{port}\r\n\r\n"
            connection.sendall(asked.encode())
            status = _head(connection).split("\r\n")[0]
            if status.split(" ")[1:2] != ["200"]:
                raise ProxyRefused(status or "it hung up")
        yield connection


def _date(connection: ssl.SSLSocket, host: str) -> float | None:
    connection.sendall(f"GET / HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n".encode())
    for line in _head(connection).split("\r\n"):
        name, _, value = line.partition(":")
        if name.lower() == "date":
            return parsedate_to_datetime(value.strip()).timestamp()
    return None


def _head(connection: socket.socket) -> str:
    """An HTTP answer up to its first empty line, read byte by byte, so that nothing after it is taken.

    Raises:
        TimeoutError: it is not there within `TIMEOUT_S`, however many of its bytes are.
    """
    head, end_s = b"", time.monotonic() + TIMEOUT_S
    while not head.endswith(b"\r\n\r\n") and len(head) < _MOST_HEAD:
        left_s = end_s - time.monotonic()
        if left_s <= 0:
            raise TimeoutError(f"no whole answer within {TIMEOUT_S:g} s")
        connection.settimeout(left_s)
        byte = connection.recv(1)
        if not byte:
            break
        head += byte
    return head.decode("latin-1")
