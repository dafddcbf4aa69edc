"""Flower's own client of a SuperNode's Runtime API, by a Unix socket: a message's app gets and gives its data by it."""

from __future__ import annotations

import ssl
from collections.abc import Sequence
from pathlib import Path

import httpx
from flwr.supercore.protobuf.client import ProtobufClientInterceptor
from flwr.supercore.retry import RetryInvoker
from flwr.supercore.runtime import RuntimeHttpClient

from clients.flower.own_socket import reachable, require_own

_TIMEOUT_S = 30.0  # as in Flower


def socket_client(
    path: Path, interceptors: Sequence[ProtobufClientInterceptor], retry: RetryInvoker | None
) -> RuntimeHttpClient:
    """A client of a Unix socket; its owner is whoever can write in its folder.

    Raises:
        OSError: the folder is another user's, or others can enter it.
    """
    require_own(path.parent)
    nobody = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)  # no TLS here; to load whom to trust takes longer than to answer
    return _Client(interceptors, httpx.HTTPTransport(uds=reachable(path), verify=nobody), retry)


class _Client(RuntimeHttpClient):
    """Flower's client, which takes no proxy: the other side is on this machine."""

    def __init__(
        self,
        interceptors: Sequence[ProtobufClientInterceptor],
        transport: httpx.HTTPTransport,
        retry: RetryInvoker | None,
    ) -> None:
        super().__init__("http://supernode", interceptors=interceptors, verify=False, retry_invoker=retry)
        self._client.close()
        self._client = httpx.Client(transport=transport, timeout=_TIMEOUT_S, trust_env=False)
