"""Which checkpoint of a ledger is final under a policy that the reader trusts."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ledger.checkpoint import Checkpoint
    from ledger.policy import Policy
    from ledger.store import Store


def newest_final(store: Store, policy: Policy) -> Checkpoint | None:
    """The largest checkpoint in `store` that is final under `policy`; nothing says yet that its entries are there."""
    from ledger.checkpoint import SignedCheckpoint
    from ledger.note import SignatureLine

    notes = store.checkpoints()
    for size in sorted(notes, reverse=True):
        lines = [SignatureLine.parse(line) for line in store.cosignatures(size).values()]
        if lines and (found := if_final(SignedCheckpoint.parse(notes[size]).with_lines(lines), policy)):
            return found
    return None


def if_final(note: str | None, policy: Policy) -> Checkpoint | None:
    """The checkpoint of a note that is final under `policy`, or None."""
    from ledger.checkpoint import SignedCheckpoint, is_final

    return SignedCheckpoint.parse(note).checkpoint if note and is_final(note, policy) else None
