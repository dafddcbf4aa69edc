"""The fence: by which listener a request came in decides what it reaches; nothing in the request does."""

import asyncio
from collections.abc import MutableMapping, Sequence
from typing import Any

import pytest

from server.engines.fence import Fence
from server.engines.flower_home import SECRET_HEADER

INSIDE, OUTSIDE = "inside", "outside"
SIGNED = (b"flwr-signature", b"a member's")
SECRET = bytes(range(32))
Message = MutableMapping[str, Any]


class World:
    """Asks a fence, and notes what got through it."""

    def __init__(self, **limits: Any) -> None:
        self.reached = list[str]()
        self.fence = Fence(self._inner, SECRET, self._member, **limits)
        self.read = 0

    async def _member(self, headers: Sequence[tuple[bytes, bytes]]) -> bytes | None:
        return b"key" if SIGNED in headers else None

    async def _inner(self, scope: Message, receive: Any, send: Any) -> None:
        while True:
            message = await receive()
            if message["type"] == "http.disconnect":
                raise ConnectionError("the peer has gone")
            if not message.get("more_body"):
                break
        self.reached.append(scope["path"])
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b""})

    def ask(
        self,
        path: str,
        side: str,
        *bodies: bytes,
        secret: bytes | None = None,
        pause_s: float = 0,
        port: int | None = 5,
        signed: bool = True,
    ) -> int:
        """The status of the answer to a request; a pause comes before each part of its body."""
        return asyncio.run(self.asked(path, side, *bodies, secret=secret, pause_s=pause_s, port=port, signed=signed))

    async def asked(
        self,
        path: str,
        side: str,
        *bodies: bytes,
        secret: bytes | None = None,
        pause_s: float = 0,
        port: int | None = 5,
        signed: bool = True,
    ) -> int:
        """As `ask`."""
        headers = [(SECRET_HEADER.encode(), secret.hex().encode())] if secret is not None else []
        headers += [SIGNED] if signed else []
        server = ("203.0.113.1", port) if port else None
        scope = {"type": "http", "method": "POST", "path": path, "server": server, "client": None, "headers": headers}
        left, sent = list(bodies) or [b""], list[Message]()

        async def receive() -> Message:
            await asyncio.sleep(pause_s)
            self.read += 1
            return {"type": "http.request", "body": left.pop(0), "more_body": bool(left)}

        async def send(message: Message) -> None:
            sent.append(message)

        await getattr(self.fence, side)(scope, receive, send)
        return int(sent[0]["status"])


ELSEWHERE = ["/v1/control/start-run", "/v1/runtime/acquire-task", "/health", "/docs", "/", "/v1/fleet", "/v1/fleetx/a"]


@pytest.mark.parametrize("path", [*ELSEWHERE, "/v1/control/../fleet/pull-messages", "//v1/fleet/pull-messages"])
@pytest.mark.parametrize("secret", [None, SECRET])
def test_members_reach_nothing_but_the_fleet_api(path: str, secret: bytes | None) -> None:
    world = World()
    assert world.ask(path, OUTSIDE, secret=secret) == 404
    assert world.ask(path, OUTSIDE, secret=secret, port=None) == 404
    assert world.reached == []


def test_members_reach_the_fleet_api() -> None:
    world = World()
    assert world.ask("/v1/fleet/pull-messages", OUTSIDE, b"body") == 200
    assert world.reached == ["/v1/fleet/pull-messages"]


@pytest.mark.parametrize("secret", [None, b"", SECRET[:31], bytes(32)])
def test_the_control_api_asks_for_the_secret_of_this_home(secret: bytes | None) -> None:
    world = World()
    assert world.ask("/v1/control/start-run", INSIDE, secret=secret) == 401
    assert world.reached == []
    assert world.ask("/v1/control/start-run", INSIDE, secret=SECRET) == 200


def test_no_fence_stands_with_an_empty_secret() -> None:
    world = World()
    for secret in (b"", SECRET[:31]):
        with pytest.raises(ValueError, match="secret"):
            Fence(world._inner, secret, world._member)


def test_the_runtime_api_is_open_on_loopback_since_it_asks_for_a_signature_itself() -> None:
    world = World()
    assert world.ask("/v1/runtime/acquire-task", INSIDE) == 200
    assert world.ask("/docs", INSIDE) == 404


def test_nothing_of_a_body_is_read_before_a_registered_key_has_signed() -> None:
    world = World()
    assert world.ask("/v1/fleet/push-object", OUTSIDE, b"body", signed=False) == 401
    assert (world.reached, world.read) == ([], 0)


def test_when_nobody_knows_who_is_registered_nobody_gets_in() -> None:
    async def unknown(_: object) -> bytes | None:
        raise OSError("the database is away")

    world = World()
    world.fence = Fence(world._inner, SECRET, unknown)
    assert world.ask("/v1/fleet/pull-messages", OUTSIDE) == 503
    assert world.reached == []


def test_a_key_with_too_many_connections_gets_no_more() -> None:
    world = World(room=lambda _peer, key: key != b"key")
    assert world.ask("/v1/fleet/pull-messages", OUTSIDE) == 429
    assert world.reached == []


def test_bodies_share_one_budget_and_give_it_back() -> None:
    world = World(most_under_way=10)

    async def story() -> list[int]:
        slow = asyncio.create_task(world.asked("/v1/fleet/push-object", OUTSIDE, b"123456", b"", pause_s=0.05))
        await asyncio.sleep(0.07)
        return [await world.asked("/v1/fleet/push-object", OUTSIDE, b"12345"), await slow]

    assert asyncio.run(story()) == [413, 200]
    assert world.ask("/v1/fleet/push-object", OUTSIDE, b"1234567890") == 200


def test_who_pushes_nothing_has_little_to_say() -> None:
    world = World(most_question_bytes=4)
    assert world.ask("/v1/fleet/pull-messages", OUTSIDE, b"12345") == 413
    assert world.ask("/v1/fleet/push-messages", OUTSIDE, b"12345") == 200


def test_a_body_that_is_too_large_is_cut() -> None:
    world = World(most_bytes=10)
    assert world.ask("/v1/fleet/push-object", OUTSIDE, b"12345", b"67890") == 200
    assert world.ask("/v1/fleet/push-object", OUTSIDE, b"12345", b"678901") == 413
    assert len(world.reached) == 1


def test_a_body_that_does_not_come_is_given_up() -> None:
    world = World(body_within_s=0.01)
    assert world.ask("/v1/fleet/push-object", OUTSIDE, b"12345", pause_s=0.2) == 413
    assert world.reached == []


def test_no_web_socket_gets_through() -> None:
    world, sent = World(), list[Message]()

    async def send(message: Message) -> None:
        sent.append(message)

    for side in (world.fence.inside, world.fence.outside):
        asyncio.run(side({"type": "websocket", "path": "/v1/fleet/x"}, send, send))  # type: ignore[arg-type]
    assert [one["type"] for one in sent] == ["websocket.close"] * 2
    assert world.reached == []
