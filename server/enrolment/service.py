"""The join desk's gRPC face: TLS with the consortium's CA, sizes, rates, and which status an error has."""

from __future__ import annotations

import asyncio
import contextlib
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, TypeVar

import grpc
import grpc.aio
from grpc_health.v1 import health, health_pb2, health_pb2_grpc

from clients.certificates import TLS_CERTIFICATE, TLS_KEY
from clients.enrolment import enrolment_pb2 as pb
from clients.enrolment.enrolment_pb2_grpc import EnrolmentServicer, add_EnrolmentServicer_to_server
from clients.enrolment.signed import SignedFields
from clients.enrolment.state import to_message
from server.enrolment.admission import Admission
from server.enrolment.book import EnrolmentBook
from server.enrolment.desk import JoinDesk
from server.enrolment.doorman import MAX_CALLS, Doorman, caller, is_near
from server.enrolment.ledger_access import LedgerAccess
from server.enrolment.proposing import ProposalFacts
from server.enrolment.standing import RequestStanding
from server.enrolment.telling import told
from server.errors import ServerError
from server.scoring.quota import Quota

T = TypeVar("T")
SERVICE = pb.DESCRIPTOR.services_by_name["Enrolment"].full_name
MAX_MESSAGE_BYTES = 64 << 10
RATE_PER_S, BURST = 20.0, 200
"""Calls of all strangers together: each costs a signature or two."""
EACH_PER_S, EACH_BURST = 2.0, 60
"""Calls by one member, who is known by its signature; and by strangers from one address, if it is not this machine's:
behind a proxy all have that one."""
MAX_ADDRESSES = 10_000
CONNECTION_MS = 300_000
"""How long one connection is kept; a client opens another, and takes up a new certificate."""
GRACE_S = 5.0


class CannotServe(ServerError):
    """The desk cannot start; the message says what is missing or taken."""


class DeskService(EnrolmentServicer):
    """Each method is one rpc of enrolment.proto. The desk's work is done in one thread, in turn."""

    def __init__(self, desk: JoinDesk, monotonic: Callable[[], float] = time.monotonic) -> None:
        """Serve what `desk` answers."""
        self._desk = desk
        self._worker = ThreadPoolExecutor(1, "desk")
        self._strangers = Quota(RATE_PER_S, BURST, monotonic)
        self._members = Quota(EACH_PER_S, EACH_BURST, monotonic)
        self._monotonic = monotonic
        self._each = Quota(EACH_PER_S, EACH_BURST, monotonic)
        self._addresses: set[str] = set()

    async def Terms(self, request: pb.TermsRequest, context: Any) -> pb.TermsReply:  # noqa: N802
        """Policy and specs."""
        policy, specs = await self._answer(context, lambda: self._desk.terms(request.token_sha256))
        return pb.TermsReply(policy=policy, specs=specs)

    async def Join(self, request: pb.JoinRequest, context: Any) -> pb.StandingReply:  # noqa: N802
        """A request to be enrolled."""
        signed = _signed(request.request)
        return self._standing(await self._answer(context, lambda: self._desk.join(signed, request.token)))

    async def Standing(self, request: pb.SignedRequest, context: Any) -> pb.StandingReply:  # noqa: N802
        """How it stands."""
        signed = _signed(request)
        return self._standing(await self._answer(context, lambda: self._desk.standing(signed), "Standing", signed))

    async def Renew(self, request: pb.SignedRequest, context: Any) -> pb.CertificateReply:  # noqa: N802
        """A new certificate."""
        signed = _signed(request)
        pem = await self._answer(context, lambda: self._desk.renew(signed), "Renew", signed)
        return pb.CertificateReply(certificate=pem)

    async def Proposals(self, request: pb.SignedRequest, context: Any) -> pb.ProposalsReply:  # noqa: N802
        """What waits for approvals."""
        signed = _signed(request)
        found = await self._answer(context, lambda: self._desk.proposals(signed), "Proposals", signed)
        return pb.ProposalsReply(proposals=map(_proposal, found))

    async def Approve(self, request: pb.SignedRequest, context: Any) -> pb.ProposalReply:  # noqa: N802
        """An approval."""
        signed = _signed(request)
        return _proposal(await self._answer(context, lambda: self._desk.approve(signed), "Approve", signed))

    async def Policy(self, request: pb.SignedRequest, context: Any) -> pb.TermsReply:  # noqa: N802
        """Policy and specs, for a member."""
        signed = _signed(request)
        policy, specs = await self._answer(context, lambda: self._desk.policy(signed), "Policy", signed)
        return pb.TermsReply(policy=policy, specs=specs)

    async def State(self, request: pb.SignedRequest, context: Any) -> pb.StateReply:  # noqa: N802
        """What the coordinator runs and waits for."""
        signed = _signed(request)
        return to_message(await self._answer(context, lambda: self._desk.state(signed), "State", signed))

    def close(self) -> None:
        """End the thread."""
        self._worker.shutdown()
        self._desk.close()

    async def tend(self, work: Callable[[], None]) -> None:
        """Do `work` in the desk's thread."""
        await asyncio.get_running_loop().run_in_executor(self._worker, work)

    async def _answer(self, context: Any, ask: Callable[[], T], rpc: str = "", signed: SignedFields | None = None) -> T:
        in_turn = asyncio.get_running_loop().run_in_executor
        try:
            try:
                member = "" if signed is None else await in_turn(self._worker, self._desk.caller, rpc, signed)
            except Exception:
                self._take_stranger(context)  # who cannot show whom it is
                raise
            if member:
                self._members.take(member)
            else:
                self._take_stranger(context)
            return await in_turn(self._worker, ask)
        except Exception as error:
            status, words = told(error)
        await context.abort(status, words)
        raise AssertionError("an aborted call does not go on")

    def _take_stranger(self, context: Any) -> None:
        """Take from the address's own first: one that is over it must not use up what all have together."""
        address = caller(context.peer())
        if not is_near(address):
            if address not in self._addresses:
                if len(self._addresses) >= MAX_ADDRESSES:
                    self._each, self._addresses = Quota(EACH_PER_S, EACH_BURST, self._monotonic), set()
                self._addresses.add(address)
            self._each.take(address)
        self._strangers.take("everybody who is not known")

    def _standing(self, at: RequestStanding) -> pb.StandingReply:
        return pb.StandingReply(
            phase=at.phase,
            detail=at.detail,
            certificate=at.certificate,
            origin=at.origin,
            founding=at.founding,
            addresses=pb.Addresses(**self._desk.addresses()),
        )


def _signed(request: pb.SignedRequest) -> SignedFields:
    return SignedFields(request.fields, request.signature)


def _proposal(facts: ProposalFacts) -> pb.ProposalReply:
    proposed = facts.proposed
    return pb.ProposalReply(
        name=proposed.name,
        proposal=proposed.proposal,
        approved=facts.approved,
        needed=facts.needed,
        placed=proposed.placed,
        refused=proposed.refused,
    )


class DeskServer:
    """A desk that can be started and stopped; it lives in one event loop.

    Attributes:
        port: the port that it listens on.
    """

    def __init__(self, home: Path, desk: JoinDesk, host: str, port: int = 0) -> None:
        """Bind, without serving yet. The certificate is read again when its file changes.

        Raises:
            CannotServe: the address is taken or not ours, or there is no certificate.
        """
        self._service = DeskService(desk)
        self._server = grpc.aio.server(
            maximum_concurrent_rpcs=MAX_CALLS,
            options=[
                ("grpc.max_receive_message_length", MAX_MESSAGE_BYTES),
                ("grpc.so_reuseport", 0),
                ("grpc.max_concurrent_streams", 8),
                ("grpc.max_connection_age_ms", CONNECTION_MS),
                ("grpc.max_connection_age_grace_ms", 10_000),
                ("grpc.max_connection_idle_ms", 60_000),
                ("grpc.server_handshake_timeout_ms", 10_000),
            ],
            interceptors=[Doorman()],
        )
        self._health = health.aio.HealthServicer()
        add_EnrolmentServicer_to_server(self._service, self._server)  # type: ignore[no-untyped-call]
        health_pb2_grpc.add_HealthServicer_to_server(self._health, self._server)
        shown = f"[{host}]" if ":" in host else host
        try:
            self.port: int = self._server.add_secure_port(f"{shown}:{port}", reloading_credentials(home))
        except RuntimeError:
            raise CannotServe(
                f"cannot serve on {shown}:{port}: the address is taken, or is not this machine's"
            ) from None

    async def start(self) -> None:
        """Serve from now on, and say so to health checks."""
        await self._server.start()
        for name in ("", SERVICE):
            await self._health.set(name, health_pb2.HealthCheckResponse.SERVING)

    async def tend(self, work: Callable[[], None]) -> None:
        """Do `work` between two calls."""
        await self._service.tend(work)

    async def stop(self) -> None:
        """Take no new call, finish those at hand, and end."""
        await self._health.enter_graceful_shutdown()
        await self._server.stop(GRACE_S)
        self._service.close()


def reloading_credentials(home: Path) -> grpc.ServerCredentials:
    """TLS without client certificates, from the home's files, read again for the connection after they change.

    Raises:
        CannotServe: they cannot be read.
    """
    files = (home / TLS_KEY, home / TLS_CERTIFICATE)
    known: list[Any] = [None]

    def configuration() -> Any:
        try:
            mark = tuple((path.stat().st_mtime_ns, path.stat().st_ino) for path in files)
            if mark == known[0]:
                return None  # as before
            key, certificate = (path.read_bytes() for path in files)
        except OSError as error:
            if known[0] is not None:
                return None  # in the middle of a change: the old pair still serves
            raise CannotServe(
                f"{error.filename}: {error.strerror}; make the home with: artesian coordinator init"
            ) from None
        known[0] = mark
        return grpc.ssl_server_certificate_configuration([(key, certificate)])

    return grpc.dynamic_ssl_server_credentials(configuration(), configuration)


@contextlib.asynccontextmanager
async def serving_desk(home: Path, host: str, port: int, now: Callable[[], float]) -> AsyncIterator[DeskServer]:
    """Serve the desk of `home` while the block runs.

    Raises:
        CannotServe: as `DeskServer`.
    """
    with EnrolmentBook(home) as book:
        admission = Admission(home, book, LedgerAccess(home), now)
        server = DeskServer(home, JoinDesk(home, admission, now), host, port)
        await server.start()
        try:
            yield server
        finally:
            await server.stop()


@contextlib.contextmanager
def serving(home: Path, host: str = "127.0.0.1", now: Callable[[], float] = time.time, port: int = 0) -> Iterator[str]:
    """Serve from a thread of its own while the block runs; gives the address, `HOST:PORT`."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, name="join-desk", daemon=True)
    thread.start()
    stack = contextlib.AsyncExitStack()

    async def enter() -> DeskServer:
        return await stack.enter_async_context(serving_desk(home, host, port, now))

    try:
        server = asyncio.run_coroutine_threadsafe(enter(), loop).result()
        try:
            yield f"{host}:{server.port}"
        finally:
            asyncio.run_coroutine_threadsafe(stack.aclose(), loop).result()
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()
