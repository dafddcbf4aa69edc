"""The link that tests disturb: undisturbed it carries everything, and each fault does what it says."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator

import pytest
from faulty_network import HOST, FaultyLink

pytestmark = pytest.mark.integration


@pytest.fixture
def echo_port() -> Iterator[int]:
    """A server that sends back what it gets."""
    with socket.create_server((HOST, 0)) as server:

        def serve(one: socket.socket) -> None:
            with one:
                try:
                    while piece := one.recv(4096):
                        one.sendall(piece)
                    one.sendall(b"bye")
                except OSError:
                    return

        def accept() -> None:
            while True:
                try:
                    one, _ = server.accept()
                except OSError:
                    return
                threading.Thread(target=serve, args=(one,), daemon=True).start()

        threading.Thread(target=accept, daemon=True).start()
        yield server.getsockname()[1]
        server.shutdown(socket.SHUT_RDWR)


def _talk(one: socket.socket, words: bytes) -> bytes:
    one.sendall(words)
    return one.recv(4096)


def test_it_carries_what_is_said(echo_port: int) -> None:
    with FaultyLink(echo_port) as link, socket.create_connection((HOST, link.port), 5) as one:
        assert _talk(one, b"hello") == b"hello"


def test_a_cut_breaks_connections_and_takes_none_until_it_is_mended(echo_port: int) -> None:
    with FaultyLink(echo_port) as link:
        with socket.create_connection((HOST, link.port), 5) as one:
            assert _talk(one, b"before") == b"before"
            link.cut()
            with pytest.raises(ConnectionError):
                one.recv(10)
        # Whoever breaks it may be sooner than the caller learns that it was connected: either way the caller is told.
        with pytest.raises(ConnectionError), socket.create_connection((HOST, link.port), 5) as two:
            _talk(two, b"during")
        link.mend()
        with socket.create_connection((HOST, link.port), 5) as three:
            assert _talk(three, b"after") == b"after"


def test_a_delay_holds_back_and_loses_nothing(echo_port: int) -> None:
    with FaultyLink(echo_port) as link, socket.create_connection((HOST, link.port), 5) as one:
        link.delay(0.2)
        began_s = time.monotonic()
        assert _talk(one, b"slow") == b"slow"
        assert time.monotonic() - began_s >= 0.4


def test_half_closed_the_way_back_stays_open(echo_port: int) -> None:
    with FaultyLink(echo_port) as link, socket.create_connection((HOST, link.port), 5) as one:
        assert _talk(one, b"hello") == b"hello"
        link.half_close()
        assert one.recv(10) == b"bye"
