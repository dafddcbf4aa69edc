"""The public listener: strangers have little room and little time, members theirs, and loopback all of its."""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import Callable

from server.engines.doorway import Doorway, Strangers

HOST = "127.0.0.1"


class Later:
    """Notes what is to be done later, and does it when told."""

    def __init__(self) -> None:
        self.waiting = list[Callable[[], None]]()

    def __call__(self, _within_s: float, act: Callable[[], None]) -> Later.Entry:
        self.waiting.append(act)
        return Later.Entry(self, act)

    class Entry:
        def __init__(self, later: Later, act: Callable[[], None]) -> None:
            self._later, self._act = later, act

        def cancel(self) -> None:
            if self._act in self._later.waiting:
                self._later.waiting.remove(self._act)


class World:
    """Strangers, and who was shown out."""

    def __init__(self, **limits: int) -> None:
        self.later, self.ended = Later(), list[int]()
        self.strangers = Strangers(**limits, later=self.later)  # type: ignore[arg-type]

    def come(self, number: int, host: str = "a") -> None:
        self.strangers.came((host, number), lambda: self.ended.append(number))


def test_one_address_has_little_room_and_its_own_strangers_make_it() -> None:
    """A member behind an address with idle strangers gets in, and nobody behind another goes for it."""
    world = World(most_of_one=2)
    world.come(9, "b")
    for number in range(3):
        world.come(number)
    assert world.ended == [0]
    assert world.strangers.is_member(("a", 2), b"key")
    world.come(3)
    assert (world.ended, world.strangers.count) == ([0], 3)


def test_when_all_room_is_taken_the_first_one_goes_so_that_a_member_gets_in() -> None:
    world = World(most=2, most_of_one=2)
    for number in range(3):
        world.come(number, str(number))
    assert world.ended == [0]
    assert world.strangers.count == 2


def test_a_stranger_is_shown_out_in_time_and_a_member_is_not() -> None:
    world = World()
    world.come(1)
    world.come(2)
    assert world.strangers.is_member(("a", 2), b"key")
    for act in list(world.later.waiting):
        act()
    assert world.ended == [1]


def test_members_take_no_room_of_their_address_but_each_key_has_its_own() -> None:
    world = World(most_of_one=1, most_of_a_member=2)
    for number in range(3):
        world.come(number)
        assert world.strangers.is_member(("a", number), b"first" if number < 2 else b"second")
    world.come(3)
    assert not world.strangers.is_member(("a", 3), b"first")
    world.strangers.gone(("a", 0))
    assert world.strangers.is_member(("a", 3), b"first")


async def _answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.read(1)
    writer.write(b"yes")
    writer.close()


def _ask(port: int) -> bytes:
    with socket.create_connection((HOST, port), timeout=5) as one:
        one.sendall(b"?")
        return one.recv(10)


def test_idle_connections_are_closed_and_the_other_listener_knows_nothing_of_them() -> None:
    async def story() -> None:
        strangers = Strangers(most=8, most_of_one=4, within_s=0.2)
        door, inner = Doorway(HOST, 0, strangers), socket.create_server((HOST, 0))
        port, inner_port = door.getsockname()[1], inner.getsockname()[1]
        outside, inside = (
            await asyncio.start_server(_answer, sock=door),
            await asyncio.start_server(_answer, sock=inner),
        )
        idle = [await asyncio.open_connection(HOST, port) for _ in range(6)]
        assert await asyncio.to_thread(_ask, inner_port) == b"yes"
        assert strangers.count == 4
        assert [await one.read() for one, _ in idle] == [b""] * 6
        await asyncio.sleep(0.05)
        assert strangers.count == 0
        assert await asyncio.to_thread(_ask, port) == b"yes"
        for _, writer in idle:
            writer.close()
        outside.close()
        inside.close()

    asyncio.run(asyncio.wait_for(story(), 10))


def test_a_handshake_that_does_not_come_is_given_up() -> None:
    async def story() -> None:
        strangers = Strangers(within_s=0.1)
        door = Doorway(HOST, 0, strangers)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        server = await asyncio.start_server(_answer, sock=door, ssl=context)
        reader, writer = await asyncio.open_connection(HOST, door.getsockname()[1])
        assert await reader.read() == b""
        writer.close()
        await asyncio.sleep(0.05)
        assert strangers.count == 0
        server.close()

    asyncio.run(asyncio.wait_for(story(), 10))
