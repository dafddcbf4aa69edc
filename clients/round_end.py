"""What a firm destroys when a round is over, whoever ended it."""

from __future__ import annotations

from contextlib import suppress

from clients.firm import Firm
from ledger.errors import LedgerError
from ledger.rules import Phase


def end_stale_reply(firm: Firm) -> None:
    """Destroy the reply that is kept for a round that is over; asked before every message is handled.

    Without a ledger nobody says so: there the reply to the next round takes its place.
    """
    kept = firm.kept_reply.round()
    if kept is None or firm.config.limits.without_ledger:
        return
    with suppress(LedgerError):  # the message that needs the mirror will say so
        known = firm.witness.state.rounds.get(kept)
        if known is not None and known.phase is not Phase.OPEN:
            firm.kept_reply.destroy()
