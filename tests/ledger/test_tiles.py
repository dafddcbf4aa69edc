"""The tree in tiles: the same tree, and proofs from few reads."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ledger.merkle import EMPTY_ROOT, Frontier, consistency_proof, inclusion_proof, leaf_hash
from ledger.merkle import root_at as root_of_first
from ledger.subtrees import subtrees_of
from ledger.tiles import TILE_BYTES, RightEdge, TileReader, tile_root

SIZE = 256 * 256 + 256 * 3 + 77
LEAVES = [leaf_hash(number.to_bytes(4, "big")) for number in range(SIZE)]


class Grown:
    """A tree of three levels of tiles, grown leaf by leaf."""

    def __init__(self) -> None:
        self.tiles: dict[tuple[int, int], bytes] = {}
        self.reads = 0
        self.edge = RightEdge()
        for leaf in LEAVES:
            self.edge, full = self.edge.append(leaf)
            self.tiles.update(full)

    def read(self, level: int, index: int) -> bytes:
        self.reads += 1
        return self.tiles[level, index]


@pytest.fixture(scope="module")
def grown() -> Grown:
    return Grown()


def test_full_tiles_are_what_the_standard_says(grown: Grown) -> None:
    assert sorted(grown.tiles) == [(0, index) for index in range(259)] + [(1, 0)]
    assert all(len(tile) == TILE_BYTES for tile in grown.tiles.values())
    assert grown.tiles[0, 3] == b"".join(LEAVES[768:1024])
    assert grown.tiles[1, 0] == b"".join(tile_root(grown.tiles[0, index]) for index in range(256))
    fetch = subtrees_of(LEAVES)
    assert tile_root(grown.tiles[0, 3]) == fetch([(8, 3)])[8, 3]


def test_the_edge_is_made_again_from_its_unfinished_tiles(grown: Grown) -> None:
    assert RightEdge.of(grown.edge.partial) == grown.edge
    assert (RightEdge.of(()).size, RightEdge().root()) == (0, EMPTY_ROOT)
    edge, frontier = RightEdge(), Frontier()
    for leaf in LEAVES[:520]:
        edge, _ = edge.append(leaf)
        frontier, _ = frontier.append(leaf)
        assert RightEdge.of(edge.partial) == edge
        assert (edge.size, edge.root()) == (frontier.size, frontier.root())


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_proofs_are_those_of_the_whole_tree(grown: Grown, data: st.DataObject) -> None:
    size = data.draw(st.integers(1, SIZE))
    index, old = data.draw(st.integers(0, size - 1)), data.draw(st.integers(1, size))
    whole = subtrees_of(LEAVES[:size])
    fetch = TileReader(grown.read).fetch(grown.edge)
    assert inclusion_proof(index, size, fetch) == inclusion_proof(index, size, whole)
    assert consistency_proof(old, size, fetch) == consistency_proof(old, size, whole)
    assert root_of_first(size, fetch) == root_of_first(size, whole)


def test_a_proof_reads_few_tiles_and_the_next_one_fewer(grown: Grown) -> None:
    reader = TileReader(grown.read)
    grown.reads = 0
    inclusion_proof(70, SIZE, reader.fetch(grown.edge))
    assert grown.reads == 2
    inclusion_proof(71, SIZE, reader.fetch(grown.edge))
    assert grown.reads == 2
