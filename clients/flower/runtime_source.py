"""Tasks from a SuperNode or SuperLink: Flower's Runtime API, asked over one connection."""

from __future__ import annotations

import logging
import ssl
from collections.abc import Callable
from pathlib import Path

import httpx
from flwr.common.constant import SubStatus
from flwr.proto.runtime_pb2 import AcquireTaskRequest, PushTaskOutputRequest
from flwr.supercore.interceptors import (
    RuntimeTokenHttpInterceptor,
    RuntimeVersionHttpInterceptor,
    SuperExecAuthHttpInterceptor,
)
from flwr.supercore.protobuf.client import ProtobufClientInterceptor
from flwr.supercore.runtime import RuntimeHttpClient

from clients.flower.forking import ExecutorUnreachable, Task

_TIMEOUT_S = 10.0
_ACQUIRE = "/flwr.proto.Runtime/AcquireTask"

log = logging.getLogger("artesian.executor")


class RuntimeSource:
    """A `clients.flower.forking.Source`.

    Args:
        address: gives HOST:PORT, or None while it is not known; asked again whenever nobody answers there.
        secret: with which it is shown that tasks may be taken.
        task_type: of the tasks that are taken, in Flower's words.
        authority: CA certificate (PEM file) of a TLS address; None for plain HTTP on loopback.
    """

    def __init__(
        self, address: Callable[[], str | None], secret: bytes, task_type: str, authority: Path | None = None
    ) -> None:
        self._address, self._task_type, self._authority = address, task_type, authority
        self._sign = SuperExecAuthHttpInterceptor(master_secret=secret, protected_methods={_ACQUIRE})
        self._client: _Client | None = None

    def take(self) -> Task | None:
        """See `Source`."""
        try:
            answer = self._connected().AcquireTask(AcquireTaskRequest(supported_task_types=[self._task_type]))
        except (httpx.HTTPError, ValueError, OSError) as error:
            self.close()
            why = f"HTTP {error.response.status_code}" if isinstance(error, httpx.HTTPStatusError) else str(error)
            raise ExecutorUnreachable(f"{self._address() or 'the SuperNode'} gives no tasks: {why}") from None
        if not (answer.HasField("task") and answer.token):
            return None
        return Task(answer.task.task_id, answer.task.run_id, answer.token, answer.task.fab_hash)

    def fail(self, token: str, why: str) -> None:
        """See `Source`."""
        address = self._address()
        if address is None:
            return
        client = self._made(address, RuntimeTokenHttpInterceptor(token))
        try:
            client.PushTaskOutput(PushTaskOutputRequest(sub_status=SubStatus.FAILED, details=why))
        except (httpx.HTTPError, ValueError) as error:  # it is over already, or its giver is
            log.debug("a task could not be failed: %s", error)
        finally:
            client.close()

    def close(self) -> None:
        if self._client is not None:
            self._client.close()
            self._client = None

    def _connected(self) -> _Client:
        if self._client is None:
            address = self._address()
            if address is None:
                raise ExecutorUnreachable("the SuperNode has not said yet where it is")
            self._client = self._made(address, self._sign)
        return self._client

    def _made(self, address: str, *more: ProtobufClientInterceptor) -> _Client:
        version = RuntimeVersionHttpInterceptor(component_name="SuperExec")
        return _Client(address, self._authority, [version, *more])


class _Client(RuntimeHttpClient):
    """Flower's client, which takes no proxy: the other side is on this machine."""

    def __init__(self, address: str, authority: Path | None, interceptors: list[ProtobufClientInterceptor]) -> None:
        scheme = "http" if authority is None else "https"
        super().__init__(f"{scheme}://{address}", interceptors=interceptors, verify=False)
        self._client.close()
        verify = False if authority is None else ssl.create_default_context(cafile=str(authority))
        self._client = httpx.Client(verify=verify, timeout=_TIMEOUT_S, trust_env=False)
