"""The public listener: who has not shown to be a member gets little room and little time.

A connection counts from the moment that it is accepted, before its TLS handshake, and until it is closed. One that has
brought no request with a registered node's signature is a stranger: there may be a few from one address, a few hundred
in all, and each is closed after some seconds. When the room of an address, or all room, is full the stranger there that
came first goes, so that a member who comes meanwhile always gets in, also from behind an address with many strangers.
Members have room by key, not by address: many may come by one proxy.
The listener on loopback knows nothing of this.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
from collections import Counter
from collections.abc import Callable
from typing import Any

MOST_STRANGERS = 256
MOST_STRANGERS_OF_ONE = 64
"""From one address."""
STRANGER_S = 15.0
"""From accepting a connection to the headers of a request with a member's signature."""
MOST_OF_A_MEMBER = 16
"""Connections of one key; a SuperNode of ours holds two or three."""

_BACKLOG = 512

Peer = tuple[str, int]
Later = Callable[[float, Callable[[], None]], Any]

log = logging.getLogger("artesian.fence")


class Strangers:
    """Which connections of one listener are whose.

    Args:
        most, most_of_one, most_of_a_member, within_s: see the constants of this file.
        later: does something after some seconds, unless what it returns is cancelled; the running loop's if None.
    """

    def __init__(
        self,
        most: int = MOST_STRANGERS,
        most_of_one: int = MOST_STRANGERS_OF_ONE,
        most_of_a_member: int = MOST_OF_A_MEMBER,
        within_s: float = STRANGER_S,
        later: Later | None = None,
    ) -> None:
        self._most, self._most_of_one, self._most_of_a_member = most, most_of_one, most_of_a_member
        self._within_s, self._later = within_s, later
        self._strangers = dict[Peer, tuple[Callable[[], None], Any]]()  # in the order in which they came
        self._addresses = Counter[str]()
        self._members = dict[Peer, bytes]()
        self._keys = Counter[bytes]()

    @property
    def count(self) -> int:
        """How many strangers there are."""
        return len(self._strangers)

    def came(self, peer: Peer, end: Callable[[], None]) -> None:
        """Take in a new connection; `end` closes it."""
        if self._addresses[peer[0]] >= self._most_of_one:
            self._end(next(one for one in self._strangers if one[0] == peer[0]), "its address has too many")
        elif len(self._strangers) >= self._most:
            self._end(next(iter(self._strangers)), "there are too many")
        later = self._later or asyncio.get_running_loop().call_later
        timer = later(self._within_s, lambda: self._end(peer, "it showed no member's signature in time"))
        self._strangers[peer] = (end, timer)
        self._addresses[peer[0]] += 1

    def is_member(self, peer: Peer | None, key: bytes) -> bool:
        """Note that a connection brought a request signed with a registered key; False if that key has too many."""
        if peer is None or peer in self._members or peer not in self._strangers:
            return True
        if self._keys[key] >= self._most_of_a_member:
            return False
        self._forget_stranger(peer)
        self._members[peer] = key
        self._keys[key] += 1
        return True

    def gone(self, peer: Peer) -> None:
        """Forget a connection that is closed."""
        self._forget_stranger(peer)
        key = self._members.pop(peer, None)
        if key is not None:
            _less(self._keys, key)

    def _end(self, peer: Peer, why: str) -> None:
        end, _ = self._strangers[peer]
        log.info("closed a connection of %s: %s", peer[0], why)
        self._forget_stranger(peer)
        end()

    def _forget_stranger(self, peer: Peer) -> None:
        found = self._strangers.pop(peer, None)
        if found is not None:
            found[1].cancel()
            _less(self._addresses, peer[0])


class Doorway(socket.socket):
    """A listening socket, for asyncio's own loop, whose connections are counted.

    Raises:
        OSError: the address cannot be bound.
    """

    def __init__(self, host: str, port: int, strangers: Strangers) -> None:
        super().__init__(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_STREAM)
        self._strangers = strangers
        try:
            self.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            self.bind((host, port))
            self.listen(_BACKLOG)
            self.set_inheritable(False)
        except OSError:
            self.close()
            raise

    def accept(self) -> tuple[socket.socket, Any]:
        """As `socket.accept`."""
        plain, address = super().accept()
        visitor = _Visitor(plain, (address[0], address[1]), self._strangers)
        self._strangers.came(visitor.peer, visitor.end)
        return visitor, address


class _Visitor(socket.socket):
    """A connection that says when it is closed."""

    def __init__(self, plain: socket.socket, peer: Peer, strangers: Strangers) -> None:
        super().__init__(plain.family, plain.type, plain.proto, plain.detach())
        self.peer, self._strangers = peer, strangers

    def end(self) -> None:
        """Let whoever reads and writes it see that it is over."""
        with contextlib.suppress(OSError):
            self.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        """As `socket.close`."""
        if self.fileno() >= 0:
            self._strangers.gone(self.peer)
        super().close()


def _less(counts: Counter[Any], what: Any) -> None:
    counts[what] -= 1
    if counts[what] <= 0:
        del counts[what]
