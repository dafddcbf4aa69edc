"""Every proof of every tree up to 300 entries, read from tiles as the log reads them: past one full tile of 256."""

from collections.abc import Iterator

import pytest

from ledger.merkle import (
    ProofError,
    consistency_proof,
    inclusion_proof,
    leaf_hash,
    verify_consistency,
    verify_inclusion,
)
from ledger.tiles import RightEdge, TileReader

LARGEST = 300
LEAVES = [leaf_hash(number.to_bytes(2, "big")) for number in range(LARGEST)]


@pytest.fixture(scope="module")
def edges() -> list[RightEdge]:
    """The right edge of every size from 0."""
    return [edge for edge, _ in grown()]


@pytest.fixture(scope="module")
def reader() -> TileReader:
    stored = {place: hashes for _, tiles in grown() for place, hashes in tiles}
    return TileReader(lambda level, index: stored[level, index])


def grown() -> Iterator[tuple[RightEdge, list[tuple[tuple[int, int], bytes]]]]:
    edge = RightEdge()
    yield edge, []
    for leaf in LEAVES:
        edge, full = edge.append(leaf)
        yield edge, full


def test_every_inclusion_proof(edges: list[RightEdge], reader: TileReader) -> None:
    for size in range(1, LARGEST + 1):
        fetch, root = reader.fetch(edges[size]), edges[size].root()
        for index in range(size):
            path = inclusion_proof(index, size, fetch)
            verify_inclusion(LEAVES[index], index, size, path, root)
            if size == LARGEST:  # and it is of this entry alone
                with pytest.raises(ProofError):
                    verify_inclusion(LEAVES[index - 1], index, size, path, root)


def test_every_consistency_proof(edges: list[RightEdge], reader: TileReader) -> None:
    roots = [edge.root() for edge in edges]
    for size in range(1, LARGEST + 1):
        fetch = reader.fetch(edges[size])
        for old in range(1, size + 1):
            path = consistency_proof(old, size, fetch)
            verify_consistency(old, size, path, roots[old], roots[size])
            if size == LARGEST and old < size:
                with pytest.raises(ProofError):
                    verify_consistency(old, size, path, roots[old - 1], roots[size])
