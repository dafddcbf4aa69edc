"""A tree in memory, from the hashes of its leaves: for proofs over a tree that is stored nowhere."""

from collections.abc import Iterable, Mapping, Sequence

from ledger.merkle import Fetch, Node, node_hash


def subtrees_of(leaves: Sequence[bytes]) -> Fetch:
    """What reads any complete subtree of the tree over `leaves`; each is hashed at most once."""
    known: dict[Node, bytes] = {}

    def subtree(level: int, index: int) -> bytes:
        if level == 0:
            return leaves[index]
        node = (level, index)
        if node not in known:
            known[node] = node_hash(subtree(level - 1, 2 * index), subtree(level - 1, 2 * index + 1))
        return known[node]

    def fetch(wanted: Iterable[Node]) -> Mapping[Node, bytes]:
        return {node: subtree(*node) for node in wanted}

    return fetch
