"""One order of entries that somebody claims to be the ledger: honest or not, it has roots, proofs and a meaning."""

from collections.abc import Iterable, Mapping

from ledger.merkle import Frontier, Node, consistency_proof, inclusion_proof, leaf_hash
from ledger.rules import Refused, State, admit, initial
from ledger.statement import StatementError, decode_statement

from .cast import CID


class History:
    """Entries and, for each number of them, the tree's right edge and what the rules make of them.

    Attributes:
        entries: as they are signed.
        states: by size; None from the first entry on that the rules refuse.
    """

    def __init__(self, entries: Iterable[bytes] = ()) -> None:
        self.entries: list[bytes] = []
        self.states: list[State | None] = [initial(CID)]
        self._edges = [Frontier()]
        self._nodes: dict[Node, bytes] = {}
        for raw in entries:
            self.append(raw)

    @property
    def size(self) -> int:
        return len(self.entries)

    @property
    def is_lawful(self) -> bool:
        """Whether the rules allow every entry."""
        return self.states[-1] is not None

    def root(self, size: int) -> bytes:
        """The root of the first `size` entries."""
        return self._edges[size].root()

    def lawful_state(self, size: int) -> State:
        """The last state, up to `size` entries, that the rules allow."""
        return next(state for state in reversed(self.states[: size + 1]) if state is not None)

    def append(self, raw: bytes) -> None:
        """Add any bytes at all."""
        edge, complete = self._edges[-1].append(leaf_hash(raw))
        self._edges.append(edge)
        self._nodes.update(complete)
        self.states.append(_after(self.states[-1], raw, self.size))
        self.entries.append(raw)

    def allows(self, raw: bytes) -> bool:
        """Whether the rules allow `raw` as the next entry."""
        return _after(self.states[-1], raw, self.size) is not None

    def fork(self, size: int) -> "History":
        """Another history with the same first `size` entries."""
        other = History()
        other.entries, other.states = self.entries[:size], self.states[: size + 1]
        other._edges = self._edges[: size + 1]
        other._nodes = {
            (level, index): digest for (level, index), digest in self._nodes.items() if (index + 1) << level <= size
        }
        return other

    def has(self, size: int, root: bytes) -> bool:
        """Whether a tree of `size` entries with this root is the beginning of this history."""
        return size <= self.size and self.root(size) == root

    def consistency(self, old: int, new: int) -> list[bytes]:
        return consistency_proof(old, new, self._fetch) if 0 < old <= new else []

    def inclusion(self, index: int, size: int) -> list[bytes]:
        return inclusion_proof(index, size, self._fetch)

    def _fetch(self, wanted: Iterable[Node]) -> Mapping[Node, bytes]:
        return {node: self._nodes[node] for node in wanted}


def _after(state: State | None, raw: bytes, index: int) -> State | None:
    if state is None:
        return None
    try:
        return admit(state, decode_statement(raw), index)
    except (Refused, StatementError):
        return None
