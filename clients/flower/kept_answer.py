"""Answers of an ASGI application that are kept back, so that its question can be put again before it is answered."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, MutableMapping
from dataclasses import dataclass, field
from typing import Any

from flwr.proto.message_pb2 import PullObjectResponse
from google.protobuf.message import DecodeError

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
Application = Callable[[Scope, Receive, Send], Awaitable[None]]


@dataclass
class KeptAnswer:
    """What an application answers, in its parts."""

    parts: list[MutableMapping[str, Any]] = field(default_factory=list)

    async def keep(self, message: MutableMapping[str, Any]) -> None:
        """In place of `send`."""
        self.parts.append(message)

    async def give(self, send: Send) -> None:
        """Send it on."""
        for part in self.parts:
            await send(part)

    @property
    def has_succeeded(self) -> bool:
        """Whether it says 200."""
        return any(one["type"] == "http.response.start" and one["status"] == 200 for one in self.parts)

    @property
    def body(self) -> bytes:
        """What it says."""
        return b"".join(one.get("body", b"") for one in self.parts)


def says_nothing(answer: KeptAnswer) -> bool:
    """Whether a question for messages was answered that there are none: success, and an empty body."""
    return answer.has_succeeded and not answer.body


def says_not_yet(answer: KeptAnswer) -> bool:
    """Whether a question for a piece of a message was answered that it is known, and not there yet.

    Flower's own clients ask again after a second, then after two, four, eight.
    """
    if not answer.has_succeeded or len(answer.body) > _NOT_YET_BYTES:
        return False
    try:
        said = PullObjectResponse.FromString(answer.body)
    except DecodeError:
        return False
    return said.object_found and not said.object_available


_NOT_YET_BYTES = 64  # what says it has two; what is there may be large, and is not parsed


async def asked(inner: Application, scope: Scope, receive: Receive, body: bytes) -> KeptAnswer:
    """Put a question, whose body was read already, to the application."""
    answer = KeptAnswer()
    await inner({**scope, "state": dict(scope.get("state", {}))}, replayed(body, receive), answer.keep)
    return answer


async def whole_body(receive: Receive) -> bytes | None:
    """A request's body; None if its sender has gone."""
    parts = []
    while True:
        message = await receive()
        if message["type"] != "http.request":
            return None
        parts.append(message.get("body", b""))
        if not message.get("more_body"):
            return b"".join(parts)


def replayed(body: bytes, receive: Receive) -> Receive:
    """Gives a body that was read already."""
    left = [body]

    async def again() -> MutableMapping[str, Any]:
        if left:
            return {"type": "http.request", "body": left.pop(), "more_body": False}
        await asyncio.sleep(3600)  # the peer's leaving is watched elsewhere
        return {"type": "http.disconnect"}

    return again


async def until_gone(receive: Receive) -> None:
    """Return when whoever asked has gone."""
    while (await receive())["type"] != "http.disconnect":
        pass
