"""The ledger's server: a log, its sequencer's thread, and gRPC around it, until it is told to stop."""

import asyncio
import contextlib
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import grpc
import grpc.aio
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection

from ledger.electorate import Membership
from ledger.errors import LedgerError
from ledger.keys import SigningKey
from ledger.log import Clock, Log
from ledger.service.access import SERVICE
from ledger.service.board import Board, View
from ledger.service.desk import Desk
from ledger.service.gate import Gate
from ledger.service.ledger_pb2_grpc import add_LedgerServicer_to_server
from ledger.service.limits import Settings
from ledger.service.peers import PeerCheck
from ledger.service.sequencer import Sequencer
from ledger.service.service import LedgerService
from ledger.service.tls import ServerTls, require_tls_beyond_loopback
from ledger.service.tokens import TokenGuard

MIN_PING_MS = 5_000


class CannotServe(LedgerError):
    """The service cannot start; the message says what is missing or taken."""

    exit_code = 2


class SequencerFailed(LedgerError):
    """The sequencer stopped by itself, and the service with it."""

    exit_code = 1


class LedgerServer:
    """A served log; it lives in one event loop.

    Attributes:
        address: `HOST:PORT` that it listens on.
        failure: why the sequencer stopped, if it was not told to.
    """

    def __init__(
        self,
        log: Log,
        key: SigningKey,
        *,
        host: str = "127.0.0.1",
        port: int = 0,
        tls: ServerTls | None = None,
        settings: Settings | None = None,
        next_key: SigningKey | None = None,
        on_settled: Callable[[Membership], None] = lambda _: None,
        peers: PeerCheck | None = None,
        clock: Clock = time.time,
    ) -> None:
        """Bind, without serving yet. The log belongs to the server from here on, also when this raises.

        Args:
            key: the log's present key.
            port: 0 for any free one.
            tls: without it only addresses of this machine itself are served.
            next_key: the key that the log changes to when its rotation is appended.
            on_settled: called in a thread of its own with the membership that is final, at the start and when another
                one is; one after the other.
            peers: which client certificates are good; without it, all by the authority that `tls` names.

        Raises:
            CannotServe: the address is taken or not ours, or certificate and key do not fit.
            BadTls: no TLS on an address that others reach.
        """
        self._settings = settings or Settings()
        self._sequencer = Sequencer(log, key, self._settings, next_key=next_key)
        self._board = Board(self._sequencer.view)
        self._on_settled = on_settled
        self._peers = peers
        self._settled: Membership | None = None
        self._settling = ThreadPoolExecutor(1, "settled")  # of two, the later one must not be overtaken
        self._stopped = asyncio.Event()
        guard = TokenGuard(self._sequencer.origin, clock)
        gate = Gate(guard, lambda: self._sequencer.state, self._settings)
        self._server = grpc.aio.server(
            interceptors=[gate],
            maximum_concurrent_rpcs=gate.most,
            options=[
                ("grpc.max_receive_message_length", self._settings.max_message_bytes),
                ("grpc.so_reuseport", 0),  # two services on one port would share the calls out
                ("grpc.max_concurrent_streams", self._settings.max_streams),
                ("grpc.http2.min_ping_interval_without_data_ms", MIN_PING_MS),  # clients see a dead peer by pings
            ],
        )
        self._health = health.aio.HealthServicer()
        try:
            require_tls_beyond_loopback(host, secured=tls is not None)
            self.address = self._bind(host, port, tls)
        except BaseException:
            log.close()
            raise

    @property
    def failure(self) -> Exception | None:
        """Why the sequencer stopped by itself."""
        return self._sequencer.failure

    async def start(self) -> None:
        """Serve from now on, and say so to health checks."""
        loop = asyncio.get_running_loop()

        def listen(view: View) -> None:
            loop.call_soon_threadsafe(self._show, view)

        def ended() -> None:
            with contextlib.suppress(RuntimeError):  # the loop may be gone already
                loop.call_soon_threadsafe(self._end)

        self._sequencer.start(listen, ended)
        service = LedgerService(Desk(self._sequencer, self._board, self._settings), peers=self._peers)
        add_LedgerServicer_to_server(service, self._server)  # type: ignore[no-untyped-call]
        health_pb2_grpc.add_HealthServicer_to_server(self._health, self._server)
        reflection.enable_server_reflection((SERVICE, health.SERVICE_NAME, reflection.SERVICE_NAME), self._server)
        await self._server.start()
        await self._tell(health_pb2.HealthCheckResponse.SERVING)

    async def wait(self) -> None:
        """Wait until the sequencer stops by itself.

        Raises:
            SequencerFailed: it did; nothing is answered any more.
        """
        await self._stopped.wait()
        await self._tell(health_pb2.HealthCheckResponse.NOT_SERVING)
        raise SequencerFailed(f"the ledger's sequencer stopped: {self.failure}; see to that, then start again")

    async def stop(self) -> None:
        """Take no new call, finish those at hand for at most `grace_s` seconds, and give the log back."""
        await self._health.enter_graceful_shutdown()
        self._board.close()  # ends the streams and the waits
        await self._server.stop(self._settings.grace_s)
        await asyncio.to_thread(self._sequencer.stop)
        await asyncio.to_thread(self._settling.shutdown)

    def _bind(self, host: str, port: int, tls: ServerTls | None) -> str:
        shown = f"[{host}]" if ":" in host else host
        try:
            if tls is None:
                bound = self._server.add_insecure_port(f"{shown}:{port}")
            else:
                bound = self._server.add_secure_port(f"{shown}:{port}", tls.credentials())
        except RuntimeError:
            message = f"cannot serve on {shown}:{port}: the address is taken, or the TLS key and certificate do not fit"
            raise CannotServe(message) from None
        return f"{shown}:{bound}"

    def _show(self, view: View) -> None:
        self._board.post(view)
        if view.settled is not None and view.settled != self._settled:
            self._settled = view.settled
            asyncio.get_running_loop().run_in_executor(self._settling, self._on_settled, view.settled)

    def _end(self) -> None:
        self._board.close()
        self._stopped.set()

    async def _tell(self, status: Any) -> None:
        for name in ("", SERVICE):
            await self._health.set(name, status)


def serve(
    location: str | os.PathLike[str],
    key: SigningKey,
    *,
    host: str = "127.0.0.1",
    port: int = 0,
    tls: ServerTls | None = None,
    settings: Settings | None = None,
    next_key: SigningKey | None = None,
    at_least: int = 0,
    clock: Clock = time.time,
    announce: Callable[[str], None] = lambda _: None,
    on_settled: Callable[[Membership], None] = lambda _: None,
    peers: PeerCheck | None = None,
) -> None:
    """Open the log at `location` and serve it until SIGTERM or SIGINT. Call it from the main thread.

    Args:
        at_least: the largest size that a witness is known to have cosigned (see `Log.open`).
        announce: called with the address once calls are answered.
        on_settled, peers: as `LedgerServer`.

    Raises:
        CannotServe, BadTls, StoreError, Damaged: it cannot start.
        SequencerFailed: the log could not go on.
    """
    log = Log.open(location, key, clock, at_least=at_least)

    async def run() -> None:
        loop = asyncio.get_running_loop()
        told = asyncio.Event()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, told.set)
        server = LedgerServer(
            log,
            key,
            host=host,
            port=port,
            tls=tls,
            settings=settings,
            next_key=next_key,
            on_settled=on_settled,
            peers=peers,
            clock=clock,
        )
        ends = [asyncio.ensure_future(server.wait()), asyncio.ensure_future(told.wait())]
        try:
            await server.start()
            announce(server.address)
            done, _ = await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
            for end in done:
                await end
        finally:
            for end in ends:
                end.cancel()
            await server.stop()

    asyncio.run(run())


@contextlib.contextmanager
def serving(log: Log, key: SigningKey, **options: Any) -> Iterator[LedgerServer]:
    """Serve from a thread of its own while the block runs; `options` are those of `LedgerServer`.

    Raises:
        CannotServe, BadTls: as `LedgerServer`.
    """
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, name="ledger-service", daemon=True)
    thread.start()

    async def start() -> LedgerServer:
        server = LedgerServer(log, key, **options)
        await server.start()
        return server

    try:
        server = asyncio.run_coroutine_threadsafe(start(), loop).result()
        try:
            yield server
        finally:
            asyncio.run_coroutine_threadsafe(server.stop(), loop).result()
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()
