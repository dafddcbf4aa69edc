"""Before a round: what it would bring the wallet to, and the rest of its run, and whether the wallet pays."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from clients.cost import Cost
from clients.errors import ClientError
from clients.firm import Firm
from clients.offer import Offer
from clients.privacy_words import up
from clients.wallet_ledger import purpose_of


def outlook(firm: Firm, offer: Offer) -> dict[str, Any] | None:
    """What the firm's wallet says to a round: rehearsed, nothing is spent; None where nothing is paid."""
    plan, mechanism = offer.plan, offer.plan.round_mechanism()
    if mechanism is None:
        return None
    payer, purpose = firm.declared(offer.payload["task"]), purpose_of(offer.payload["task"], offer.round_id)
    limits = firm.config.limits
    with firm.wallet_as_it_is() as wallet:
        account, paid = wallet.account(payer.unit, payer.dataset), bool(wallet.purchases(purpose))
    total = account.total if paid else account.total.with_(Cost.of(mechanism))
    later = (replace(plan, number=number).round_mechanism() for number in range(plan.number + 1, plan.rounds + 1))
    rest = [one for one in later if one is not None]
    cap = limits.epsilon if account.cap is None else account.cap.epsilon
    return {
        "paid": paid,
        "epsilon_now": account.total.epsilon(limits.delta),
        "epsilon_after_round": total.epsilon(limits.delta),
        "rounds_after": len(rest),
        "epsilon_after_run": total.with_(Cost.of(*rest)).epsilon(limits.delta),
        "cap": min(cap, limits.epsilon),
        "delta": limits.delta,
        "refusal": None if paid else _refusal(firm, offer),
    }


def _refusal(firm: Firm, offer: Offer) -> str | None:
    mechanism, plan = offer.plan.round_mechanism(), offer.plan
    assert mechanism is not None
    try:
        firm.rehearse_charge(firm.declared(offer.payload["task"]), mechanism, number=plan.number, rounds=plan.rounds)
    except ClientError as error:
        return str(error)
    return None


def outlook_line(found: Mapping[str, Any]) -> str:
    """The same in words."""
    run = ""
    if found["rounds_after"]:
        run = f", the {found['rounds_after']} rounds after it to {up(found['epsilon_after_run'])}"
    if found["paid"]:
        run = run.replace(", the", "; the")
        return f"Its wallet has paid for this round: epsilon {up(found['epsilon_now'])} of {found['cap']:g}{run}."
    said = (
        f"Its wallet has paid epsilon {up(found['epsilon_now'])} of {found['cap']:g}; this round brings it to "
        f"{up(found['epsilon_after_round'])}{run}"
    )
    return f"{said}." if found["refusal"] is None else f"{said}. It will not pay: {found['refusal']}"
