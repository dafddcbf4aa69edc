"""Whom a firm lets hold the key of a sum that it is in."""

from __future__ import annotations

from collections.abc import Sequence

from clients.firm import Firm
from clients.messages import Refusal
from clients.plan import Plan
from ledger.rules import State

PURPOSE = "ckks"
"""Of the ledger's `epoch_key` records in which a holder vouches for the hash of its public context."""


def check_holder(firm: Firm, plan: Plan, round_id: bytes, cohort: Sequence[str], ledger: State | None) -> None:
    """Hold an encrypted plan's key holder and context against the firm's limits and its mirror of the ledger.

    Raises:
        Refusal: naming what does not hold.
    """
    holder, limits = plan.key_holder, firm.config.limits
    if holder not in limits.key_holders:
        raise Refusal(
            "key holder", f"{holder!r} is not among those that this firm allows: {', '.join(limits.key_holders)}"
        )
    if holder in cohort:
        raise Refusal("key holder", f"{holder!r} is in the cohort; whoever opens a sum must have no part in it")
    if ledger is None:
        return
    vouched = ledger.epoch_key(holder, PURPOSE)
    if not ledger.is_enrolled(holder, "firm") or vouched is None:
        raise Refusal("key holder", f"{holder!r} is no active firm that vouches for a key on the ledger")
    if (vouched.epoch, vouched.key) != (plan.epoch, plan.context):
        raise Refusal("key holder", f"the plan's key is not the one that {holder!r} vouches for on the ledger")
    require_first_round(ledger, holder, round_id)


def require_first_round(ledger: State, holder: str, round_id: bytes) -> None:
    """A key serves the first round after it, of whatever task, and no other: two rounds could not share one.

    Who has seen the ciphertexts of the one could send a multiple of them in the other.

    Raises:
        Refusal: there was another round since the holder vouched for its key.
    """
    vouched, this = ledger.epoch_key(holder, PURPOSE), ledger.rounds.get(round_id)
    if vouched is None or this is None or any(vouched.since < one.index < this.index for one in ledger.rounds.values()):
        raise Refusal("key holder", f"the key of {holder!r} is not for this round: it is gone or has served another")
