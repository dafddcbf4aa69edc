"""What the ledger writes, made from fixed keys: statements of both kinds, a tree, cosigned checkpoints, receipts."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping

from ledger.checkpoint import Checkpoint, cosign, sign_checkpoint, witness_name
from ledger.keys import SigningKey
from ledger.merkle import Frontier, Node, consistency_proof, inclusion_proof, leaf_hash
from ledger.note import Vkey
from ledger.receipt import Receipt, make_receipt
from ledger.statement import sign_statement

ORIGIN = "ledger.example/test"
MEMBERS = ("bank-0", "firm-0", "firm-1", "firm-2")
NOW_S = 1_800_000_000


def key_of(name: str, *, hybrid: bool = False) -> SigningKey:
    """A key from a name, the same in every run."""
    seed = hashlib.sha512(name.encode()).digest()
    return SigningKey.from_seed(seed if hybrid else seed[:32])


CLASSICAL = key_of("classical issuer")
HYBRID = key_of("hybrid issuer", hybrid=True)
LOG = key_of("log")


def statement(number: int, key: SigningKey = CLASSICAL) -> bytes:
    """A signed record."""
    payload = {"v": 1, "cid": "test", "id": number.to_bytes(16, "big"), "t": "attest", "parent": None, "ts": number}
    return sign_statement(payload, issuer="firm-0", subject=f"batch-{number}", key=key)


class Tree:
    """A log of entries and the hashes of its complete subtrees."""

    def __init__(self, entries: Iterable[bytes]) -> None:
        self.entries = list(entries)
        self.nodes: dict[Node, bytes] = {}
        self.leaves = [leaf_hash(entry) for entry in self.entries]
        frontier = Frontier()
        self.roots = [frontier.root()]
        for leaf in self.leaves:
            frontier, complete = frontier.append(leaf)
            self.nodes.update(complete)
            self.roots.append(frontier.root())

    def _fetch(self, wanted: Iterable[Node]) -> Mapping[Node, bytes]:
        return {node: self.nodes[node] for node in wanted}

    def inclusion(self, index: int, size: int) -> list[bytes]:
        """The path of RFC 9162 from one entry to the root of the first `size`."""
        return inclusion_proof(index, size, self._fetch)

    def consistency(self, old: int, new: int) -> list[bytes]:
        """The path of RFC 9162 from one size to a later one."""
        return consistency_proof(old, new, self._fetch)

    def note(self, size: int) -> str:
        """The checkpoint of the first `size` entries, signed by the log and cosigned by every member."""
        checkpoint = Checkpoint(ORIGIN, size, self.roots[size])
        lines = [
            cosign(checkpoint.body(), name=witness_name(ORIGIN, name), key=key_of(name), timestamp_s=NOW_S)
            for name in MEMBERS
        ]
        return sign_checkpoint(checkpoint, LOG) + "".join(lines)

    def cose_receipt(self, index: int, size: int) -> bytes:
        """The COSE receipt (RFC 9942) in the bundle that the ledger hands out."""
        receipt = make_receipt(index, self.inclusion(index, size), self.note(size), LOG)
        return Receipt.from_bytes(receipt).cose


def witness_vkey(name: str) -> Vkey:
    """The key with which a member cosigns."""
    return Vkey.of_witness(witness_name(ORIGIN, name), key_of(name).public)


def flips(raw: bytes, step: int = 1) -> Iterator[bytes]:
    """Copies of `raw` with one bit of every `step`-th byte changed, each time another one."""
    for position in range(0, len(raw), step):
        damaged = bytearray(raw)
        damaged[position] ^= 1 << position % 8
        yield bytes(damaged)
