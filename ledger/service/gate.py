"""The way in: who calls is known, and has a seat, before anything of its message is read.

Else an outsider could make the service hold as many large messages as it opens streams.
"""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import ExitStack
from contextvars import ContextVar
from typing import Any

import grpc
import grpc.aio

from ledger.errors import LedgerError
from ledger.rules import State
from ledger.service.access import SERVICE, method_name
from ledger.service.limits import Settings
from ledger.service.seats import Seats
from ledger.service.statuses import status_of, told
from ledger.service.tokens import METADATA_KEY, BadToken, StaleToken, TokenGuard

_CALLER: ContextVar[str | None] = ContextVar("caller", default=None)
_COSIGN = method_name("Cosign")


class Gate(grpc.aio.ServerInterceptor):  # type: ignore[misc]
    """Lets calls in, each with a seat for as long as it is at hand. Lives in one event loop.

    Attributes:
        most: how many calls it ever lets in together.
    """

    def __init__(self, guard: TokenGuard, state: Callable[[], State], limits: Settings) -> None:
        """`state`: the ledger's, now."""
        outside = limits.max_calls_outside
        self.most = limits.max_calls + 2 * outside
        self._guard = guard
        self._state = state
        self._calls = Seats("calls", limits.max_calls, limits.max_calls_each, outside)
        self._others = Seats("health checks", outside, outside, outside)

    async def intercept_service(self, continuation: Callable[[Any], Awaitable[Any]], details: Any) -> Any:
        """What deals with a call: its method, or what refuses it unread."""
        seat = ExitStack()
        try:
            if details.method.startswith(f"/{SERVICE}/"):
                caller = self._caller(details)
                seat.enter_context(self._calls.seat(caller))
                _CALLER.set(caller)
            else:
                seat.enter_context(self._others.seat(None))
        except LedgerError as error:
            return _refusing(error)
        call = asyncio.current_task()
        assert call is not None  # gRPC deals with each call in a task of its own
        call.add_done_callback(lambda _: seat.close())
        return await continuation(details)

    def _caller(self, details: Any) -> str | None:
        sent = [value for key, value in details.invocation_metadata or () if key == METADATA_KEY]
        if len(sent) > 1 or not all(isinstance(value, str) for value in sent):
            raise BadToken(f"the metadata {METADATA_KEY!r} must be there once, or not at all")
        try:
            return self._guard.caller(sent[0] if sent else None, details.method, self._state())
        except (BadToken, StaleToken):
            # A member that was suspended may have to cosign its own suspension, and has no token any more.
            if details.method == _COSIGN:
                return None
            raise


def calling() -> str | None:
    """The member whose call is at hand; None for an outsider."""
    return _CALLER.get()


def _refusing(error: LedgerError) -> Any:
    """A method that reads nothing: to gRPC it takes a stream of messages, whatever the caller sends."""

    async def refuse(_: Any, context: Any) -> None:
        await context.abort(status_of(error), told(error))

    return grpc.stream_unary_rpc_method_handler(refuse)
