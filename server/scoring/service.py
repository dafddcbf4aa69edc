"""The credit-score service: gRPC with mutual TLS, health checking and reflection around a `Desk`."""

import asyncio
import contextlib
import logging
import threading
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import grpc
import grpc.aio
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection

from clients.scoring import scores_pb2 as pb
from clients.scoring.scores_pb2_grpc import ScoresServicer, add_ScoresServicer_to_server
from server.certificates import AUTHORITY_CERTIFICATE, TLS_CERTIFICATE, TLS_KEY
from server.errors import ServerError
from server.scoring.desk import Desk, Refused

logger = logging.getLogger(__name__)

SERVICE = pb.DESCRIPTOR.services_by_name["Scores"].full_name
MAX_MESSAGE_BYTES = 256 * 1024
STREAM_WINDOW = 256
GRACE_S = 5.0


class CannotServe(ServerError):
    """The service cannot start; the message says what is missing or taken."""

    exit_code = 2


@dataclass(frozen=True)
class Tls:
    """What a mutual TLS server shows and trusts, in PEM.

    Attributes:
        key: the server's private key.
        certificate: its certificate.
        authority: the consortium's certificate; only what it signed may connect.
    """

    key: bytes
    certificate: bytes
    authority: bytes

    @classmethod
    def from_home(cls, home: Path) -> Self:
        """Read tls.key, tls.crt and ca.crt of `home`.

        Raises:
            CannotServe: one of them cannot be read.
        """
        parts = []
        for name in (TLS_KEY, TLS_CERTIFICATE, AUTHORITY_CERTIFICATE):
            try:
                parts.append((home / name).read_bytes())
            except OSError as error:
                raise CannotServe(f"{home / name}: {error.strerror}; have a certificate issued first") from error
        return cls(*parts)


class _Servicer(ScoresServicer):
    """The gRPC face of a `Desk`."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk

    async def Score(self, request: pb.ScoreRequest, context: Any) -> pb.ScoreAnswer:  # noqa: N802
        """One question, one answer; a refusal is the status of the call."""
        try:
            return await self._desk.answer(context, request)
        except Refused as refusal:
            await context.abort(refusal.status, str(refusal))
            raise

    async def ScoreMany(  # noqa: N802
        self, requests: AsyncIterator[pb.ScoreRequest], context: Any
    ) -> AsyncIterator[pb.ScoreResult]:
        """Many questions in order; a refusal is a result, and the release proof goes out once a model."""
        proven: set[bytes] = set()
        async for result in _in_order(requests, lambda request: self._result(request, context)):
            if result.HasField("answer"):
                if result.answer.model_hash in proven:
                    result.answer.ClearField("release")
                proven.add(result.answer.model_hash)
            yield result

    async def _result(self, request: pb.ScoreRequest, context: Any) -> pb.ScoreResult:
        try:
            return pb.ScoreResult(answer=await self._desk.answer(context, request))
        except Refused as refusal:
            code, _ = refusal.status.value
            told = pb.Refusal(request_id=request.request_id, code=code, message=str(refusal))
            return pb.ScoreResult(refusal=told)


async def _in_order(
    requests: AsyncIterator[pb.ScoreRequest],
    answer: Callable[[pb.ScoreRequest], Coroutine[Any, Any, pb.ScoreResult]],
) -> AsyncIterator[pb.ScoreResult]:
    """Answer up to STREAM_WINDOW requests at a time, so that they share a write of the record, in order."""
    window = asyncio.Semaphore(STREAM_WINDOW)
    tasks: asyncio.Queue[asyncio.Task[pb.ScoreResult] | None] = asyncio.Queue()

    async def feed() -> None:
        async for request in requests:
            await window.acquire()
            tasks.put_nowait(asyncio.create_task(answer(request)))

    feeder = asyncio.create_task(feed())
    feeder.add_done_callback(lambda _: tasks.put_nowait(None))
    try:
        while (task := await tasks.get()) is not None:
            yield await task
            window.release()
        await feeder  # raises what broke the stream
    finally:
        feeder.cancel()
        while not tasks.empty():
            if left := tasks.get_nowait():
                left.cancel()


class ScoreServer:
    """A score service that can be started and stopped; it lives in one event loop.

    Attributes:
        port: the port that it listens on (known after construction, also when 0 was asked for).
    """

    def __init__(self, desk: Desk, tls: Tls, host: str = "127.0.0.1", port: int = 0) -> None:
        """Bind, without serving yet.

        Raises:
            CannotServe: the address is taken or not ours, or the certificate and key do not fit.
        """
        self._server = grpc.aio.server(
            options=[
                ("grpc.max_receive_message_length", MAX_MESSAGE_BYTES),
                ("grpc.so_reuseport", 0),  # two services on one port would share the questions out
                ("grpc.max_concurrent_streams", 256),
            ]
        )
        self._health = health.aio.HealthServicer()
        add_ScoresServicer_to_server(_Servicer(desk), self._server)  # type: ignore[no-untyped-call]
        health_pb2_grpc.add_HealthServicer_to_server(self._health, self._server)
        names = (SERVICE, health.SERVICE_NAME, reflection.SERVICE_NAME)
        reflection.enable_server_reflection(names, self._server)
        credentials = grpc.ssl_server_credentials(
            [(tls.key, tls.certificate)], root_certificates=tls.authority, require_client_auth=True
        )
        try:
            self.port: int = self._server.add_secure_port(f"{host}:{port}", credentials)
        except RuntimeError as error:
            message = f"cannot serve on {host}:{port}: the address is taken, or tls.key and tls.crt do not fit"
            raise CannotServe(message) from error

    async def start(self) -> None:
        """Serve from now on, and say so to health checks."""
        await self._server.start()
        for name in ("", SERVICE):
            await self._health.set(name, health_pb2.HealthCheckResponse.SERVING)

    async def stop(self) -> None:
        """Take no new question, finish those at hand for at most GRACE_S seconds, and end."""
        await self._health.enter_graceful_shutdown()
        await self._server.stop(GRACE_S)


@contextlib.contextmanager
def serving(desk: Desk, tls: Tls, host: str = "127.0.0.1", port: int = 0) -> Iterator[str]:
    """Serve from a thread of its own while the block runs; gives the address, `HOST:PORT`.

    Raises:
        CannotServe: as `ScoreServer`.
    """
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, name="score-service", daemon=True)
    thread.start()

    async def start() -> ScoreServer:
        server = ScoreServer(desk, tls, host, port)
        await server.start()
        return server

    try:
        server = asyncio.run_coroutine_threadsafe(start(), loop).result()
        try:
            yield f"{host}:{server.port}"
        finally:
            asyncio.run_coroutine_threadsafe(server.stop(), loop).result()
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()
