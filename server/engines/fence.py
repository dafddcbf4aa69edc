"""The fence: what of SuperLink's one application answers whom.

SuperLink serves its three APIs as one application, and leaves two of them to whoever reaches the port. Here each of two
listeners has a side of the fence as its own application, so nothing in a request can choose: members reach Flower's
Fleet API and nothing else, and are known by their key's signature before a byte of a body is read; this machine's own
processes reach the rest, and the Control API only with the secret of this home.
"""

from __future__ import annotations

import asyncio
import hmac
import logging
from collections.abc import Awaitable, Callable, MutableMapping, Sequence
from typing import Any

from clients.flower.kept_answer import Application, Receive, Scope, Send
from server.engines.flower_home import SECRET_HEADER

MOST_BODY_BYTES = 64 << 20
"""Of one request from outside that pushes something. Flower cuts messages into objects of at most a few megabytes."""
MOST_QUESTION_BYTES = 64 << 10
"""Of one request from outside that pushes nothing."""
MOST_BYTES_UNDER_WAY = 256 << 20
"""Of the bodies of all requests from outside at once."""
BODY_WITHIN_S = 120.0
"""From a request's headers to the end of its body."""

Member = Callable[[Sequence[tuple[bytes, bytes]]], Awaitable[bytes | None]]
"""The registered key that signed a request's headers, or None."""
Room = Callable[[tuple[str, int] | None, bytes], bool]
"""Whether a connection may be one more of those of a key."""

_FLEET, _RUNTIME, _CONTROL, _HEALTH = "/v1/fleet/", "/v1/runtime/", "/v1/control/", "/health"
_SECRET_BYTES = 32
_PUSHES = frozenset({"/v1/fleet/push-messages", "/v1/fleet/push-object"})

log = logging.getLogger("artesian.fence")


class Fence:
    """Two ASGI applications around SuperLink's: `outside` for members, `inside` for this machine's own processes.

    Args:
        inner: SuperLink's application.
        secret: who shows it may use the Control API; 32 bytes.
        member: knows members by the headers of their requests.
        room: see `Room`.
        most_bytes, most_question_bytes, most_under_way, body_within_s: limits of requests' bodies, for members.

    Raises:
        ValueError: the secret is shorter.
    """

    def __init__(
        self,
        inner: Application,
        secret: bytes,
        member: Member,
        room: Room = lambda _peer, _key: True,
        *,
        most_bytes: int = MOST_BODY_BYTES,
        most_question_bytes: int = MOST_QUESTION_BYTES,
        most_under_way: int = MOST_BYTES_UNDER_WAY,
        body_within_s: float = BODY_WITHIN_S,
    ) -> None:
        if len(secret) < _SECRET_BYTES:
            raise ValueError("the secret of the Control API is too short")
        self._inner, self._secret = inner, secret.hex().encode()
        self._member, self._room = member, room
        self._most_bytes, self._most_question_bytes = most_bytes, most_question_bytes
        self._body_within_s, self._budget = body_within_s, _Budget(most_under_way)

    async def inside(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Let a request of this machine through, or answer 401 (Control API without the secret) or 404."""
        if scope["type"] == "lifespan":
            await self._inner(scope, receive, send)
        elif scope["type"] != "http":
            await _close(scope, send)
        else:
            await self._from_inside(scope, receive, send)

    async def outside(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Let a member's request through, or answer 404 (another path), 401 (no registered key's signature), 429 (too
        many connections) or 413 (too large, too slow, or too much under way)."""
        if scope["type"] != "http":
            await _close(scope, send)
            return
        if not scope["path"].startswith(_FLEET):
            log.warning("refused %s %s from %s: outside the fence", scope["method"], scope["path"][:200], _peer(scope))
            await _refuse(send, 404)
            return
        try:
            key = await self._member(scope["headers"])
        except Exception:
            log.exception("cannot tell who is registered")
            await _refuse(send, 503)
            return
        if key is None:
            log.warning("refused %s from %s: no registered key has signed it", scope["path"][:200], _peer(scope))
            await _refuse(send, 401)
        elif not self._room(_address(scope), key):
            log.warning("refused %s from %s: its key has too many connections", scope["path"][:200], _peer(scope))
            await _refuse(send, 429)
        else:
            await self._from_member(scope, receive, send)

    async def _from_member(self, scope: Scope, receive: Receive, send: Send) -> None:
        most_bytes = self._most_bytes if scope["path"] in _PUSHES else self._most_question_bytes
        body = _Bounded(receive, most_bytes, self._body_within_s, self._budget)
        try:
            await self._inner(scope, body, body.watched(send))
        except Exception:
            if not body.cut:
                raise
        finally:
            body.release()
        if body.cut:
            log.warning("refused %s from %s: too large or too slow", scope["path"][:200], _peer(scope))
            await _refuse(send, 413)

    async def _from_inside(self, scope: Scope, receive: Receive, send: Send) -> None:
        path = scope["path"]
        if path.startswith(_CONTROL) and not self._has_secret(scope):
            log.warning("refused %s %s on loopback: without this home's secret", scope["method"], path[:200])
            await _refuse(send, 401)
        elif path.startswith((_CONTROL, _RUNTIME, _FLEET)) or path == _HEALTH:
            # The Runtime API asks for the executor's signature or a task's token itself.
            await self._inner(scope, receive, send)
        else:
            await _refuse(send, 404)

    def _has_secret(self, scope: Scope) -> bool:
        shown = [value for name, value in scope["headers"] if name == SECRET_HEADER.encode()]
        return len(shown) == 1 and hmac.compare_digest(shown[0], self._secret)


class _Budget:
    """Bytes that all requests share."""

    def __init__(self, left: int) -> None:
        self.left = left


class _Bounded:
    """A request's body, which is cut, as if the peer had gone, when it grows too large or takes too long."""

    def __init__(self, receive: Receive, most_bytes: int, within_s: float, budget: _Budget) -> None:
        self._receive, self._left, self._until_s = receive, most_bytes, asyncio.get_running_loop().time() + within_s
        self._budget, self._taken = budget, 0
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
        size = len(message.get("body", b""))
        self._left -= size
        if self._left < 0 or size > self._budget.left:
            return self._end()
        self._budget.left -= size
        self._taken += size
        self._whole = not message.get("more_body", False)
        return message

    def _end(self) -> MutableMapping[str, Any]:
        self.cut = True
        return {"type": "http.disconnect"}

    def release(self) -> None:
        """Give back what this body took of the budget."""
        self._budget.left += self._taken
        self._taken = 0

    def watched(self, send: Send) -> Send:
        """What the application answers to a body that was cut is not sent."""

        async def sending(message: MutableMapping[str, Any]) -> None:
            if not self.cut:
                await send(message)

        return sending


_LAST = [(b"content-length", b"0"), (b"connection", b"close")]


async def _close(scope: Scope, send: Send) -> None:
    log.warning("refused a %s from %s", scope["type"], _peer(scope))
    await send({"type": "websocket.close", "code": 1008})


async def _refuse(send: Send, status: int) -> None:
    await send({"type": "http.response.start", "status": status, "headers": _LAST})
    await send({"type": "http.response.body", "body": b""})


def _address(scope: Scope) -> tuple[str, int] | None:
    client = scope.get("client")
    return (str(client[0]), int(client[1])) if client else None


def _peer(scope: Scope) -> str:
    client = scope.get("client")
    return str(client[0]) if client else "?"
