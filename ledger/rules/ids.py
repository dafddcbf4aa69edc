"""An immutable set of record ids: 16 bytes each and little more, so that a million fit in a few dozen megabytes.

A trie over the ids' hexadecimal digits whose leaves are sorted ids in one string of bytes. Adding an id copies one
leaf and the path to it; every earlier set stays whole. The shape depends on the members only, never on their order.
"""

from bisect import bisect_left
from collections.abc import Iterator
from itertools import pairwise
from typing import Self, TypeAlias

ID_BYTES = 16
_LEAF_IDS = 64
_WIDTH = 16

_Node: TypeAlias = "bytes | tuple[_Node, ...]"


class Ids:
    """A set of 16-byte ids. `add` returns a new set; nothing is ever removed."""

    __slots__ = ("_count", "_root")

    def __init__(self) -> None:
        self._root: _Node = b""
        self._count = 0

    @classmethod
    def of(cls, blob: bytes) -> Self:
        """The set of the ids in `blob`, as `blob` of another set returned them.

        Raises:
            ValueError: not ids of 16 bytes in strictly rising order.
        """
        if len(blob) % ID_BYTES:
            raise ValueError(f"{len(blob)} bytes are not ids of {ID_BYTES} bytes each")
        if any(first >= second for first, second in pairwise(_split(blob))):
            raise ValueError("the ids do not stand in strictly rising order")
        made = cls()
        made._root, made._count = _build(blob, 0), len(blob) // ID_BYTES
        return made

    def add(self, record_id: bytes) -> Self:
        """A set that also has `record_id`; this one is unchanged.

        Raises:
            ValueError: it does not have 16 bytes.
        """
        if len(record_id) != ID_BYTES:
            raise ValueError(f"an id has {ID_BYTES} bytes, this one {len(record_id)}")
        root = _add(self._root, 0, record_id)
        if root is self._root:
            return self
        made = type(self)()
        made._root, made._count = root, self._count + 1
        return made

    def __contains__(self, record_id: bytes) -> bool:
        node, depth = self._root, 0
        while type(node) is tuple:
            node = node[_digit(record_id, depth)]
            depth += 1
        assert isinstance(node, bytes)
        return _holds(node, record_id)

    def __len__(self) -> int:
        return self._count

    def __iter__(self) -> Iterator[bytes]:
        """All ids, rising."""
        return _split(self.blob())

    def blob(self) -> bytes:
        """All ids, rising, one after the other; `of` reads them back."""
        return b"".join(_leaves(self._root))

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Ids) and self._count == other._count and self._root == other._root

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        return f"Ids({self._count})"


def _digit(record_id: bytes, depth: int) -> int:
    byte = record_id[depth >> 1]
    return byte & 15 if depth & 1 else byte >> 4


def _split(blob: bytes) -> Iterator[bytes]:
    return (_at(blob, place) for place in range(len(blob) // ID_BYTES))


def _holds(leaf: bytes, record_id: bytes) -> bool:
    place = leaf.find(record_id)
    while place % ID_BYTES:  # found across two ids, or not at all: -1 leaves 15
        if place < 0:
            return False
        place = leaf.find(record_id, place + 1)
    return True


def _add(node: _Node, depth: int, record_id: bytes) -> _Node:
    if isinstance(node, bytes):
        if _holds(node, record_id):
            return node
        place = ID_BYTES * bisect_left(range(len(node) // ID_BYTES), record_id, key=lambda at: _at(node, at))
        leaf = node[:place] + record_id + node[place:]
        return leaf if len(leaf) <= _LEAF_IDS * ID_BYTES else _build(leaf, depth)
    digit = _digit(record_id, depth)
    changed = _add(node[digit], depth + 1, record_id)
    return node if changed is node[digit] else (*node[:digit], changed, *node[digit + 1 :])


def _at(blob: bytes, place: int) -> bytes:
    return blob[place * ID_BYTES : (place + 1) * ID_BYTES]


def _build(blob: bytes, depth: int) -> _Node:
    """The node of the sorted ids in `blob`, which share their first `depth` digits."""
    count = len(blob) // ID_BYTES
    if count <= _LEAF_IDS:
        return blob
    ends, at = [0], 0
    for digit in range(1, _WIDTH):
        at = bisect_left(range(count), digit, at, count, key=lambda place: _digit(_at(blob, place), depth))
        ends.append(at)
    ends.append(count)
    return tuple(_build(blob[start * ID_BYTES : end * ID_BYTES], depth + 1) for start, end in pairwise(ends))


def _leaves(node: _Node) -> Iterator[bytes]:
    if isinstance(node, bytes):
        yield node
    else:
        for below in node:
            yield from _leaves(below)
