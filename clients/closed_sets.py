"""Which contributions to a round a firm takes for closed: those of its own mirror, once that is final."""

from __future__ import annotations

from clients.firm import Firm
from clients.key_setup import require_final
from clients.messages import Refusal
from ledger.rules import Phase


def final_commits(firm: Firm, round_id: bytes, note: str) -> dict[str, bytes]:
    """What the contributions to a round are committed to, once a quorum has cosigned all of the round that is mirrored.

    Without the quorum a coordinator that forks the ledger could have firms answer for different sets, and open a sum
    of fewer firms, with less noise, than the threshold says.
    """
    require_final(firm, note, lambda later: later.payload.get("round") == round_id)
    current = firm.witness.state.rounds.get(round_id)
    if current is None or current.phase is not Phase.OPEN:
        raise Refusal("round", "the round to open is not open in this firm's mirror of the ledger")
    return {member: logged.commit for member, logged in current.contributions.items()}
