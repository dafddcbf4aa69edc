"""Waiting, for a moment, until the firm's live witness has mirrored what a message is about."""

from __future__ import annotations

import time
from collections.abc import Callable

from clients.firm import MIRROR_PATIENCE_S, Firm
from clients.messages import Refusal
from clients.own_mirror import reading_mirror
from ledger.checkpoint import SignedCheckpoint

_PAUSE_S = 0.02


def catch_up(
    firm: Firm,
    note: str,
    *,
    for_s: float = MIRROR_PATIENCE_S,
    monotonic: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], None] = time.sleep,
) -> None:
    """Wait until the firm's mirror has all entries that a checkpoint covers; without a live witness there is no wait.

    The checkpoint is not believed: it only says how far to wait.

    Raises:
        Refusal: the witness has not got so far in `for_s` seconds.
        NoteError: it is no checkpoint.
    """
    if not firm.has_live_witness:
        return
    wanted, size = SignedCheckpoint.parse(note).checkpoint.size, firm.witness.size
    end_s = monotonic() + for_s
    while size < wanted:
        if monotonic() >= end_s:
            raise Refusal(
                "behind",
                f"the witness of {firm.member} has mirrored {size} of {wanted} entries, and did not get further in "
                f"{for_s:g} s; see that it runs and reaches the ledger",
            )
        firm.rest_mirror()
        sleep(_PAUSE_S)
        with reading_mirror(firm) as store:
            size = store.size()
