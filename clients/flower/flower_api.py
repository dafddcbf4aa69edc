"""Flower's HTTP API as small processes speak it: protobuf there and back, without importing Flower.

Any import of Flower brings all of it along, with numpy, gRPC and FastAPI: some 60 MiB in every process. Who only asks
for tasks, nodes and runs needs a few messages (flower_api.proto). The headers are those of Flower 1.41
(`flwr.supercore.protobuf.client`, `flwr.supercore.runtime_version_compatibility`).
"""

from __future__ import annotations

import http.client
import json
import select
import socket
import ssl
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Protocol, TypeVar

from google.protobuf.message import DecodeError, Message

from clients.errors import ClientError
from clients.flower.own_socket import reachable, require_own

_MEDIA_TYPE = "application/protobuf"

Answer = TypeVar("Answer", bound=Message)


class FlowerUnreachable(ClientError):
    """Nothing that speaks Flower's API answers; says what happened instead."""

    exit_code = 3


class FlowerRefused(ClientError):
    """It answered with an error.

    Attributes:
        status: of HTTP.
        code: Flower's number of the error; None where the answer names none.
        said: what Flower tells of it; empty where it tells nothing.
    """

    exit_code = 1

    def __init__(self, status: int, body: bytes) -> None:
        self.status = status
        self.code, self.said = _told(body)
        super().__init__(f"HTTP {status}{f': {self.said}' if self.said else ''}")


class Connect(Protocol):
    """Makes a connection, which is opened when it is first used."""

    def __call__(self) -> http.client.HTTPConnection:
        """A new one.

        Raises:
            OSError: what it needs cannot be read.
        """
        ...


class FlowerApi:
    """One peer, asked over one connection that is kept.

    Args:
        connect: see `over_socket` and `over_tls`.
        component: which of Flower's parts asks.
        headers: of every request.
    """

    def __init__(self, connect: Connect, component: str, headers: Mapping[str, str] | None = None) -> None:
        self._connect = connect
        self._headers = {
            "content-type": _MEDIA_TYPE,
            "accept": _MEDIA_TYPE,
            "flwr-package-name": "flwr",
            "flwr-package-version": version("flwr"),
            "flwr-component-name": component,
            **(headers or {}),
        }
        self._connection: http.client.HTTPConnection | None = None

    def ask(self, path: str, body: bytes, answer: type[Answer], headers: Mapping[str, str] | None = None) -> Answer:
        """Send a message, encoded, and read what comes back.

        Raises:
            FlowerUnreachable: nobody answers, or not in protobuf.
            FlowerRefused: the answer is an error.
        """
        try:
            connection = self._usable()
            connection.request("POST", path, body, {**self._headers, **(headers or {})})
            response = connection.getresponse()
            content = response.read()
        except (OSError, http.client.HTTPException) as error:
            self.close()
            raise FlowerUnreachable(str(error) or type(error).__name__) from None
        if response.status != http.client.OK:
            raise FlowerRefused(response.status, content)
        try:
            return answer.FromString(content)
        except DecodeError:
            raise FlowerUnreachable("what answers does not speak protobuf") from None

    def close(self) -> None:
        """Give the connection back; the next question opens another."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _usable(self) -> http.client.HTTPConnection:
        """The connection, or another one where the peer has ended it since."""
        if self._connection is not None and _has_ended(self._connection):
            self.close()
        if self._connection is None:
            self._connection = self._connect()
        return self._connection


def over_tls(address: str, authority: Path, timeout_s: float) -> Connect:
    """To HOST:PORT, whose certificate the CA in a PEM file has signed. No proxy is asked."""

    def connect() -> http.client.HTTPConnection:
        context = ssl.create_default_context(cafile=str(authority))
        return http.client.HTTPSConnection(address, timeout=timeout_s, context=context)

    return connect


def over_socket(path: Path, timeout_s: float) -> Connect:
    """To a Unix socket; its owner is whoever can write in its folder.

    To connect raises:
        OSError: the folder is another user's, or others can enter it.
    """

    def connect() -> http.client.HTTPConnection:
        require_own(path.parent)
        return _SocketConnection(reachable(path), timeout_s)

    return connect


class _SocketConnection(http.client.HTTPConnection):
    def __init__(self, path: str, timeout_s: float) -> None:
        super().__init__("supernode", timeout=timeout_s)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self._path)


def _has_ended(connection: http.client.HTTPConnection) -> bool:
    """Whether there is something to read before anything was asked: the end."""
    if connection.sock is None:
        return False
    waiting = select.poll()
    waiting.register(connection.sock, select.POLLIN)
    return bool(waiting.poll(0))


def _told(body: bytes) -> tuple[int | None, str]:
    """Flower's code and its words, as far as an answer has them."""
    try:
        facts = json.loads(body)
        code, said = facts["code"], facts.get("extra") or facts["detail"]
    except (ValueError, KeyError, TypeError, AttributeError):
        return None, ""
    return (code, str(said)) if isinstance(code, int) else (None, "")
