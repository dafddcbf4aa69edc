"""An immutable map whose updates share structure, so that every past state stays whole and costs nothing.

A hash array mapped trie (Bagwell 2001) with 32 branches a node and without bitmap compression: an update
copies one short tuple a level, four levels at a million entries.
"""

from collections.abc import Iterator
from typing import Any, Generic, TypeVar, overload

K = TypeVar("K")
V = TypeVar("V")
D = TypeVar("D")

_BITS = 5
_MASK = (1 << _BITS) - 1
_WIDTH = 1 << _BITS
_HASH = (1 << 64) - 1
_EMPTY: tuple[Any, ...] = (None,) * _WIDTH


class _Leaf:
    __slots__ = ("code", "pairs")

    def __init__(self, code: int, pairs: tuple[tuple[Any, Any], ...]) -> None:
        self.code = code
        self.pairs = pairs  # more than one only when hashes collide in all bits


class Map(Generic[K, V]):
    """An immutable mapping. Iteration order is unspecified: sort where order matters."""

    __slots__ = ("_count", "_root")

    def __init__(self) -> None:
        self._root = _EMPTY
        self._count = 0

    def set(self, key: K, value: V) -> "Map[K, V]":
        """A map that also has `key`; this one is unchanged."""
        made: Map[K, V] = Map.__new__(Map)
        made._root, grew = _set(self._root, 0, hash(key) & _HASH, key, value)
        made._count = self._count + grew
        return made

    @overload
    def get(self, key: K) -> V | None: ...
    @overload
    def get(self, key: K, default: D) -> V | D: ...
    def get(self, key: K, default: Any = None) -> Any:
        """The value of `key`, or `default`."""
        code = hash(key) & _HASH
        node: Any = self._root
        rest = code
        while type(node) is tuple:
            node = node[rest & _MASK]
            rest >>= _BITS
        if node is not None and node.code == code:
            for known, value in node.pairs:
                if known == key:
                    return value
        return default

    def __contains__(self, key: K) -> bool:
        absent = object()
        return self.get(key, absent) is not absent

    def __len__(self) -> int:
        return self._count

    def items(self) -> Iterator[tuple[K, V]]:
        """All pairs, in no particular order."""
        return _items(self._root)

    def values(self) -> Iterator[V]:
        """All values, in no particular order."""
        return (value for _, value in self.items())

    def __iter__(self) -> Iterator[K]:
        return (key for key, _ in self.items())

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Map) and len(self) == len(other) and dict(self.items()) == dict(other.items())

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        return f"Map({dict(self.items())!r})"


def _set(node: tuple[Any, ...], depth: int, code: int, key: Any, value: Any) -> tuple[tuple[Any, ...], int]:
    place = (code >> (depth * _BITS)) & _MASK
    slot = node[place]
    grew = 1
    if slot is None:
        slot = _Leaf(code, ((key, value),))
    elif type(slot) is tuple:
        slot, grew = _set(slot, depth + 1, code, key, value)
    elif slot.code == code:
        others = tuple(pair for pair in slot.pairs if pair[0] != key)
        grew = 1 - (len(slot.pairs) - len(others))
        slot = _Leaf(code, (*others, (key, value)))
    else:
        below = list(_EMPTY)
        below[(slot.code >> ((depth + 1) * _BITS)) & _MASK] = slot
        slot, grew = _set(tuple(below), depth + 1, code, key, value)
    return (*node[:place], slot, *node[place + 1 :]), grew


def _items(node: Any) -> Iterator[tuple[Any, Any]]:
    if type(node) is tuple:
        for slot in node:
            if slot is not None:
                yield from _items(slot)
    else:
        yield from node.pairs
