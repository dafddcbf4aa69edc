"""Who may take a seat at the join desk, and for how long without saying anything: before any request is read.

A call counts from its headers on. One whose message does not come would hold a seat for ever, and gRPC has no deadline
for it; so every call here is read as a stream of one message, with a deadline of the desk's own.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator
from ipaddress import IPv6Address, ip_address, ip_network
from typing import Any
from urllib.parse import unquote

import grpc
import grpc.aio

MAX_CALLS = 256
"""Calls at once, of all callers."""
SEATS_EACH = 8
"""Calls at once from one address."""
SEATS_NEAR = 192
"""The same from this machine: a proxy before the desk, which limits each address by itself, brings everybody's."""
RECEIVE_S = 5.0
"""Longest wait for a call's request after its headers."""


class Doorman(grpc.aio.ServerInterceptor):  # type: ignore[misc]
    """Gives seats to calls, and ends those whose request does not come. It lives in one event loop."""

    def __init__(self, receive_s: float = RECEIVE_S) -> None:
        self._seats = Seats()
        self._receive_s = receive_s

    async def intercept_service(self, continuation: Callable[[Any], Awaitable[Any]], details: Any) -> Any:
        """The handler of a call, behind the door. Streams (only `Watch` of the health checks) are not served."""
        handler = await continuation(details)
        if handler is None or handler.request_streaming or handler.response_streaming:
            return None
        return grpc.stream_unary_rpc_method_handler(
            self._behind(handler.unary_unary), handler.request_deserializer, handler.response_serializer
        )

    def _behind(self, answer: Callable[[Any, Any], Awaitable[Any]]) -> Callable[[Any, Any], Awaitable[Any]]:
        async def behind(requests: Any, context: Any) -> Any:
            address = caller(context.peer())
            with self._seats.taken(address) as seated:
                if not seated:
                    await context.abort(grpc.StatusCode.RESOURCE_EXHAUSTED, f"too many calls at once from {address}")
                try:
                    async with asyncio.timeout(self._receive_s):
                        request = await anext(aiter(requests), None)
                except TimeoutError:
                    words = f"no request came within {self._receive_s:g} s"
                    await context.abort(grpc.StatusCode.DEADLINE_EXCEEDED, words)
                if request is None:
                    await context.abort(grpc.StatusCode.INVALID_ARGUMENT, "the call has no request")
                return await answer(request, context)

        return behind


class Seats:
    """How many calls each address has going on."""

    def __init__(self) -> None:
        self._taken: Counter[str] = Counter()

    @contextlib.contextmanager
    def taken(self, address: str) -> Iterator[bool]:
        """Take a seat while the block runs; says whether there was one."""
        if self._taken[address] >= (SEATS_NEAR if is_near(address) else SEATS_EACH):
            yield False
            return
        self._taken[address] += 1
        try:
            yield True
        finally:
            self._taken[address] -= 1
            if not self._taken[address]:
                del self._taken[address]


def caller(peer: str) -> str:
    """What stands for the caller's address: for IPv6 its /64, which one customer has whole.

    Args:
        peer: as gRPC gives it: `ipv4:HOST:PORT` or `ipv6:[HOST]:PORT`.
    """
    host = unquote(peer).partition(":")[2].rpartition(":")[0].strip("[]").partition("%")[0]
    try:
        address = ip_address(host)
    except ValueError:
        return host or peer
    if isinstance(address, IPv6Address):
        if address.ipv4_mapped is not None:
            return str(address.ipv4_mapped)
        return str(address) if address.is_loopback else str(ip_network((address, 64), strict=False))
    return str(address)


def is_near(address: str) -> bool:
    """Whether what `caller` gave is this machine itself."""
    with contextlib.suppress(ValueError):
        return ip_address(address).is_loopback
    return False
