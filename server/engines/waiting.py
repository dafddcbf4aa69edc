"""Who asks SuperLink for messages waits for them there, instead of asking again and again.

Flower's nodes and ServerApp ask every few seconds and are told at once that there is nothing. Here the answer to such a
question is kept back until something was pushed for whoever asks, or some seconds have passed: a message is under way
within a tenth of a second, and idle nodes cost almost nothing. A question is put to SuperLink itself before and after
the wait, so that SuperLink alone decides who gets what. The same holds for the pieces of a message, which are asked for
while its sender still pushes them.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Hashable, Iterator
from dataclasses import dataclass

from anyio import to_thread
from flwr.proto.fleet_pb2 import PullMessagesRequest
from flwr.proto.message_pb2 import PullObjectRequest, PushObjectRequest
from flwr.proto.runtime_pb2 import PushAppMessagesRequest
from google.protobuf.message import DecodeError, Message

from clients.flower.kept_answer import (
    Application,
    KeptAnswer,
    Receive,
    Scope,
    Send,
    asked,
    replayed,
    says_not_yet,
    says_nothing,
    until_gone,
    whole_body,
)

NODE_WAITS_S = 20.0
"""Under the 30 s after which Flower's client gives up."""
SERVER_APP_WAITS_S = 0.3
"""Short: between two batches of messages it asks too, and pushes none meanwhile."""
OBJECT_WAITS_S = 10.0
"""A piece of a message, which is pushed right now."""

_QUIET_S, _LATEST_S = 0.05, 0.3  # what is pushed comes in pieces: wake when no more have come, or soon in any case
_THREADS = 1  # nearly every request writes, and SQLite's writers sleep while they wait for each other
_SERVER_APP = "server-app"
_FLEET = "/v1/fleet/"
_NODE_PULLS, _APP_PULLS = "/v1/fleet/pull-messages", "/v1/runtime/pull-messages"
_APP_MESSAGES, _NODE_MESSAGES = "/v1/runtime/push-messages", "/v1/fleet/push-messages"
_OBJECT_PULLS = frozenset({"/v1/runtime/pull-object", "/v1/fleet/pull-object"})
_OBJECT_PUSHES = frozenset({"/v1/runtime/push-object", "/v1/fleet/push-object"})


@dataclass(frozen=True)
class _Patience:
    """How a question waits.

    Attributes:
        most_s: for how long.
        who: whose bell wakes it, by the question's body.
        is_nothing: whether an answer is one to wait after.
    """

    most_s: float
    who: Callable[[bytes], Hashable]
    is_nothing: Callable[[KeptAnswer], bool]


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

    def ring_now(self, who: Hashable) -> None:
        """Wake at once those who wait for this."""
        for event in self._waiting.get(who, ()):
            event.set()

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
            self.ring_now(who)
        self._rung.clear()


class Waiting:
    """An ASGI application around SuperLink's, inside the fence."""

    def __init__(
        self,
        inner: Application,
        node_waits_s: float = NODE_WAITS_S,
        server_app_waits_s: float = SERVER_APP_WAITS_S,
        object_waits_s: float = OBJECT_WAITS_S,
    ) -> None:
        self._inner, self.bells = inner, Bells()
        piece = _Patience(object_waits_s, _wanted_object, says_not_yet)
        self._patience = {
            _NODE_PULLS: _Patience(node_waits_s, _asking_node, says_nothing),
            _APP_PULLS: _Patience(server_app_waits_s, lambda _: _SERVER_APP, says_nothing),
            **dict.fromkeys(_OBJECT_PULLS, piece),
        }

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Hand on; what asks for messages waits, what pushes some wakes."""
        if scope["type"] == "lifespan":
            to_thread.current_default_thread_limiter().total_tokens = _THREADS
        path = scope["path"] if scope["type"] == "http" else ""
        if path in self._patience:
            await self._wait(scope, receive, send, self._patience[path])
        elif path == _APP_MESSAGES or path in _OBJECT_PUSHES:
            body = await whole_body(receive) or b""
            await self._inner(scope, replayed(body, receive), send)
            self._wake(path, body)
        else:
            await self._inner(scope, receive, send)
            if path == _NODE_MESSAGES:
                self.bells.ring({_SERVER_APP})

    def _wake(self, path: str, body: bytes) -> None:
        """Wake who waits for what was pushed, and put off whom other pieces are on their way to."""
        if path == _APP_MESSAGES:
            self.bells.ring(_addressed(body))
            return
        self.bells.ring({_SERVER_APP} if path.startswith(_FLEET) else set())
        request = PushObjectRequest()
        if _parsed(request, body):
            self.bells.ring_now(_Object(request.object_id))

    async def _wait(self, scope: Scope, receive: Receive, send: Send, patience: _Patience) -> None:
        body = await whole_body(receive)
        if body is None:
            return
        loop = asyncio.get_running_loop()
        until_s = loop.time() + patience.most_s
        gone = asyncio.ensure_future(until_gone(receive))
        try:
            with self.bells.bell(patience.who(body)) as bell:  # before the question, or it misses what comes meanwhile
                answer = await asked(self._inner, scope, receive, body)
                while patience.is_nothing(answer) and (left_s := until_s - loop.time()) > 0:
                    rung = asyncio.ensure_future(bell.wait())
                    await asyncio.wait({rung, gone}, timeout=left_s, return_when=asyncio.FIRST_COMPLETED)
                    rung.cancel()
                    if gone.done():
                        return
                    if not bell.is_set():
                        until_s = loop.time()  # one last question
                    bell.clear()
                    answer = await asked(self._inner, scope, receive, body)
        finally:
            gone.cancel()
        await answer.give(send)


@dataclass(frozen=True)
class _Object:
    """A piece of a message, as one whose bell rings."""

    object_id: str


def _wanted_object(body: bytes) -> Hashable:
    request = PullObjectRequest()
    return _Object(request.object_id) if _parsed(request, body) else None


def _asking_node(body: bytes) -> Hashable:
    request = PullMessagesRequest()
    return request.node.node_id if _parsed(request, body) else None


def _addressed(body: bytes) -> set[Hashable]:
    request = PushAppMessagesRequest()
    return {one.metadata.dst_node_id for one in request.messages_list} if _parsed(request, body) else set()


def _parsed(request: Message, body: bytes) -> bool:
    try:
        request.ParseFromString(body)
    except DecodeError:
        return False
    return True
