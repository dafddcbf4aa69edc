"""The tree of RFC 9162: published vectors, an independent implementation, and every proof of small trees."""

import hashlib
from collections.abc import Iterable, Mapping

import pymerkle
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ledger.merkle import (
    EMPTY_ROOT,
    Frontier,
    Node,
    ProofError,
    consistency_proof,
    inclusion_proof,
    leaf_hash,
    root_at,
    root_of,
    verify_consistency,
    verify_inclusion,
)

# Eight leaves and the roots of the trees over them, from the reference code of Certificate Transparency.
CT_LEAVES = [
    "",
    "00",
    "10",
    "2021",
    "3031",
    "40414243",
    "5051525354555657",
    "606162636465666768696a6b6c6d6e6f",
]
CT_ROOTS = [
    "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
    "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
    "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
    "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
    "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
    "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
    "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
]


class Tree:
    """A log's subtree hashes in a dictionary."""

    def __init__(self, entries: Iterable[bytes]) -> None:
        self.nodes: dict[Node, bytes] = {}
        self.leaves = [leaf_hash(entry) for entry in entries]
        self.roots = [EMPTY_ROOT]
        frontier = Frontier()
        for leaf in self.leaves:
            frontier, complete = frontier.append(leaf)
            self.nodes.update(complete)
            self.roots.append(frontier.root())

    def fetch(self, wanted: Iterable[Node]) -> Mapping[Node, bytes]:
        return {node: self.nodes[node] for node in wanted}


def tree_of(size: int) -> Tree:
    return Tree(number.to_bytes(2, "big") for number in range(size))


def naive_root(leaves: list[bytes]) -> bytes:
    """MTH as the RFC writes it."""
    if len(leaves) == 1:
        return leaves[0]
    split = 1
    while split * 2 < len(leaves):
        split *= 2
    return hashlib.sha256(b"\x01" + naive_root(leaves[:split]) + naive_root(leaves[split:])).digest()


def test_certificate_transparency_vectors() -> None:
    tree = Tree(bytes.fromhex(leaf) for leaf in CT_LEAVES)
    assert [root.hex() for root in tree.roots[1:]] == CT_ROOTS
    assert EMPTY_ROOT.hex() == "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"


@given(st.lists(st.binary(min_size=1, max_size=20), min_size=1, max_size=70))
def test_roots_agree_with_another_implementation(entries: list[bytes]) -> None:
    oracle = pymerkle.InmemoryTree(algorithm="sha256")
    for entry in entries:
        oracle.append_entry(entry)
    assert root_of(map(leaf_hash, entries)) == oracle.get_state() == naive_root([leaf_hash(e) for e in entries])


def test_every_proof_of_small_trees_holds() -> None:
    tree = tree_of(33)
    for size in range(1, 34):
        assert root_at(size, tree.fetch) == tree.roots[size]
        for index in range(size):
            path = inclusion_proof(index, size, tree.fetch)
            verify_inclusion(tree.leaves[index], index, size, path, tree.roots[size])
        for old in range(1, size + 1):
            path = consistency_proof(old, size, tree.fetch)
            verify_consistency(old, size, path, tree.roots[old], tree.roots[size])
    verify_consistency(0, 5, [], EMPTY_ROOT, tree.roots[5])


@settings(max_examples=60)
@given(st.data())
def test_false_inclusion_is_refused(data: st.DataObject) -> None:
    size = data.draw(st.integers(2, 40))
    index = data.draw(st.integers(0, size - 1))
    tree = tree_of(size)
    path, leaf, root = inclusion_proof(index, size, tree.fetch), tree.leaves[index], tree.roots[size]
    other = data.draw(st.integers(0, size - 1).filter(lambda place: place != index))
    broken = data.draw(st.integers(0, len(path) - 1))
    flipped = [bytes(32) if place == broken else item for place, item in enumerate(path)]
    for claim in (
        (leaf, other, size, path, root),
        (tree.leaves[other], index, size, path, root),
        (leaf, index, size, flipped, root),
        (leaf, index, size, path[:-1], root),
        (leaf, index, size, [*path, bytes(32)], root),
        (leaf, index, size, path, bytes(32)),
        (leaf, size, size, path, root),
        (leaf, -1, size, path, root),
    ):
        with pytest.raises(ProofError):
            verify_inclusion(*claim)


@settings(max_examples=60)
@given(st.integers(1, 40), st.integers(0, 40), st.integers(0, 39))
def test_a_rewritten_entry_breaks_consistency(old: int, more: int, changed: int) -> None:
    new, changed = old + more, changed % old
    honest = tree_of(old)
    forged = Tree((b"forged" if n == changed else n.to_bytes(2, "big")) for n in range(new))
    path = consistency_proof(old, new, forged.fetch)
    with pytest.raises(ProofError):
        verify_consistency(old, new, path, honest.roots[old], forged.roots[new])


def test_malformed_consistency_is_refused() -> None:
    tree = tree_of(11)
    path = consistency_proof(6, 11, tree.fetch)
    for claim in (
        (6, 11, path[:-1], tree.roots[6], tree.roots[11]),
        (6, 11, [*path, bytes(32)], tree.roots[6], tree.roots[11]),
        (6, 11, [], tree.roots[6], tree.roots[11]),
        (11, 6, path, tree.roots[11], tree.roots[6]),
        (11, 11, path, tree.roots[11], tree.roots[11]),
        (11, 11, [], tree.roots[10], tree.roots[11]),
        (0, 11, path, EMPTY_ROOT, tree.roots[11]),
        (0, 11, [], tree.roots[1], tree.roots[11]),
    ):
        with pytest.raises(ProofError):
            verify_consistency(*claim)


def test_one_path_can_fit_several_sizes() -> None:
    """Why a receipt travels with the checkpoint: path and root alone do not fix the size of the tree."""
    tree = tree_of(8)
    path = inclusion_proof(0, 8, tree.fetch)
    fitting = []
    for size in range(1, 17):
        try:
            verify_inclusion(tree.leaves[0], 0, size, path, tree.roots[8])
        except ProofError:
            continue
        fitting.append(size)
    assert fitting == [5, 6, 7, 8]


def test_proofs_of_what_is_not_there() -> None:
    tree = tree_of(3)
    with pytest.raises(ValueError, match="entry 3"):
        inclusion_proof(3, 3, tree.fetch)
    with pytest.raises(ValueError, match="from size 0"):
        consistency_proof(0, 3, tree.fetch)
