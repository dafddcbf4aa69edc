"""A firm's side of a round: check what is asked, train, pay, protect, and later help to open the sum, once.

The order is the promise: every check comes before training, the wallet is charged before the update exists in a
form that could leave, and each answer is on disk before it is sent, so that who lost it is given the same again.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Mapping
from functools import lru_cache, partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from clients.closed_sets import final_commits
from clients.disclosure import Leaving, admit_vote, charge, leave, leave_again, leave_kept
from clients.discrete_gaussian import discrete_gaussian
from clients.encryption.contribution import seal
from clients.firm import Firm, PrivateTask
from clients.held_out import deal, divide
from clients.key_setup import pair, require_on_ledger
from clients.masking.contribution import Contribution, protect
from clients.masking.epoch import open_pair_secrets
from clients.masking.errors import ValueOutOfBounds
from clients.masking.plain import expose
from clients.masking.session import RosterEntry, Session
from clients.masking.unmasking import answer
from clients.messages import OPEN, TRAIN, Refusal
from clients.noise import RandomStream
from clients.offer import Offer, check_plan, groups_of, read_offer, session_of, sessions_of
from clients.parent_model import parent_model
from clients.plan import MICRO, Plan
from clients.sitting_out import require_taking_part
from clients.tracing import span
from clients.training import Protection, bounded_gradient_sum
from ledger.genesis import record
from ledger.statement import sign_statement

__all__ = ["Offer", "open_sum", "pair", "session_of", "train"]


def train(firm: Firm, request: Mapping[str, Any]) -> Leaving:
    """Take part in a round: the protected update and the signed statement about it.

    Raises:
        ClientError, LedgerError: the refusal; nothing was spent unless the wallet had already paid.
    """
    offer = read_offer(firm, request["statement"], request["receipt"])
    require_taking_part(firm, offer.payload["task"])
    again = leave_again(firm, offer, TRAIN)
    if again is not None:
        _end_stream(firm, offer)
        return again
    check_plan(firm, firm.model(offer.payload["task"]), offer, firm.ledger)
    if offer.plan.measures:
        raise Refusal("plan", "the round measures, and trains no model")
    private = firm.task(offer.payload["task"], offer.held_to)
    parameters = parent_model(offer, private, request)
    compute = partial(_update, firm, offer, private, parameters)
    return contribute(firm, offer, private, request["sealed"], TRAIN, compute)


def contribute(
    firm: Firm,
    offer: Offer,
    private: PrivateTask,
    sealed: Mapping[str, bytes],
    kind: str,
    compute: Callable[[Session], NDArray[np.int64]],
) -> Leaving:
    """Pay for a round whose plan is checked, compute what goes into its sum, protect it and sign for it.

    Args:
        sealed: pair secrets that wait for this firm.
        kind: of the message that asked.
        compute: gives int64[plan.values], the firm's noisy integers.
    """
    session = _session(firm, offer, sealed)
    _require_first(firm, offer)
    if offer.plan.correlated is not None:
        dealt = deal(firm, private, offer.plan.correlated.bands)
        kept = firm.kept_sums(private.settings.name)
        kept.before(offer.stream, offer.plan.row, offer.digest, dealt.digest)  # or nothing is paid
    reserved = charge(firm, private, offer)
    firm.rest_mirror()
    with span("train"):
        values = compute(session)
    paid = reserved.pay()  # before anything is protected
    with span("protect"):
        contribution = _protect(firm, session, values)
    if offer.plan.votes:
        division = divide(firm, private, offer.plan).digest
        admit_vote(firm, offer, division, paid)
    statement = b"" if firm.config.limits.without_ledger else _statement(firm, offer, private, contribution)
    fields = {"contribution": contribution.to_bytes(), "statement": statement}
    leaving = leave_kept(firm, offer, kind, fields, paid)
    _end_stream(firm, offer)
    return leaving


def _end_stream(firm: Firm, offer: Offer) -> None:
    """Destroy the sums that correlated noise has kept, once the reply to its last row is kept: none needs them."""
    if offer.plan.correlated is not None and offer.plan.number == offer.plan.rounds:
        firm.kept_sums(offer.payload["task"]).destroy()


def _require_first(firm: Firm, offer: Offer) -> None:
    """Refuse a round that this firm is in already, before it pays: the answer book would refuse only afterwards."""
    known = None if firm.config.limits.without_ledger else firm.witness.state.rounds.get(offer.round_id)
    logged = known is not None and firm.member in known.contributions
    masked = offer.plan.aggregation == "masked" and firm.round_secrets.has_round(offer.round_id)
    encrypted = offer.plan.aggregation == "encrypted" and firm.answers.entered(firm.config.cid, offer.round_id)
    if logged or masked or encrypted:
        raise Refusal("round", f"{firm.member} has contributed to this round already; open a new one")


def _session(firm: Firm, offer: Offer, sealed: Mapping[str, bytes]) -> Session:
    plan = offer.plan
    if plan.aggregation == "masked":
        pairs = firm.round_secrets.pairs(plan.epoch)
        missing = {m: raw for m, raw in sealed.items() if m not in pairs.peers}
        roster = firm.round_secrets.roster(plan.epoch)
        if missing:
            open_pair_secrets(firm.round_secrets.epoch_keys(plan.epoch), pairs, roster, missing)
            firm.round_secrets.keep_pairs(plan.epoch, pairs)
        entries = tuple(entry for entry in roster if entry.member in offer.cohort)
        if [entry.member for entry in entries] != sorted(offer.cohort):
            raise Refusal("roster", "the epoch's keys are not set up for every firm of the cohort")
        require_on_ledger(firm, plan.epoch, entries)
    else:
        if plan.aggregation == "encrypted":
            firm.contexts.context(plan.key_holder, plan.context)  # it must be here before anything is paid
        sessions = _plain_sessions(firm.config.cid, offer.round_id, offer.plan.dimension, offer)
        return next(one for one in sessions if firm.member in one)
    groups = groups_of(firm.config.cid, offer, entries)
    (group,) = (one for one in groups if any(entry.member == firm.member for entry in one))
    return session_of(firm.config.cid, offer, group, offer.plan.dimension)


@lru_cache(maxsize=4)
def _plain_sessions(cid: str, round_id: bytes, dimension: int, offer: Offer) -> tuple[Session, ...]:
    entries = tuple(RosterEntry(member, bytes(32)) for member in sorted(offer.cohort))
    return sessions_of(cid, offer, entries, dimension)


def _update(
    firm: Firm, offer: Offer, private: PrivateTask, parameters: NDArray[np.float64], session: Session
) -> NDArray[np.int64]:
    """int64[plan.values]: the firm's noisy integers; of several local steps, the sum of theirs.

    A local step moves the model by its own noisy integers and by nothing else of the data, so that the sum says no more
    than the steps, each with all of its noise, which the round pays for one by one.
    """
    plan, step = offer.plan, session.quantiser.step
    stream = firm.stream(offer.payload["task"], plan.number)
    total = np.zeros(plan.values, dtype=np.int64)
    for _ in range(plan.local_steps):
        noisy = _noisy(plan, _bare_sum(firm, offer, private, parameters, stream), session, stream)
        total += noisy
        units = private.settings.units * plan.trained_share * plan.participation
        mean = noisy[: plan.dimension] * (step / units)
        parameters = parameters - plan.local_rate * mean
    if int(np.abs(total).max()) > session.quantiser.largest:
        raise _out_of_range()
    return total


def _bare_sum(
    firm: Firm, offer: Offer, private: PrivateTask, parameters: NDArray[np.float64], stream: RandomStream
) -> NDArray[np.float64]:
    """float64[plan.values], without noise: the round's clipped sum, or a row of correlated ones."""
    plan, experiment, correlated = offer.plan, firm.config.experiment, offer.plan.correlated
    dealt = None if correlated is None else deal(firm, private, correlated.bands)
    examples = divide(firm, private, plan).trained if dealt is None else dealt.parts[plan.row % len(dealt.parts)]
    update = bounded_gradient_sum(
        private.task.architecture,
        parameters,
        examples,
        Protection(plan.clip, plan.box, plan.sampling_rate, plan.weight),
        stream,
        gradients="auto" if experiment is None else experiment.gradients,
    )
    kept = firm.kept_sums(private.settings.name)
    if correlated is None or dealt is None:
        kept.destroy()
        return update
    sums = [update, *kept.before(offer.stream, plan.row, offer.digest, dealt.digest)]
    if plan.number < plan.rounds:
        kept.keep(offer.stream, plan.row, offer.digest, dealt.digest, sums[: correlated.bands])
    return correlated.encode(sums)


def noised(plan: Plan, update: NDArray[np.float64], session: Session, stream: RandomStream) -> NDArray[np.int64]:
    """int64[plan.values]: a bounded sum on the plan's grid, with all the noise that the plan asks of a firm.

    Raises:
        Refusal: it does not fit the ring, which happens once in some 1e18 times.
    """
    values = _noisy(plan, update, session, stream)
    if int(np.abs(values).max()) > session.quantiser.largest:
        raise _out_of_range()
    return values


def _noisy(plan: Plan, update: NDArray[np.float64], session: Session, stream: RandomStream) -> NDArray[np.int64]:
    sigma = plan.grid(len(session.roster)).sigma
    try:
        values = session.quantiser.quantise(update, None if sigma else stream.uniform)
    except ValueOutOfBounds:
        raise _out_of_range() from None  # without the value, which has no noise
    if sigma:
        values += discrete_gaussian(stream, sigma, len(values))
    return values


def _out_of_range() -> Refusal:
    return Refusal("update", "the update does not fit the bound of the plan; open a new round")


def _protect(firm: Firm, session: Session, values: NDArray[np.int64]) -> Contribution:
    if session.protection == "plain":
        return expose(session, firm.member, values)
    if session.protection == "encrypted":
        context = firm.contexts.context(session.key_holder, session.context)
        contribution, vector = seal(session, firm.member, values, context, firm.answers)
        firm.kept_vector.keep(contribution.header, vector)
        return contribution
    pairs = firm.round_secrets.pairs(session.epoch)
    contribution, kept = protect(
        session, firm.member, values, pairs, secrets.token_bytes, policy=firm.group_policy, book=firm.answers
    )
    firm.round_secrets.keep_round(session.round_id, kept)
    return contribution


def _statement(firm: Firm, offer: Offer, private: PrivateTask, contribution: Contribution) -> bytes:
    payload = record(
        "contribution",
        cid=firm.config.cid,
        record_id=secrets.token_bytes(16),
        ts=int(firm.now()),
        parent=offer.digest,
        round=offer.round_id,
        commit=contribution.commit,
        n_bucket=private.settings.units,
        rdp=list(offer.plan.round_rdp()),
        clip=round(offer.plan.clip * MICRO),
    )
    return sign_statement(payload, issuer=firm.member, subject=offer.round_id.hex(), key=firm.key)


def open_sum(firm: Firm, request: Mapping[str, Any]) -> Leaving:
    """Help to open the sum of this firm's group, for its contributions that are final on the ledger and no others.

    Raises:
        Refusal, MaskingError, NotFinal: nothing was revealed.
    """
    if firm.config.limits.without_ledger:
        commits = dict(request["commits"])
    else:
        commits = final_commits(firm, request["round"], request["final"])
    kept = firm.round_secrets.kept_round(request["round"])
    if not firm.config.limits.without_ledger:
        commits = {member: commit for member, commit in commits.items() if member in kept.session}  # of other groups
    pairs = firm.round_secrets.pairs(kept.session.epoch)
    reply = answer(
        kept.session,
        firm.member,
        request["headers"],
        commits,
        request["inbound"],
        kept,
        pairs,
        firm.answers,
    )
    return leave(OPEN, {"reply": reply.to_bytes()})
