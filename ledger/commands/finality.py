"""How much of a stored ledger is final under a policy that the reader trusts."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ledger.policy import Policy
    from ledger.store import Store


def final_size(store: Store, policy: Policy) -> int:
    """Number of entries under the largest checkpoint in `store` that is final under `policy`; 0 if none is."""
    from ledger.checkpoint import SignedCheckpoint
    from ledger.note import SignatureLine

    notes = store.checkpoints()
    for size in sorted(notes, reverse=True):
        lines = [SignatureLine.parse(line) for line in store.cosignatures(size).values()]
        if lines and size_if_final(SignedCheckpoint.parse(notes[size]).with_lines(lines), policy):
            return size
    return 0


def size_if_final(note: str | None, policy: Policy) -> int:
    """The checkpoint's number of entries if it is final under `policy`, else 0."""
    from ledger.checkpoint import SignedCheckpoint, is_final

    return SignedCheckpoint.parse(note).checkpoint.size if note and is_final(note, policy) else 0
