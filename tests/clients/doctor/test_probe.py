"""The doctor's network, on sockets of this machine: TLS that is as it should be and that is not, a proxy."""

from __future__ import annotations

import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path

import pytest

from clients.certificates import AUTHORITY_CERTIFICATE, install_certificate, request_certificate
from clients.doctor import probe as probing
from clients.doctor.probe import ProxyRefused, RealProbe
from server.certificates import CertificateAuthority

DATE = "Sat, 01 Jan 2028 00:00:00 GMT"
PROBE = RealProbe()


@contextmanager
def serving(serve: Callable[[socket.socket], None]) -> Iterator[int]:
    """The port of a service that hands each connection to `serve`."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def accept() -> None:
            with suppress(OSError):
                while True:
                    connection, _ = listener.accept()
                    with connection, suppress(OSError):
                        serve(connection)

        thread = threading.Thread(target=accept, daemon=True)
        thread.start()
        yield listener.getsockname()[1]
        listener.shutdown(socket.SHUT_RDWR)
    thread.join(60)


@pytest.fixture(scope="module")
def certified(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home with a server's certificate for `localhost`."""
    now, home = datetime.now(UTC), tmp_path_factory.mktemp("probe")
    authority = CertificateAuthority.create(home / "ca", "grain", now)
    request = request_certificate(home, "coordinator")
    issued = authority.issue_server(request, "coordinator", now, ("localhost",))
    install_certificate(home, issued, authority.certificate_pem)
    return home


def answering(home: Path) -> Callable[[socket.socket], None]:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(home / "tls.crt", home / "tls.key")

    def serve(connection: socket.socket) -> None:
        with context.wrap_socket(connection, server_side=True) as secure:
            if secure.recv(1024):
                secure.sendall(f"HTTP/1.1 404 Not Found\r\nDate: {DATE}\r\n\r\nmore".encode())

    return serve


def test_tls_and_the_date(certified: Path) -> None:
    authority = certified / AUTHORITY_CERTIFICATE
    with serving(answering(certified)) as port:
        PROBE.reach("localhost", port, "")
        seen = PROBE.handshake("localhost", port, "", authority, http=True)
        assert seen.date_s == datetime(2028, 1, 1, tzinfo=UTC).timestamp()
        assert seen.until_s > datetime.now(UTC).timestamp()
        assert PROBE.handshake("localhost", port, "", authority, http=False).date_s is None
        with pytest.raises(ssl.SSLCertVerificationError) as wrong:
            PROBE.handshake("127.0.0.1", port, "", authority, http=False)
        assert wrong.value.verify_code in (62, 64)


def test_another_authority(certified: Path, tmp_path: Path) -> None:
    CertificateAuthority.create(tmp_path, "grain", datetime.now(UTC))
    with serving(answering(certified)) as port, pytest.raises(ssl.SSLCertVerificationError) as wrong:
        PROBE.handshake("localhost", port, "", tmp_path / AUTHORITY_CERTIFICATE, http=False)
    assert wrong.value.verify_code not in (9, 10, 62, 64)


def test_nobody_there_and_no_tls(certified: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as unused:
        port = unused.getsockname()[1]
    with pytest.raises(ConnectionRefusedError):
        PROBE.reach("127.0.0.1", port, "")
    with serving(lambda connection: connection.sendall(b"SSH-2.0-x\r\n")) as port, pytest.raises(ssl.SSLError):
        PROBE.handshake("localhost", port, "", certified / AUTHORITY_CERTIFICATE, http=False)
    assert PROBE.resolve("localhost")


@pytest.mark.parametrize("status", ["200 OK", "403 Forbidden"])
def test_a_tunnel_through_a_proxy(certified: Path, monkeypatch: pytest.MonkeyPatch, status: str) -> None:
    monkeypatch.setattr(probing, "is_loopback", lambda host: False)
    asked: list[bytes] = []
    answer = answering(certified)

    def proxy(connection: socket.socket) -> None:
        head = b""
        while not head.endswith(b"\r\n\r\n"):
            head += connection.recv(1)
        asked.append(head.split(b"\r\n")[0])
        connection.sendall(f"HTTP/1.1 {status}\r\nServer: p\r\n\r\n".encode())
        if status.startswith("200"):
            answer(connection)  # as the service behind it would

    with serving(proxy) as port:
        url = f"http://127.0.0.1:{port}"
        if status.startswith("200"):
            seen = PROBE.handshake("localhost", 8444, url, certified / AUTHORITY_CERTIFICATE, http=True)
            assert seen.date_s is not None
        else:
            with pytest.raises(ProxyRefused, match="403 Forbidden"):
                PROBE.reach("localhost", 8444, url)
    assert asked == [b"CONNECT localhost:8444 HTTP/1.1"]


def test_a_peer_that_sends_a_byte_now_and_then_holds_nobody(certified: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(probing, "TIMEOUT_S", 0.5)
    monkeypatch.setattr(probing, "MOST_S", 0.6)
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(certified / "tls.crt", certified / "tls.key")

    def drip(connection: socket.socket) -> None:
        for _ in range(100):
            connection.sendall(b"H")
            time.sleep(0.1)

    def after_tls(connection: socket.socket) -> None:
        with context.wrap_socket(connection, server_side=True) as secure:
            drip(secure)

    for serve in (after_tls, drip):
        with serving(serve) as port:
            began_s = time.monotonic()
            with pytest.raises(OSError):  # noqa: PT011  # cut off in either way
                PROBE.handshake("localhost", port, "", certified / "ca.crt", http=True)
            assert time.monotonic() - began_s < 5
