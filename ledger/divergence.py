"""Where two histories of one log part, and the proof that they do."""

from collections.abc import Sequence

from ledger.checkpoint import Checkpoint, SignedCheckpoint
from ledger.evidence import fork_evidence
from ledger.intake import stream
from ledger.merkle import ProofError, leaf_hash, prefix_root, root_of, verify_consistency
from ledger.mirrored import Mirrored
from ledger.source import Source
from ledger.statement import StatementError, decode_statement


def fork_file(
    mirror: Mirrored, signed: SignedCheckpoint, proof: Sequence[bytes], source: Source | None
) -> bytes | None:
    """Evidence that the log signed another history than `mirror` has, or None if it cannot be proved.

    Args:
        signed: the checkpoint over the other history.
        proof: what the source gave as consistency with the mirror.
        source: asked for entries where the proof alone does not tell.
    """
    offered = signed.with_lines(())
    point, known = signed.checkpoint, mirror.size
    if point.size < known:
        return fork_evidence(offered, mirror.note, mirror.root_at(point.size), mirror.consistency(point.size, known))
    if point.size == known:
        return fork_evidence(mirror.note, offered, point.root, [])
    theirs = prefix_root(known, point.size, proof, point.root)
    if theirs is None and source is not None:
        theirs = root_of(leaf_hash(raw) for raw in stream(source, 0, known))
        try:
            verify_consistency(known, point.size, proof, theirs, point.root)
        except ProofError:
            return None
    return None if theirs is None else fork_evidence(mirror.note, offered, theirs, proof)


def shared_entries(mirror: Mirrored, source: Source, point: Checkpoint) -> int:
    """How many first entries the mirror shares with the tree of a checkpoint, by proofs of the source."""
    low, high = 0, min(mirror.size, point.size)
    while low < high:
        middle = (low + high + 1) // 2
        try:
            proof = source.consistency(middle, point.size)
            verify_consistency(middle, point.size, proof, mirror.root_at(middle), point.root)
            low = middle
        except ProofError:
            high = middle - 1
    return low


def is_handover(raw: bytes) -> bool:
    """Whether an entry hands the log over."""
    try:
        return bool(decode_statement(raw).payload.get("t") == "handover")
    except StatementError:
        return False
