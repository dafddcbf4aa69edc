"""Who asks SuperLink for messages waits for them there, instead of asking again and again.

Flower's nodes and ServerApp ask every few seconds and are told at once that there is nothing. Here the answer to such a
question is kept back until something was pushed for whoever asks, or some seconds have passed: a message is under way
within a tenth of a second, and idle nodes cost almost nothing. A question is put to SuperLink itself before and after
the wait, so that SuperLink alone decides who gets what.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Hashable, Iterator, MutableMapping
from dataclasses import dataclass, field
from typing import Any

from anyio import to_thread
from flwr.proto.fleet_pb2 import PullMessagesRequest
from flwr.proto.runtime_pb2 import PushAppMessagesRequest
from google.protobuf.message import DecodeError, Message

from server.engines.fence import Application, Receive, Scope, Send

NODE_WAITS_S = 20.0
"""Under the 30 s after which Flower's client gives up."""
SERVER_APP_WAITS_S = 0.3
"""Short: between two batches of messages it asks too, and pushes none meanwhile."""

_QUIET_S, _LATEST_S = 0.05, 0.3  # what is pushed comes in pieces: wake when no more have come, or soon in any case
_THREADS = 1  # nearly every request writes, and SQLite's writers sleep while they wait for each other
_SERVER_APP = "server-app"
_NODE_PULLS, _APP_PULLS = "/v1/fleet/pull-messages", "/v1/runtime/pull-messages"
_APP_PUSHES = frozenset({"/v1/runtime/push-messages", "/v1/runtime/push-object"})
_NODE_PUSHES = frozenset({"/v1/fleet/push-messages", "/v1/fleet/push-object"})


@dataclass
class _Answer:
    """What the application answers, kept back."""

    parts: list[MutableMapping[str, Any]] = field(default_factory=list)

    async def send(self, message: MutableMapping[str, Any]) -> None:
        self.parts.append(message)

    @property
    def is_nothing(self) -> bool:
        """Whether it says that there are no messages: success, and an empty body."""
        status = next((one["status"] for one in self.parts if one["type"] == "http.response.start"), 0)
        return status == 200 and not any(one.get("body") for one in self.parts)


class Bells:
    """Wakes those for whom something was pushed, once its pieces have stopped coming. Nobody else is remembered."""

    def __init__(self) -> None:
        self._waiting = dict[Hashable, set[asyncio.Event]]()
        self._rung = set[Hashable]()
        self._timer: asyncio.TimerHandle | None = None
        self._first_s = 0.0

    def ring(self, whom: set[Hashable]) -> None:
        """Wake them soon; with nobody named, put off waking those who were."""
        loop = asyncio.get_running_loop()
        if not self._rung:
            self._first_s = loop.time()
        self._rung |= whom
        if self._rung:
            if self._timer is not None:
                self._timer.cancel()
            at_s = min(loop.time() + _QUIET_S, self._first_s + _LATEST_S)
            self._timer = loop.call_at(at_s, self._wake)

    @contextlib.contextmanager
    def bell(self, who: Hashable) -> Iterator[asyncio.Event]:
        """Is set when something was pushed for `who` from now on."""
        event = asyncio.Event()
        self._waiting.setdefault(who, set()).add(event)
        try:
            yield event
        finally:
            left = self._waiting.get(who, set())
            left.discard(event)
            if not left:
                self._waiting.pop(who, None)

    @property
    def count(self) -> int:
        """How many are waited for."""
        return len(self._waiting)

    def _wake(self) -> None:
        for who in self._rung:
            for event in self._waiting.get(who, ()):
                event.set()
        self._rung.clear()


class Waiting:
    """An ASGI application around SuperLink's, inside the fence."""

    def __init__(
        self,
        inner: Application,
        node_waits_s: float = NODE_WAITS_S,
        server_app_waits_s: float = SERVER_APP_WAITS_S,
    ) -> None:
        self._inner, self.bells = inner, Bells()
        self._node_waits_s, self._server_app_waits_s = node_waits_s, server_app_waits_s

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Hand on; what asks for messages waits, what pushes some wakes."""
        if scope["type"] == "lifespan":
            to_thread.current_default_thread_limiter().total_tokens = _THREADS
        path = scope["path"] if scope["type"] == "http" else ""
        if path == _NODE_PULLS:
            await self._wait(scope, receive, send, self._node_waits_s, _asking_node)
        elif path == _APP_PULLS:
            await self._wait(scope, receive, send, self._server_app_waits_s, lambda _: _SERVER_APP)
        elif path in _APP_PUSHES:
            body = await _whole(receive)
            await self._inner(scope, _replayed(body or b"", receive), send)
            self.bells.ring(_addressed(path, body or b""))
        else:
            await self._inner(scope, receive, send)
            if path in _NODE_PUSHES:
                self.bells.ring({_SERVER_APP})

    async def _wait(self, scope: Scope, receive: Receive, send: Send, most_s: float, who: Any) -> None:
        body = await _whole(receive)
        if body is None:
            return
        loop = asyncio.get_running_loop()
        until_s = loop.time() + most_s
        gone = asyncio.ensure_future(_gone(receive))
        try:
            with self.bells.bell(who(body)) as bell:  # before the question, or what is pushed meanwhile wakes nobody
                answer = await self._kept(scope, receive, body, bell)
                while answer.is_nothing and (left_s := until_s - loop.time()) > 0:
                    rung = asyncio.ensure_future(bell.wait())
                    await asyncio.wait({rung, gone}, timeout=left_s, return_when=asyncio.FIRST_COMPLETED)
                    rung.cancel()
                    if gone.done():
                        return
                    if not bell.is_set():
                        until_s = loop.time()  # one last question
                    answer = await self._kept(scope, receive, body, bell)
        finally:
            gone.cancel()
        for part in answer.parts:
            await send(part)

    async def _kept(self, scope: Scope, receive: Receive, body: bytes, bell: asyncio.Event) -> _Answer:
        bell.clear()
        answer = _Answer()
        await self._inner({**scope, "state": dict(scope.get("state", {}))}, _replayed(body, receive), answer.send)
        return answer


async def _whole(receive: Receive) -> bytes | None:
    """A request's body; None if its sender has gone."""
    parts = []
    while True:
        message = await receive()
        if message["type"] != "http.request":
            return None
        parts.append(message.get("body", b""))
        if not message.get("more_body"):
            return b"".join(parts)


def _replayed(body: bytes, receive: Receive) -> Receive:
    """Gives a body that was read already."""
    left = [body]

    async def again() -> MutableMapping[str, Any]:
        if left:
            return {"type": "http.request", "body": left.pop(), "more_body": False}
        await asyncio.sleep(3600)  # the peer's leaving is watched elsewhere
        return {"type": "http.disconnect"}

    return again


async def _gone(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


def _asking_node(body: bytes) -> Hashable:
    request = PullMessagesRequest()
    return request.node.node_id if _parsed(request, body) else None


def _addressed(path: str, body: bytes) -> set[Hashable]:
    request = PushAppMessagesRequest()
    if not path.endswith("/push-messages") or not _parsed(request, body):
        return set()
    return {one.metadata.dst_node_id for one in request.messages_list}


def _parsed(request: Message, body: bytes) -> bool:
    try:
        request.ParseFromString(body)
    except DecodeError:
        return False
    return True
