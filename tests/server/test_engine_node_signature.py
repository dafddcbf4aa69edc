"""Who signed a request is known from its headers, for registered keys only."""

from __future__ import annotations

import asyncio
import datetime as dt
from base64 import b64encode

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from flwr.supercore.primitives.asymmetric import public_key_to_bytes, sign_message

from server.engines.node_signature import ASK_AGAIN_S, FRESH_S, Members, signer

NOW = dt.datetime(2026, 1, 2, 3, 4, 5, tzinfo=dt.UTC)
KEY, OTHER = (ec.generate_private_key(ec.SECP384R1()) for _ in range(2))
PUBLIC = public_key_to_bytes(KEY.public_key())


def headers(at: dt.datetime = NOW, key: ec.EllipticCurvePrivateKey = KEY, public: bytes = PUBLIC) -> dict[bytes, bytes]:
    stamp = at.isoformat()
    return {
        b"flwr-public-key": b64encode(public),
        b"flwr-timestamp": stamp.encode(),
        b"flwr-signature": b64encode(sign_message(key, stamp.encode())),
    }


def test_the_headers_of_flowers_own_client_say_who_it_is() -> None:
    assert signer(list(headers().items()), NOW) == PUBLIC


def test_another_key_an_old_stamp_and_damaged_headers_say_nothing() -> None:
    seconds = dt.timedelta(seconds=1)
    wrong = [
        headers(key=OTHER),
        headers(NOW - 306 * seconds),
        headers(NOW + 6 * seconds),
        headers(public=b"no key"),
        headers(public=b"x" * 5000),
        headers() | {b"flwr-signature": b"%%%"},
        headers() | {b"flwr-timestamp": b"2026-01-02T03:04:05"},
        headers() | {b"flwr-timestamp": "жук".encode()},
        *({name: value for name, value in headers().items() if name != left} for left in headers()),
    ]
    assert [signer(list(one.items()), NOW) for one in wrong] == [None] * len(wrong)
    assert signer([*headers().items(), (b"flwr-signature", b"")], NOW) is None


def test_an_ec_key_is_asked_for() -> None:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    pem = Ed25519PrivateKey.generate().public_key()
    text = pem.public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    assert signer(list(headers(public=text).items()), NOW) is None


class World:
    """Registered keys, how often they were asked for, and a clock."""

    def __init__(self, *keys: bytes) -> None:
        self.keys, self.reads, self.now_s = frozenset(keys), 0, 100.0
        self.shut_out = set[str]()
        self.members = Members(self._read, lambda: self.shut_out, lambda: NOW, lambda: self.now_s, self._sleep)

    async def _sleep(self, wait_s: float) -> None:
        self.now_s += wait_s

    async def _read(self) -> dict[bytes, str]:
        self.reads += 1
        await asyncio.sleep(0)
        return dict.fromkeys(self.keys, "firm-1")

    async def ask(self, key: ec.EllipticCurvePrivateKey = KEY) -> bool:
        public = public_key_to_bytes(key.public_key())
        return await self.members(list(headers(key=key, public=public).items())) == public


def test_only_registered_keys_are_members() -> None:
    world = World(PUBLIC)
    assert asyncio.run(world.ask())
    assert not asyncio.run(world.ask(OTHER))


def test_a_member_that_is_shut_out_is_none_from_its_next_request_on() -> None:
    world = World(PUBLIC)
    assert asyncio.run(world.ask())
    world.shut_out.add("firm-1")
    assert not asyncio.run(world.ask())
    world.shut_out.clear()
    assert asyncio.run(world.ask())


def test_strangers_cannot_make_it_ask_the_database_all_the_time() -> None:
    world = World(PUBLIC)

    async def story() -> None:
        assert await asyncio.gather(*(world.ask() for _ in range(5))) == [True] * 5
        assert world.reads == 1
        world.now_s += 0.25
        assert await asyncio.gather(*(world.ask(OTHER) for _ in range(20))) == [False] * 20
        assert world.now_s == 100 + ASK_AGAIN_S

    asyncio.run(story())
    assert world.reads == 2


@pytest.mark.parametrize("later_s", [0.5, 2.0, FRESH_S + 1])
def test_a_key_that_was_registered_meanwhile_gets_in_soon(later_s: float) -> None:
    world = World()

    async def story() -> None:
        assert not await world.ask()
        world.keys = frozenset([PUBLIC])
        world.now_s += later_s
        assert await world.ask()
        world.keys = frozenset()
        world.now_s += FRESH_S + 1
        assert not await world.ask()

    asyncio.run(story())
