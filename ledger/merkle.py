"""The Merkle tree of RFC 9162, section 2.1: hashes, proofs, and their verification.

A tree of any size is read from the hashes of its complete subtrees. `(level, index)` names the complete
subtree over leaves `[index * 2**level, (index + 1) * 2**level)`; level 0 holds the leaf hashes. A subtree's
hash never changes once it is complete, so it is stored once and proofs cost O(log n) reads.
"""

import hashlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Self, TypeAlias

from ledger.errors import LedgerError

HASH_BYTES = 32
EMPTY_ROOT = hashlib.sha256(b"").digest()

Node: TypeAlias = tuple[int, int]
"""(level, index) of a complete subtree."""

Fetch: TypeAlias = Callable[[Iterable[Node]], Mapping[Node, bytes]]
"""Reads the hashes of complete subtrees, all at once."""


class ProofError(LedgerError):
    """A Merkle proof does not show what it claims."""

    exit_code = 1


def leaf_hash(entry: bytes) -> bytes:
    """MTH of one entry: SHA-256 of 0x00 and the entry."""
    return hashlib.sha256(b"\x00" + entry).digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    """SHA-256 of 0x01 and the two child hashes."""
    return hashlib.sha256(b"\x01" + left + right).digest()


@dataclass(frozen=True)
class Frontier:
    """The right edge of a growing tree: all that is needed to append and to know the root.

    Attributes:
        size: number of leaves.
        edge: hashes of the complete subtrees that make up the tree, largest first (one a set bit of `size`).
    """

    size: int = 0
    edge: tuple[bytes, ...] = ()

    @classmethod
    def at(cls, size: int, fetch: Fetch) -> Self:
        """The right edge of the tree of `size` leaves, from stored subtree hashes."""
        nodes = _cover(0, size)
        hashes = fetch(nodes)
        return cls(size, tuple(hashes[node] for node in nodes))

    def append(self, leaf: bytes) -> tuple["Frontier", list[tuple[Node, bytes]]]:
        """Add a leaf hash; return the new edge and the subtrees that this leaf completed."""
        edge = list(self.edge)
        complete = [((0, self.size), leaf)]
        level, index, current = 0, self.size, leaf
        while index & 1:
            current = node_hash(edge.pop(), current)
            level, index = level + 1, index >> 1
            complete.append(((level, index), current))
        return Frontier(self.size + 1, (*edge, current)), complete

    def root(self) -> bytes:
        """The tree's root, 32 bytes."""
        return _fold(self.edge) if self.edge else EMPTY_ROOT


def root_of(leaves: Iterable[bytes]) -> bytes:
    """The root over leaf hashes, computed from nothing else."""
    frontier = Frontier()
    for leaf in leaves:
        frontier, _ = frontier.append(leaf)
    return frontier.root()


def root_at(size: int, fetch: Fetch) -> bytes:
    """The root of the first `size` leaves, from stored subtree hashes."""
    return Frontier.at(size, fetch).root()


def inclusion_proof(index: int, size: int, fetch: Fetch) -> list[bytes]:
    """PATH(index, D[size]) of RFC 9162, section 2.1.3.1.

    Raises:
        ValueError: `index` is not in a tree of `size` leaves.
    """
    if not 0 <= index < size:
        raise ValueError(f"entry {index} is not in a tree of {size}")
    siblings: list[tuple[int, int]] = []
    low, high = 0, size
    while high - low > 1:
        middle = low + _split(high - low)
        if index < middle:
            siblings.append((middle, high))
            high = middle
        else:
            siblings.append((low, middle))
            low = middle
    return _hashes(list(reversed(siblings)), fetch)


def consistency_proof(old: int, new: int, fetch: Fetch) -> list[bytes]:
    """PROOF(old, D[new]) of RFC 9162, section 2.1.4.1; empty when the sizes are equal.

    Raises:
        ValueError: not 0 < old <= new.
    """
    if not 0 < old <= new:
        raise ValueError(f"no consistency proof from size {old} to size {new}")
    ranges: list[tuple[int, int]] = []
    low, high = 0, new
    whole = True  # the old tree so far is a complete subtree of the new, whose hash the verifier knows
    while old != high:
        middle = low + _split(high - low)
        if old <= middle:
            ranges.append((middle, high))
            high = middle
        else:
            ranges.append((low, middle))
            low, whole = middle, False
    if not whole:
        ranges.append((low, high))
    return _hashes(list(reversed(ranges)), fetch)


def verify_inclusion(leaf: bytes, index: int, size: int, path: Sequence[bytes], root: bytes) -> None:
    """Raise `ProofError` unless `path` leads from `leaf` at `index` to `root` (RFC 9162, section 2.1.3.2)."""
    if not 0 <= index < size:
        raise ProofError(f"entry {index} cannot be in a tree of {size}; the receipt is not for this statement")
    position, last, current = index, size - 1, leaf
    for sibling in path:
        if last == 0:
            raise ProofError("the inclusion proof is longer than the tree is high")
        if position & 1 or position == last:
            current = node_hash(sibling, current)
            while not position & 1 and position:
                position, last = position >> 1, last >> 1
        else:
            current = node_hash(current, sibling)
        position, last = position >> 1, last >> 1
    if last != 0 or current != root:
        raise ProofError(f"the inclusion proof of entry {index} does not lead to the checkpoint's root")


def verify_consistency(old: int, new: int, path: Sequence[bytes], old_root: bytes, new_root: bytes) -> None:
    """Raise `ProofError` unless the new tree starts with the old one (RFC 9162, section 2.1.4.2).

    Every tree is consistent with the empty one; then `path` must be empty and `old_root` the empty root.
    """
    refusal = ProofError(f"the tree of {new} entries is not an extension of the known tree of {old}")
    if not 0 <= old <= new:
        raise refusal
    if old in (0, new):
        same = old_root == (EMPTY_ROOT if old == 0 else new_root)
        if path or not same:
            raise refusal
        return
    hashes = list(path) if old & (old - 1) else [old_root, *path]
    if _consistency_roots(old, new, hashes) != (old_root, new_root):
        raise refusal


def prefix_root(old: int, new: int, path: Sequence[bytes], new_root: bytes) -> bytes | None:
    """The root of the first `old` entries of the tree with `new_root`, by a consistency proof, or None.

    None when the proof does not lead to `new_root`, and when `old` is a power of two: then it does not tell.
    """
    if not 0 < old < new or not old & (old - 1):
        return None
    roots = _consistency_roots(old, new, path)
    return None if roots is None or roots[1] != new_root else roots[0]


def _consistency_roots(old: int, new: int, hashes: Sequence[bytes]) -> tuple[bytes, bytes] | None:
    """The roots of `old` and `new` leaves that a proof leads to, or None if it is too long or too short."""
    position, last = old - 1, new - 1
    while position & 1:
        position, last = position >> 1, last >> 1
    if not hashes:
        return None
    first = second = hashes[0]
    for sibling in hashes[1:]:
        if last == 0:
            return None
        if position & 1 or position == last:
            first, second = node_hash(sibling, first), node_hash(sibling, second)
            while not position & 1 and position:
                position, last = position >> 1, last >> 1
        else:
            second = node_hash(second, sibling)
        position, last = position >> 1, last >> 1
    return (first, second) if last == 0 else None


def _split(count: int) -> int:
    """The largest power of two smaller than `count` (count > 1)."""
    return 1 << ((count - 1).bit_length() - 1)


def _cover(low: int, high: int) -> list[Node]:
    """The complete subtrees that make up leaves [low, high), largest first; `low` is where a split put it."""
    nodes: list[Node] = []
    while low < high:
        level = (high - low).bit_length() - 1
        nodes.append((level, low >> level))
        low += 1 << level
    return nodes


def _fold(hashes: Sequence[bytes]) -> bytes:
    current = hashes[-1]
    for left in reversed(hashes[:-1]):
        current = node_hash(left, current)
    return current


def _hashes(ranges: Sequence[tuple[int, int]], fetch: Fetch) -> list[bytes]:
    covers = [_cover(low, high) for low, high in ranges]
    known = fetch([node for cover in covers for node in cover])
    return [_fold([known[node] for node in cover]) for cover in covers]
