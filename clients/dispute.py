"""A firm opens one of its own updates to an auditor: find the round in its own mirror, say what that costs, pay, seal.

Nothing is opened of a round that its mirror does not hold as aggregated and final: until then the firm's own mask is
what protects the update. It costs once: the same update with the same noise, shown again, says nothing new.
"""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from clients.cost import Cost
from clients.disclosure import charge_once, leave_opening, paid_by_round
from clients.errors import ClientError
from clients.firm import DeclaredTask, Firm
from clients.masking.session import Session
from clients.offer import Offer, sessions_of
from clients.opening import Opening, seal_opening
from clients.own_mirror import reading_mirror
from clients.plan import Plan
from clients.wallet_ledger import LedgerView, require_booked
from ledger.commands.places import mirror_standing
from ledger.rules import Round, State
from ledger.statement import decode_statement
from ledger.store import Store


class DisputeRefused(ClientError):
    """This firm cannot or will not open this update to this auditor; nothing was spent or revealed."""

    exit_code = 1


class NotNamed(DisputeRefused):
    """The round or the auditor that was named is none, or not one."""

    exit_code = 2


@dataclass(frozen=True)
class OwnContribution:
    """What a firm's own mirror says of a round that it contributed to.

    Attributes:
        offer: the round.
        entry: the entry of the firm's contribution.
        commit: SHA-256 of its header, 32 bytes.
        aggregate: the entry of the round's aggregate.
    """

    offer: Offer
    entry: int
    commit: bytes
    aggregate: int


@dataclass(frozen=True)
class Prepared:
    """An opening that is ready to be paid for and sealed.

    Attributes:
        opening: what it says.
        auditor_key: 1216 bytes, what it is sealed to.
        contribution: which contribution it opens.
        values: values in the update.
        cost: what it costs above the round.
    """

    opening: Opening
    auditor_key: bytes
    contribution: OwnContribution
    values: int
    cost: Cost

    @property
    def task(self) -> str:
        """The task's name."""
        return str(self.contribution.offer.payload["task"])

    @property
    def purpose(self) -> str:
        """What the wallet's rows say it is for; the same for every auditor."""
        return f"opening/{self.task}/{self.opening.round_id.hex()}"


def prepare(firm: Firm, round_id: str, auditor: str) -> Prepared:
    """Find the round, rebuild its session and hold both against what this firm noted then. Changes nothing.

    Args:
        round_id: the round's id or how it begins, in hexadecimal.
        auditor: the member to open it to.

    Raises:
        DisputeRefused: saying why not.
        KeySetupRefused: its pair secrets cannot be read, or their time is over: then they are destroyed now.
        WalletBehind: the wallet lacks what the ledger shows.
        LedgerError: the mirror cannot be read.
    """
    if firm.config.limits.without_ledger:
        raise DisputeRefused(f"{firm.member} trains without a ledger: there is nothing to hold an opening against")
    with reading_mirror(firm) as store:
        standing = mirror_standing(firm.home)
        assert standing is not None, "the mirror was there a moment ago"
        named = _round(standing.state, round_id)
        key = _auditor_key(firm, standing.state, auditor)
        found = _own_contribution(firm, store, named, standing.final_size)
        with firm.wallet_as_it_is() as wallet:
            require_booked(wallet, LedgerView(standing.state, standing.final_size, store.entries), firm.config)
    session = own_session(firm, found)
    pairs = firm.round_secrets.pairs(session.epoch)
    seeds = {peer: pairs.mask_seed(session, peer) for peer in session.peers(firm.member)}
    opening = Opening(firm.config.cid, session.round_id, session.sid, firm.member, auditor, found.commit, seeds)
    cost = found.offer.plan.opening_cost(len(session.roster))
    return Prepared(opening, key, found, session.dimension, cost)


def carry_out(firm: Firm, prepared: Prepared) -> bytes:
    """Pay for an opening, if it was not paid for before, and seal it; the spend is on disk before the file exists.

    Raises:
        OverCap, NoCap, CountedOtherwise, NotTakingPart: nothing was spent.
    """
    if any(prepared.cost.nano_rdp):
        paid = charge_once(firm, _payer(firm, prepared), prepared.purpose, prepared.cost)
    else:
        paid = paid_by_round(prepared.purpose)
    record_id, ts = secrets.token_bytes(16), int(firm.now())
    sealed = seal_opening(prepared.opening, firm.key, prepared.auditor_key, record_id=record_id, ts=ts)
    return leave_opening(sealed, paid)


def is_paid(firm: Firm, prepared: Prepared) -> bool:
    """Whether the wallet has paid for an opening before. Changes nothing.

    Raises:
        OverCap, NoCap, CountedOtherwise, NotTakingPart: it cannot pay; `carry_out` would raise the same.
    """
    if not any(prepared.cost.nano_rdp):
        return False
    return firm.rehearse_charge_once(_payer(firm, prepared), prepared.purpose, prepared.cost)


def _payer(firm: Firm, prepared: Prepared) -> DeclaredTask:
    payer = firm.declared(prepared.task)
    if payer.spec.hash != prepared.contribution.offer.plan.spec:
        raise DisputeRefused(f"{prepared.task}: the round was of another task spec; bring that back to pay for it")
    return payer


def own_session(firm: Firm, found: OwnContribution) -> Session:
    """The session in which this firm masked its update of a round, made again from the secrets of its epoch.

    It is the very one: its id is the one that the firm noted before the update left.

    Raises:
        DisputeRefused: the epoch has ended, or the firm noted another session or contribution.
    """
    plan, cid = found.offer.plan, firm.config.cid
    if not firm.round_secrets.has_pairs(plan.epoch):
        raise DisputeRefused(
            f"round {found.offer.round_id.hex()}: its keys were of epoch {plan.epoch}, which has ended here; they are "
            "destroyed, and nobody can open this update any more"
        )
    pairs = firm.round_secrets.pairs(plan.epoch)
    entries = tuple(entry for entry in pairs.roster if entry.member in found.offer.cohort)
    sessions = sessions_of(cid, found.offer, entries, plan.dimension)
    session = next((one for one in sessions if firm.member in one), None)
    noted = firm.answers.entered(cid, found.offer.round_id)
    if session is None or noted != (session.sid, found.commit) or pairs.me.member != firm.member:
        raise DisputeRefused(
            f"round {found.offer.round_id.hex()}: what {firm.member} noted when it contributed is not what its mirror "
            "and its keys say now; were pair secrets set up anew, or the answer book replaced?"
        )
    return session


def _auditor_key(firm: Firm, state: State, auditor: str) -> bytes:
    if auditor == firm.member:
        raise NotNamed(f"{auditor}: it is this firm itself; name another member")
    if not state.is_enrolled(auditor):
        raise NotNamed(f"{auditor!r} is not an active member on the ledger that {firm.member} mirrors")
    key = state.encryption_keys.get(auditor)
    if key is None:
        raise DisputeRefused(
            f"{auditor} has no encryption key on the ledger that {firm.member} mirrors; it runs: "
            "artesian ledger members encryption --home HOME --address SERVICE"
        )
    return key


def _round(state: State, prefix: str) -> Round:
    known = [one for one in state.rounds.values() if one.id.hex().startswith(prefix.lower())]
    if len(known) != 1:
        found = "no round" if not known else f"{len(known)} rounds"
        raise NotNamed(f"round {prefix}: {found} of this id in the mirror; see artesian firm status")
    return known[0]


def _own_contribution(firm: Firm, store: Store, of: Round, final_size: int) -> OwnContribution:
    name = f"round {of.id.hex()}"
    records = {"round": of.index, **_entries_of(firm, store, of.id, of.index)}
    if "aggregate" not in records:
        raise DisputeRefused(f"{name}: it is {of.phase}, not aggregated; only what is in an opened sum can be disputed")
    if records["aggregate"] >= final_size:
        raise DisputeRefused(
            f"{name}: its aggregate, entry {records['aggregate']}, is not final in this mirror yet; its "
            "client learns that with the coordinator's next message"
        )
    if "contribution" not in records:
        raise DisputeRefused(f"{name}: {firm.member} did not contribute to it")
    read = {kind: decode_statement(store.entries(at, at + 1)[0]) for kind, at in records.items()}
    payload: Mapping[str, Any] = read["round"].payload
    plan = Plan.from_map(payload["plan"]) if isinstance(payload["plan"], dict) else None
    if plan is None or plan.aggregation != "masked":
        raise DisputeRefused(f"{name}: its updates were not masked; only masks can be taken off for an auditor")
    offer = Offer(payload, read["round"].digest, plan)
    commit = read["contribution"].payload["commit"]
    return OwnContribution(offer, records["contribution"], commit, records["aggregate"])


def _entries_of(firm: Firm, store: Store, round_id: bytes, start: int) -> dict[str, int]:
    """The entries of this firm's contribution to a round and of its aggregate, as far as they are there."""
    found: dict[str, int] = {}
    for index in range(start + 1, store.size()):
        statement = decode_statement(store.entries(index, index + 1)[0])
        kind, of = statement.payload["t"], statement.payload.get("round")
        if of == round_id and kind == "contribution" and statement.issuer == firm.member:
            found[kind] = index
        if of == round_id and kind == "aggregate":
            return {**found, kind: index}
    return found
