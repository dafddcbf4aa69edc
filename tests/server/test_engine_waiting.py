"""Who asks for messages is kept waiting until there are some, and SuperLink alone says what they are."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, MutableMapping
from typing import Any

import pytest
from flwr.proto.fleet_pb2 import PullMessagesRequest
from flwr.proto.message_pb2 import Message as FlowerMessage
from flwr.proto.message_pb2 import Metadata, PullObjectRequest, PullObjectResponse, PushObjectRequest
from flwr.proto.node_pb2 import Node
from flwr.proto.runtime_pb2 import PushAppMessagesRequest

from server.engines.lighter_state import CLEANS_EVERY_S, seldom
from server.engines.waiting import Waiting

Part = MutableMapping[str, Any]
PULL, PUSH = "/v1/fleet/pull-messages", "/v1/runtime/push-messages"
ASK, REPLY = "/v1/runtime/pull-messages", "/v1/fleet/push-messages"
SIDES = ["/v1/fleet/", "/v1/runtime/"]


class World:
    """An application with mail for some nodes, and those who ask it."""

    def __init__(self, **waits: float) -> None:
        self.mail = dict[str, bytes]()
        self.asked = list[str]()
        self.status = 200
        self.app = Waiting(self._inner, **waits)

    async def _inner(self, scope: Part, receive: Any, send: Any) -> None:
        body = (await receive())["body"]
        path = scope["path"]
        self.asked.append(path)
        key = f"{path}:{PullMessagesRequest.FromString(body).node.node_id}" if path == PULL else path
        content = self.mail.pop(key, b"") if path in (PULL, ASK) else b"stored"
        await send({"type": "http.response.start", "status": self.status, "headers": []})
        await send({"type": "http.response.body", "body": content})

    async def ask(self, path: str, body: bytes = b"", leaves: asyncio.Event | None = None) -> bytes | None:
        """The answer's body; None if there was none."""
        sent = list[Part]()
        first = [body]

        async def receive() -> Part:
            if first:
                return {"type": "http.request", "body": first.pop(), "more_body": False}
            await (leaves or asyncio.Event()).wait()
            return {"type": "http.disconnect"}

        async def send(part: Part) -> None:
            sent.append(part)

        await self.app({"type": "http", "path": path, "state": {}}, receive, send)
        return b"".join(one.get("body", b"") for one in sent) if sent else None

    async def pull(self, node: int, leaves: asyncio.Event | None = None) -> bytes | None:
        return await self.ask(PULL, PullMessagesRequest(node=Node(node_id=node)).SerializeToString(), leaves)

    async def push(self, node: int, content: bytes) -> None:
        self.mail[f"{PULL}:{node}"] = content
        request = PushAppMessagesRequest(messages_list=[FlowerMessage(metadata=Metadata(dst_node_id=node))])
        await self.ask(PUSH, request.SerializeToString())


def play(story: Callable[[], Coroutine[Any, Any, None]]) -> None:
    asyncio.run(asyncio.wait_for(story(), 20))


def test_a_message_reaches_the_node_that_waits_for_it_and_wakes_no_other() -> None:
    world = World(node_waits_s=15.0)

    async def story() -> None:
        first, second = (asyncio.create_task(world.pull(node)) for node in (1, 2))
        await asyncio.sleep(0.01)
        assert world.asked == [PULL, PULL]
        await world.push(1, b"a message")
        assert await first == b"a message"
        assert not second.done()
        assert world.asked == [PULL, PULL, PUSH, PULL]
        second.cancel()

    play(story)


def test_what_is_there_already_is_given_at_once() -> None:
    world = World(node_waits_s=15.0)

    async def story() -> None:
        world.mail[f"{PULL}:1"] = b"a message"
        assert await world.pull(1) == b"a message"

    play(story)


def test_when_nothing_comes_there_is_one_last_question() -> None:
    world = World(node_waits_s=0.02)

    async def story() -> None:
        assert await world.pull(1) == b""
        assert world.asked == [PULL, PULL]

    play(story)


def test_a_refusal_is_not_kept_back() -> None:
    world = World(node_waits_s=15.0)
    world.status = 401

    async def story() -> None:
        assert await world.pull(1) == b""
        assert world.asked == [PULL]

    play(story)


def test_nobody_is_remembered_after_their_question() -> None:
    world = World(node_waits_s=0.01)

    async def story() -> None:
        for node in range(5):
            await world.pull(node)
        world.status = 401
        for node in range(5, 10):
            await world.pull(node)
        leaves = asyncio.Event()
        leaves.set()
        await world.pull(11, leaves)
        assert world.app.bells.count == 0

    play(story)


def test_who_names_another_node_takes_no_waking_from_it() -> None:
    world = World(node_waits_s=15.0)

    async def story() -> None:
        waiting = asyncio.create_task(world.pull(1))
        await asyncio.sleep(0.01)
        world.status = 401
        await world.pull(1)
        world.status = 200
        await world.push(1, b"a message")
        assert await waiting == b"a message"

    play(story)


def test_a_reply_wakes_the_server_app() -> None:
    world = World(server_app_waits_s=15.0)

    async def story() -> None:
        waiting = asyncio.create_task(world.ask(ASK))
        await asyncio.sleep(0.01)
        world.mail[ASK] = b"a reply"
        await world.ask(REPLY)
        assert await waiting == b"a reply"

    play(story)


def test_a_node_that_has_gone_takes_no_message_with_it() -> None:
    world = World(node_waits_s=15.0)

    async def story() -> None:
        leaves = asyncio.Event()
        waiting = asyncio.create_task(world.pull(1, leaves))
        await asyncio.sleep(0.01)
        leaves.set()
        assert await waiting is None
        await world.push(1, b"a message")
        assert await world.pull(1) == b"a message"

    play(story)


class Pieces:
    """An application that knows of some pieces of messages, and has what was pushed of them."""

    def __init__(self, object_waits_s: float, known: tuple[str, ...] = ("a",)) -> None:
        self.known, self.there = known, dict[str, bytes]()
        self.asked = list[str]()
        self.world = World()
        self.world.app = Waiting(self._inner, object_waits_s=object_waits_s)

    async def _inner(self, scope: Part, receive: Any, send: Any) -> None:
        body = (await receive())["body"]
        answer = b""
        if scope["path"].endswith("/push-object"):
            pushed = PushObjectRequest.FromString(body)
            self.there[pushed.object_id] = pushed.object_content
        else:
            wanted = PullObjectRequest.FromString(body).object_id
            self.asked.append(wanted)
            found, content = wanted in self.known, self.there.get(wanted, b"")
            said = PullObjectResponse(object_found=found, object_available=bool(content), object_content=content)
            answer = said.SerializeToString()
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": answer})

    async def pull(self, side: str, name: str) -> PullObjectResponse:
        answer = await self.world.ask(side + "pull-object", PullObjectRequest(object_id=name).SerializeToString())
        assert answer is not None
        return PullObjectResponse.FromString(answer)

    async def push(self, side: str, name: str, content: bytes) -> None:
        request = PushObjectRequest(object_id=name, object_content=content)
        await self.world.ask(side + "push-object", request.SerializeToString())


@pytest.mark.parametrize(("pushes", "pulls"), [SIDES, SIDES[::-1]])
def test_a_piece_of_a_message_is_waited_for_while_it_is_pushed(pushes: str, pulls: str) -> None:
    pieces = Pieces(15.0, ("a", "b"))

    async def story() -> None:
        first, second = (asyncio.create_task(pieces.pull(pulls, name)) for name in "ab")
        await asyncio.sleep(0.01)
        assert pieces.asked == ["a", "b"]
        await pieces.push(pushes, "b", b"content")
        assert (await second).object_content == b"content"
        assert not first.done()
        assert pieces.asked == ["a", "b", "b"]
        first.cancel()

    play(story)


def test_a_piece_that_does_not_come_is_answered_as_superlink_does() -> None:
    pieces = Pieces(0.02)

    async def story() -> None:
        said = await pieces.pull(SIDES[0], "a")
        assert (said.object_found, said.object_available) == (True, False)
        assert pieces.asked == ["a", "a"]
        assert pieces.world.app.bells.count == 0

    play(story)


def test_a_piece_that_nobody_knows_is_not_waited_for() -> None:
    pieces = Pieces(15.0)

    async def story() -> None:
        assert not (await pieces.pull(SIDES[0], "c")).object_found
        assert pieces.asked == ["c"]

    play(story)


def test_dead_tasks_are_looked_for_seldom() -> None:
    now_s, looked = [0.0], list[object]()
    method = seldom(looked.append, lambda: now_s[0])
    for _ in range(5):
        method("state")
    now_s[0] = CLEANS_EVERY_S
    method("state")
    assert looked == ["state", "state"]
