"""The tree in tiles of 256 hashes (C2SP tlog-tiles, height 8): what a database keeps of it, and how proofs read it.

Tile `(level, index)` holds hashes `256 * index` to `256 * index + 255` of its level: leaf hashes at level 0, the
roots of the full tiles of level 0 at level 1, and so on. A full tile never changes, so it is stored once. The
unfinished tiles, one a level, are the tree's right edge: they stay in memory and are recomputed on opening.
"""

import hashlib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import TypeAlias

from ledger.merkle import HASH_BYTES, Fetch, Frontier, Node

TILE_HEIGHT = 8
TILE_HASHES = 1 << TILE_HEIGHT
TILE_BYTES = TILE_HASHES * HASH_BYTES
_KEPT_TILES = 64

Tile: TypeAlias = tuple[tuple[int, int], bytes]
"""((level, index), its 256 hashes one after the other)."""

ReadTile: TypeAlias = Callable[[int, int], bytes]
"""Reads the full tile (level, index)."""


@dataclass(frozen=True)
class RightEdge:
    """All that is needed of a growing tree to append to it and to know its root.

    Attributes:
        frontier: the complete subtrees that make up the tree.
        partial: by level, the hashes of its unfinished tile, one after the other; fewer than 256 each.
    """

    frontier: Frontier = field(default_factory=Frontier)
    partial: tuple[bytes, ...] = ()

    @classmethod
    def of(cls, partial: tuple[bytes, ...]) -> "RightEdge":
        """The edge whose unfinished tiles are these."""
        size, edge = 0, list[bytes]()
        for level in reversed(range(len(partial))):
            rows = _subtrees(partial[level])
            count = len(rows[0]) // HASH_BYTES
            size += count << (TILE_HEIGHT * level)
            edge += [rows[h][((count >> h) - 1) * HASH_BYTES :][:HASH_BYTES] for h in _bits(count)]
        return cls(Frontier(size, tuple(edge)), partial)

    @property
    def size(self) -> int:
        """Number of leaves."""
        return self.frontier.size

    def append(self, leaf: bytes) -> tuple["RightEdge", list[Tile]]:
        """Add a leaf hash; return the new edge and the tiles that this leaf filled."""
        frontier, complete = self.frontier.append(leaf)
        partial, full = list(self.partial), list[Tile]()
        for (height, index), digest in complete[::TILE_HEIGHT]:
            level = height // TILE_HEIGHT
            if level == len(partial):
                partial.append(b"")
            hashes = partial[level] + digest
            if len(hashes) == TILE_BYTES:
                full.append(((level, index // TILE_HASHES), hashes))
                hashes = b""
            partial[level] = hashes
        return RightEdge(frontier, tuple(partial)), full

    def root(self) -> bytes:
        """The tree's root, 32 bytes."""
        return self.frontier.root()


class TileReader:
    """Answers `ledger.merkle.Fetch` from stored tiles and a right edge; the tiles used last stay in memory."""

    def __init__(self, read: ReadTile) -> None:
        """Args: read: gives a stored full tile, `ledger.store.Store.tile`."""
        self._full = lru_cache(_KEPT_TILES)(lambda level, index: _subtrees(read(level, index)))
        self._unfinished = lru_cache(TILE_HEIGHT)(_subtrees)

    def fetch(self, edge: RightEdge) -> Fetch:
        """The hashes of complete subtrees of the tree with this right edge."""

        def read(wanted: Iterable[Node]) -> Mapping[Node, bytes]:
            return {node: self._hash(edge, node) for node in wanted}

        return read

    def _hash(self, edge: RightEdge, node: Node) -> bytes:
        level, height = divmod(node[0], TILE_HEIGHT)
        tile, place = divmod(node[1] << height, TILE_HASHES)
        full = edge.size >> (TILE_HEIGHT * (level + 1))
        rows = self._full(level, tile) if tile < full else self._unfinished(edge.partial[level])
        start = (place >> height) * HASH_BYTES
        return rows[height][start : start + HASH_BYTES]


def tile_root(tile: bytes) -> bytes:
    """The root of a full tile: one hash of the level above it."""
    for _ in range(TILE_HEIGHT):
        tile = _parents(tile)
    return tile


def _subtrees(hashes: bytes) -> list[bytes]:
    """The hashes of the complete subtrees of every height over `hashes`, one joined row a height."""
    rows = [hashes]
    for _ in range(TILE_HEIGHT):
        rows.append(_parents(rows[-1]))
    return rows


def _parents(hashes: bytes) -> bytes:
    pair, sha256 = 2 * HASH_BYTES, hashlib.sha256
    whole = len(hashes) - len(hashes) % pair
    return b"".join([sha256(b"\x01" + hashes[at : at + pair]).digest() for at in range(0, whole, pair)])


def _bits(number: int) -> list[int]:
    """The places of the set bits, highest first."""
    return [place for place in reversed(range(number.bit_length())) if number >> place & 1]
