"""Tasks from a SuperNode or SuperLink: Flower's Runtime API, asked over one connection.

A SuperLink is known by its certificate, a SuperNode by where its Unix socket is: in a folder that no other user of the
machine can enter. A port of loopback would be anybody's once the SuperNode that had it is gone.
"""

from __future__ import annotations

import logging
import ssl
from collections.abc import Callable, Sequence
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
from flwr.supercore.retry import RetryInvoker
from flwr.supercore.runtime import RuntimeHttpClient

from clients.flower.forking import ExecutorUnreachable, Task
from clients.flower.own_socket import reachable, require_own

_TIMEOUT_S = 10.0
_TASK_TIMEOUT_S = 30.0  # of a task's process, as in Flower
_ACQUIRE = "/flwr.proto.Runtime/AcquireTask"

Connect = Callable[[Sequence[ProtobufClientInterceptor]], RuntimeHttpClient]

log = logging.getLogger("artesian.executor")


class RuntimeSource:
    """A `clients.flower.forking.Source`.

    Args:
        connect: makes a client of the interceptors it is given; see `over_socket` and `over_tls`.
        where: names it in errors.
        secret: with which it is shown that tasks may be taken.
        task_type: of the tasks that are taken, in Flower's words.
    """

    def __init__(self, connect: Connect, where: str, secret: bytes, task_type: str) -> None:
        self._connect, self._where, self._task_type = connect, where, task_type
        self._sign = SuperExecAuthHttpInterceptor(master_secret=secret, protected_methods={_ACQUIRE})
        self._client: RuntimeHttpClient | None = None

    def take(self) -> Task | None:
        """See `Source`."""
        try:
            answer = self._connected().AcquireTask(AcquireTaskRequest(supported_task_types=[self._task_type]))
        except (httpx.HTTPError, ValueError, OSError) as error:
            self.close()
            why = f"HTTP {error.response.status_code}" if isinstance(error, httpx.HTTPStatusError) else str(error)
            raise ExecutorUnreachable(f"{self._where} gives no tasks: {why}") from None
        if not (answer.HasField("task") and answer.token):
            return None
        return Task(answer.task.task_id, answer.task.run_id, answer.token, answer.task.fab_hash)

    def fail(self, token: str, why: str) -> None:
        """See `Source`."""
        try:
            client = self._made(RuntimeTokenHttpInterceptor(token))
        except OSError as error:
            log.debug("a task could not be failed: %s", error)
            return
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

    def _connected(self) -> RuntimeHttpClient:
        if self._client is None:
            self._client = self._made(self._sign)
        return self._client

    def _made(self, *more: ProtobufClientInterceptor) -> RuntimeHttpClient:
        return self._connect([RuntimeVersionHttpInterceptor(component_name="SuperExec"), *more])


def over_tls(address: str, authority: Path) -> Connect:
    """To HOST:PORT, whose certificate the CA in a PEM file has signed."""

    def connect(interceptors: Sequence[ProtobufClientInterceptor]) -> RuntimeHttpClient:
        verify = ssl.create_default_context(cafile=str(authority))
        return _Client(f"https://{address}", interceptors, httpx.HTTPTransport(verify=verify), None)

    return connect


def over_socket(path: Path) -> Connect:
    """To a Unix socket; its owner is whoever can write in its folder.

    The client raises:
        OSError: the folder is another user's, or others can enter it.
    """

    def connect(interceptors: Sequence[ProtobufClientInterceptor]) -> RuntimeHttpClient:
        return socket_client(path, interceptors, None)

    return connect


def socket_client(
    path: Path, interceptors: Sequence[ProtobufClientInterceptor], retry: RetryInvoker | None
) -> RuntimeHttpClient:
    """A client of a Unix socket, as `over_socket` says."""
    require_own(path.parent)
    return _Client("http://supernode", interceptors, httpx.HTTPTransport(uds=reachable(path)), retry)


class _Client(RuntimeHttpClient):
    """Flower's client, which takes no proxy: the other side is on this machine."""

    def __init__(
        self,
        url: str,
        interceptors: Sequence[ProtobufClientInterceptor],
        transport: httpx.HTTPTransport,
        retry: RetryInvoker | None,
    ) -> None:
        super().__init__(url, interceptors=interceptors, verify=False, retry_invoker=retry)
        self._client.close()
        self._client = httpx.Client(
            transport=transport, timeout=_TIMEOUT_S if retry is None else _TASK_TIMEOUT_S, trust_env=False
        )
