"""The gRPC face of a `Desk`: which status an error has, and an end to every wait."""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any, TypeVar

import grpc

from ledger.errors import LedgerError
from ledger.service import ledger_pb2 as pb
from ledger.service import streams
from ledger.service.desk import Desk
from ledger.service.gate import calling
from ledger.service.ledger_pb2_grpc import LedgerServicer
from ledger.service.peers import PeerCheck
from ledger.service.seats import Seats
from ledger.service.statuses import status_of, told

T = TypeVar("T")


class LedgerService(LedgerServicer):
    """Each method is one rpc of ledger.proto, which says what it does."""

    def __init__(
        self, desk: Desk, monotonic: Callable[[], float] = time.monotonic, peers: PeerCheck | None = None
    ) -> None:
        """Serve what `desk` answers, behind a `ledger.service.gate.Gate`, to those whose certificates `peers` takes."""
        self._desk = desk
        self._peers = peers
        self._monotonic = monotonic
        self._leaps = streams.Leaps(desk)
        limits = desk.settings
        each = limits.max_followers_each
        self._followers = Seats("streams", limits.max_followers, each, each)

    async def Submit(self, request: pb.SubmitRequest, context: Any) -> pb.SubmitReply:  # noqa: N802
        """Statements in; places, with receipts or promises, out."""
        # Whoever sets no deadline gets the service's own.
        remaining_s = context.time_remaining() or self._desk.settings.max_wait_s
        return await self._answer(context, lambda caller: self._desk.submit(request, caller, remaining_s))

    async def Entries(self, request: pb.EntriesRequest, context: Any) -> None:  # noqa: N802
        """A stream of entries."""

        async def send(caller: str | None) -> None:
            await self._send(streams.entries(self._desk, request, caller), context)

        await self._answer(context, send)

    async def Follow(self, request: pb.FollowRequest, context: Any) -> None:  # noqa: N802
        """A stream of news."""

        async def send(caller: str | None) -> None:
            with self._followers.seat(caller):
                await self._send(streams.news(self._desk, self._leaps, request, caller, self._monotonic), context)

        await self._answer(context, send)

    async def Checkpoint(self, request: pb.CheckpointRequest, context: Any) -> pb.CheckpointReply:  # noqa: N802
        """The latest checkpoints."""

        async def look(_: str | None) -> pb.CheckpointReply:
            view = self._desk.board.view
            return pb.CheckpointReply(checkpoint=view.checkpoint, final_checkpoint=view.final)

        return await self._answer(context, look)

    async def Notes(self, request: pb.NotesRequest, context: Any) -> None:  # noqa: N802
        """A stream of older checkpoints."""

        async def send(caller: str | None) -> None:
            await self._send(streams.notes(self._desk, request, caller), context)

        await self._answer(context, send)

    async def Consistency(self, request: pb.ConsistencyRequest, context: Any) -> pb.Proof:  # noqa: N802
        """One tree extends the other."""
        old, new = request.old_size, request.new_size
        path = await self._answer(context, lambda who: self._desk.ask(who, lambda log: log.consistency(old, new)))
        return pb.Proof(path=path)

    async def Inclusion(self, request: pb.InclusionRequest, context: Any) -> pb.Proof:  # noqa: N802
        """An entry is in a tree."""
        index, size = request.index, request.size
        path = await self._answer(context, lambda who: self._desk.ask(who, lambda log: log.inclusion(index, size)))
        return pb.Proof(path=path)

    async def Receipt(self, request: pb.ReceiptRequest, context: Any) -> pb.ReceiptReply:  # noqa: N802
        """A receipt."""
        return await self._answer(context, lambda caller: self._desk.receipt(request, caller))

    async def Cosign(self, request: pb.CosignRequest, context: Any) -> pb.CosignReply:  # noqa: N802
        """Cosignatures in, from anyone: they say themselves whose they are.

        Also from a member whose certificate is revoked: it may have to cosign its own suspension.
        """
        return await self._answer(context, lambda caller: self._desk.cosign(request, caller), anyone=True)

    async def Body(self, request: pb.BodyRequest, context: Any) -> pb.BodyReply:  # noqa: N802
        """An encrypted body."""
        return await self._answer(context, lambda caller: self._desk.body(request, caller))

    async def DeleteBody(self, request: pb.DeleteBodyRequest, context: Any) -> pb.DeleteBodyReply:  # noqa: N802
        """A body away."""
        return await self._answer(context, lambda caller: self._desk.delete_body(request, caller))

    async def Members(self, request: pb.MembersRequest, context: Any) -> pb.MembersReply:  # noqa: N802
        """Who is a member."""

        async def look(caller: str | None) -> pb.MembersReply:
            return self._desk.members(caller)

        return await self._answer(context, look)

    async def Status(self, request: pb.StatusRequest, context: Any) -> pb.StatusReply:  # noqa: N802
        """How the ledger is doing."""
        return await self._answer(context, self._desk.status)

    async def _answer(self, context: Any, answer: Callable[[str | None], Awaitable[T]], *, anyone: bool = False) -> T:
        """What `answer` gives to the caller of this rpc; an error of ours becomes the status of the call.

        Args:
            anyone: whatever certificate the caller has.
        """
        try:
            if self._peers is not None and not anyone:
                self._peers.require(context, calling())
            return await answer(calling())
        except LedgerError as error:
            await context.abort(status_of(error), told(error))
            raise

    async def _send(self, messages: AsyncIterator[Any], context: Any) -> None:
        """Write a stream at its reader's pace, and end it when the reader takes nothing any more."""
        async for message in messages:
            try:
                await asyncio.wait_for(context.write(message), self._desk.settings.stall_s)
            except TimeoutError:
                await context.abort(grpc.StatusCode.DEADLINE_EXCEEDED, "the reader of this stream takes nothing; ended")
