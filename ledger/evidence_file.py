"""Evidence files: how they are made and read. What they prove, `ledger.evidence` says."""

from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias

from ledger.checkpoint import SignedCheckpoint
from ledger.encoding import EncodingError, decode, encode
from ledger.errors import LedgerError
from ledger.merkle import HASH_BYTES, consistency_proof, inclusion_proof
from ledger.subtrees import subtrees_of

EVIDENCE_VERSION = 1
MAX_EVIDENCE_BYTES = 4 << 20
_FIELDS: Mapping[str, frozenset[str]] = {
    "fork": frozenset({"smaller", "larger", "root", "path"}),
    "rules": frozenset({"checkpoint", "index", "entry", "inclusion", "prefix", "before"}),
    "promise": frozenset({"promise", "checkpoint", "entry", "inclusion"}),
    "notes": frozenset({"known", "offered"}),
}

Path: TypeAlias = Sequence[bytes]
"""A Merkle proof: 32-byte hashes, from the leaves up."""


class EvidenceError(LedgerError):
    """The file proves nothing against the log: it is malformed, changed, or fits an honest log."""

    exit_code = 1


class NoEvidence(EvidenceError):
    """The bytes are not an evidence file that this program reads."""

    exit_code = 2


def fork_evidence(one: str, other: str, root: bytes, path: Path) -> bytes:
    """Two notes that one key signed, in any order.

    Args:
        root: the root of the first entries of the larger tree, as many as the smaller one has.
        path: consistency proof from that root to the larger tree's.
    """
    smaller, larger = sorted((one, other), key=lambda note: SignedCheckpoint.parse(note).checkpoint.size)
    return _file("fork", smaller=smaller, larger=larger, root=root, path=list(path))


def rules_evidence(note: str, leaves: Sequence[bytes], index: int, entry: bytes, before: Sequence[bytes] = ()) -> bytes:
    """A checkpoint over `leaves` (the hashes of all its entries), of which `entry` at `index` breaks a rule.

    Args:
        before: the entries just before it that no mirror may have, for the log shows them with this checkpoint first.
    """
    fetch = subtrees_of(leaves)
    prefix = consistency_proof(index, len(leaves), fetch) if index else []
    inclusion = inclusion_proof(index, len(leaves), fetch)
    return _file(
        "rules", checkpoint=note, index=index, entry=entry, inclusion=inclusion, prefix=prefix, before=list(before)
    )


def promise_evidence(promise: bytes, note: str, entry: bytes | None = None, inclusion: Path = ()) -> bytes:
    """A broken promise.

    Args:
        note: a final checkpoint that ends before the promised place and was cosigned after the deadline; or, with
            `entry`, any checkpoint of the log.
        entry: what stands at the promised place instead.
        inclusion: proof of it.
    """
    return _file("promise", promise=promise, checkpoint=note, entry=entry, inclusion=list(inclusion))


def notes_evidence(known: str, offered: str) -> bytes:
    """Two checkpoints that a witness could not accept one after the other; kept, though no proof by themselves."""
    return _file("notes", known=known, offered=offered)


def _file(kind: str, **fields: Any) -> bytes:
    return encode({"v": EVIDENCE_VERSION, "kind": kind, **fields})


def read_evidence(raw: bytes) -> Mapping[str, Any]:
    """The fields of a file, each of its type; what they prove is another question.

    Raises:
        NoEvidence: it is no evidence file.
    """
    if len(raw) > MAX_EVIDENCE_BYTES:
        raise NoEvidence(f"the file has {len(raw)} bytes, more than {MAX_EVIDENCE_BYTES}; it is no evidence")
    try:
        fields = decode(raw, what="the evidence")
    except EncodingError:  # what is wrong with it as a record misleads: mostly it is another file
        raise NoEvidence("this is not evidence, or not all of it; give its file, or ask for it again") from None
    if not isinstance(fields, dict) or fields.get("v") != EVIDENCE_VERSION or isinstance(fields["v"], bool):
        raise NoEvidence(f"this is not evidence of version {EVIDENCE_VERSION}, which this program reads")
    kind = fields.get("kind")
    if not isinstance(kind, str) or kind not in _FIELDS or fields.keys() != {"v", "kind", *_FIELDS[kind]}:
        raise NoEvidence("the evidence is of an unknown kind, or does not have the fields of its kind")
    for name, value in fields.items():
        if name not in ("v", "kind") and not _fits(kind, name, value):
            raise NoEvidence(f"the evidence's field {name!r} is of the wrong type or size")
    return fields


def _fits(kind: str, name: str, value: Any) -> bool:
    if name in ("smaller", "larger", "checkpoint", "known", "offered"):
        return isinstance(value, str)
    if name == "before":
        return isinstance(value, list) and all(isinstance(item, bytes) for item in value)
    if name in ("path", "inclusion", "prefix"):
        return isinstance(value, list) and all(isinstance(item, bytes) and len(item) == HASH_BYTES for item in value)
    if name == "index":
        return isinstance(value, int) and not isinstance(value, bool) and value >= 0
    if name == "entry" and value is None:
        return kind == "promise"
    return isinstance(value, bytes) and (name != "root" or len(value) == HASH_BYTES)
