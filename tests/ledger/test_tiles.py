"""The tree in tiles: the same tree, and proofs from few reads."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ledger.errors import Damaged
from ledger.merkle import EMPTY_ROOT, Frontier, consistency_proof, inclusion_proof, leaf_hash
from ledger.merkle import root_at as root_of_first
from ledger.startup import edge_at
from ledger.subtrees import subtrees_of
from ledger.tiles import TILE_BYTES, RightEdge, TileReader, tile_root

SIZE = 256 * 256 + 256 * 3 + 77
ENTRIES = [number.to_bytes(4, "big") for number in range(SIZE)]
LEAVES = [leaf_hash(entry) for entry in ENTRIES]


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


class Stored:
    """A store of the grown tree, one of whose tiles may have been changed."""

    name = "ledger.db"

    def __init__(self, grown: Grown, *changed: tuple[int, int]) -> None:
        self._tiles = {**grown.tiles, **{tile: bytes(TILE_BYTES) for tile in changed}}

    def tiles(self, level: int, start: int, end: int) -> list[bytes]:
        return [self._tiles[level, index] for index in range(start, end)]

    def entries(self, start: int, end: int) -> list[bytes]:
        return ENTRIES[start:end]


@pytest.mark.parametrize("size", [0, 1, 255, 256, 257, 65_535, 65_536, 65_537, SIZE])
def test_the_edge_of_any_size_is_recomputed_from_stored_tiles(grown: Grown, size: int) -> None:
    edge = edge_at(Stored(grown), size)  # type: ignore[arg-type]
    assert (edge.size, edge.root()) == (size, root_of_first(size, subtrees_of(LEAVES[:size])) if size else EMPTY_ROOT)
    if size == SIZE:
        assert edge == grown.edge


def test_a_changed_tile_does_not_fit_the_others(grown: Grown) -> None:
    with pytest.raises(Damaged, match="tile 1/0 does not fit"):
        edge_at(Stored(grown, (1, 0)), SIZE)  # type: ignore[arg-type]
    with pytest.raises(Damaged, match="tile 1/0 does not fit"):
        edge_at(Stored(grown, (0, 7)), SIZE)  # type: ignore[arg-type]
    assert edge_at(Stored(grown, (0, 258)), SIZE).root() != grown.edge.root()  # type: ignore[arg-type]
