"""The fence: what of SuperLink's one application answers whom.

SuperLink serves its three APIs as one application, and leaves two of them to whoever reaches the port. Here they are
told apart by the listener that a request came in by, which no request can choose: members reach Flower's Fleet API and
nothing else; this machine's own processes reach the rest, and the Control API only with the secret of this home.
"""

from __future__ import annotations

import asyncio
import hmac
import logging
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

SECRET_HEADER = "artesian-control"
"""Carries the home's secret, hex."""

MOST_BODY_BYTES = 64 << 20
"""Of one request from outside. Flower cuts messages into objects of at most a few megabytes."""
BODY_WITHIN_S = 120.0
"""From a request's headers to the end of its body."""

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
Application = Callable[[Scope, Receive, Send], Awaitable[None]]

_FLEET, _RUNTIME, _CONTROL, _HEALTH = "/v1/fleet/", "/v1/runtime/", "/v1/control/", "/health"

log = logging.getLogger("artesian.fence")


class Fence:
    """An ASGI application around SuperLink's.

    Args:
        inner: SuperLink's application.
        secret: who shows it may use the Control API.
        loopback: port of the listener for this machine's own processes; every other is for members.
        most_bytes, body_within_s: limits of a request's body, for members.
    """

    def __init__(
        self,
        inner: Application,
        secret: bytes,
        loopback: int,
        *,
        most_bytes: int = MOST_BODY_BYTES,
        body_within_s: float = BODY_WITHIN_S,
    ) -> None:
        self._inner, self._secret, self._loopback = inner, secret.hex().encode(), loopback
        self._most_bytes, self._body_within_s = most_bytes, body_within_s

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Let a request through, or answer 404 (outside), 401 (no secret) or 413 (too large or too slow)."""
        if scope["type"] == "lifespan":
            await self._inner(scope, receive, send)
        elif scope["type"] != "http":
            log.warning("refused a %s from %s", scope["type"], _peer(scope))
            await send({"type": "websocket.close", "code": 1008})
        elif self._is_outside(scope):
            await self._from_outside(scope, receive, send)
        else:
            await self._from_inside(scope, receive, send)

    def _is_outside(self, scope: Scope) -> bool:
        server = scope.get("server")
        return server is None or server[1] != self._loopback

    async def _from_outside(self, scope: Scope, receive: Receive, send: Send) -> None:
        if not scope["path"].startswith(_FLEET):
            log.warning("refused %s %s from %s: outside the fence", scope["method"], scope["path"][:200], _peer(scope))
            await _refuse(send, 404)
            return
        body = _Bounded(receive, self._most_bytes, self._body_within_s)
        try:
            await self._inner(scope, body, body.watched(send))
        except Exception:
            if not body.cut:
                raise
        if body.cut:
            log.warning("refused %s from %s: too large or too slow", scope["path"][:200], _peer(scope))
            await _refuse(send, 413)

    async def _from_inside(self, scope: Scope, receive: Receive, send: Send) -> None:
        path = scope["path"]
        if path.startswith(_CONTROL) and not self._has_secret(scope):
            log.warning("refused %s %s on loopback: without this home's secret", scope["method"], path[:200])
            await _refuse(send, 401)
        elif path.startswith((_CONTROL, _RUNTIME, _FLEET)) or path == _HEALTH:
            await self._inner(
                scope, receive, send
            )  # the Runtime API asks for the executor's signature or a task's token
        else:
            await _refuse(send, 404)

    def _has_secret(self, scope: Scope) -> bool:
        shown = [value for name, value in scope["headers"] if name == SECRET_HEADER.encode()]
        return len(shown) == 1 and hmac.compare_digest(shown[0], self._secret)


class _Bounded:
    """A request's body, which is cut, as if the peer had gone, when it grows too large or takes too long."""

    def __init__(self, receive: Receive, most_bytes: int, within_s: float) -> None:
        self._receive, self._left, self._until_s = receive, most_bytes, asyncio.get_running_loop().time() + within_s
        self._whole = False
        self.cut = False

    async def __call__(self) -> MutableMapping[str, Any]:
        if self._whole:  # what comes now is only that the peer has gone
            return await self._receive()
        try:
            async with asyncio.timeout_at(self._until_s):
                message = await self._receive()
        except TimeoutError:
            return self._end()
        self._left -= len(message.get("body", b""))
        if self._left < 0:
            return self._end()
        self._whole = not message.get("more_body", False)
        return message

    def _end(self) -> MutableMapping[str, Any]:
        self.cut = True
        return {"type": "http.disconnect"}

    def watched(self, send: Send) -> Send:
        """What the application answers to a body that was cut is not sent."""

        async def sending(message: MutableMapping[str, Any]) -> None:
            if not self.cut:
                await send(message)

        return sending


async def _refuse(send: Send, status: int) -> None:
    await send({"type": "http.response.start", "status": status, "headers": [(b"content-length", b"0")]})
    await send({"type": "http.response.body", "body": b""})


def _peer(scope: Scope) -> str:
    client = scope.get("client")
    return str(client[0]) if client else "?"
