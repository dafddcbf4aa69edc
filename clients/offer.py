"""A round as a firm is offered it: read from the ledger, held against the firm's own limits, and made a session."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import cbor2

from clients.agreed_policy import require_agreed
from clients.catching_up import catch_up
from clients.encryption.policy import check_holder
from clients.firm import Firm
from clients.groups import draw_groups, group_sizes, is_next
from clients.masking.session import RosterEntry, Session
from clients.masking.threshold import threshold_for
from clients.measuring.statistic import statistic_of_plan
from clients.messages import Refusal
from clients.plan import Plan
from clients.private_tables import Stream
from clients.tasks.task import Task
from ledger.receipt import Receipt, verify_receipt
from ledger.rules import Phase, State
from ledger.source import WitnessRefusal
from ledger.statement import Statement, decode_statement

_OFFERED = "round"


@dataclass(frozen=True, eq=False)
class Offer:
    """A round as a firm has checked it."""

    payload: Mapping[str, Any]
    digest: bytes
    plan: Plan

    @property
    def round_id(self) -> bytes:
        return bytes(self.payload["id"])

    @property
    def stream(self) -> bytes:
        """32 bytes that name the stream of correlated noise that the round is a row of: its task, firms and terms."""
        of_round = ("number", "epoch", "deadline_s")
        terms = {name: value for name, value in self.plan.to_map().items() if name not in of_round}
        said = [self.payload["task"], sorted(self.cohort), terms]
        return hashlib.sha256(cbor2.dumps(said, canonical=True)).digest()

    @property
    def held_to(self) -> Stream | None:
        """The stream to whose records the round keeps the firm; None where the firm's table is as it is now."""
        return None if self.plan.correlated is None else Stream(self.stream, begins=self.plan.row == 0)

    @property
    def cohort(self) -> list[str]:
        return list(self.payload["cohort"])


def read_offer(firm: Firm, statement: bytes, receipt: bytes) -> Offer:
    """The round that is offered, proven final on the ledger and open in this firm's own mirror.

    Raises:
        ReceiptError, Refusal: it is not, or this firm's witness is not so far.
    """
    if firm.config.limits.without_ledger:
        return _unrecorded_offer(statement)
    catch_up(firm, Receipt.from_bytes(receipt).checkpoint)
    with suppress(WitnessRefusal):  # it may be of a history that this firm lacks: then the receipt alone is judged
        firm.witness.mirror.learn(Receipt.from_bytes(receipt).checkpoint)
    verify_receipt(receipt, statement, firm.trusted)
    read = decode_statement(statement)
    if read.payload["t"] != _OFFERED:
        raise Refusal("round", f"the statement offered is a {read.payload['t']!r} record, not a round")
    known = firm.witness.state.rounds.get(read.payload["id"])
    if known is None or known.digest != read.digest:
        raise Refusal("round", f"the round is not in {firm.member}'s mirror of the ledger")
    if known.phase is not Phase.OPEN:
        raise Refusal("round", f"the round is {known.phase} already")
    if not isinstance(read.payload["plan"], dict):
        raise Refusal("plan", "the round holds no plan")
    offer = Offer(read.payload, read.digest, Plan.from_map(read.payload["plan"]))
    check_number(offer, firm.witness.state, lambda index: decode_statement(firm.witness.entry(index)))
    return offer


def check_number(offer: Offer, ledger: State, entry: Callable[[int], Statement]) -> None:
    """Refuse a number that does not follow from the ledger where it draws groups: they would be of anybody's choice.

    Args:
        ledger: what the entries of the firm's mirror mean.
        entry: reads one of them.

    Raises:
        Refusal: it is neither a run's first nor the next.
    """
    if offer.plan.groups == 1:
        return
    model, task = offer.payload["parent_model"], offer.payload["task"]
    over = (Phase.AGGREGATED, Phase.PUBLISHED)
    made = [one for one in ledger.rounds.values() if one.model == model and one.task == task and one.phase in over]
    plans = (Plan.from_map(entry(index).payload["plan"]) for index in sorted((one.index for one in made), reverse=True))
    before = next((plan for plan in plans if not plan.measures), None)
    if not is_next(offer.plan, before):
        after = "no round" if before is None else f"round {before.number} of {before.rounds}"
        raise Refusal("number", f"round {offer.plan.number} of {offer.plan.rounds} cannot follow on {after}")


@lru_cache(maxsize=4)
def _unrecorded_offer(payload: bytes) -> Offer:
    """A round without a ledger; many simulated firms of one process are offered the same bytes."""
    fields = cbor2.loads(payload)
    return Offer(fields, hashlib.sha256(payload).digest(), Plan.from_map(fields["plan"]))


def check_plan(firm: Firm, task: Task, offer: Offer, ledger: State | None) -> None:
    """Hold the plan against the firm's own limits and the task's spec.

    Args:
        ledger: what the entries of the firm's mirror mean; None where there is no ledger.

    Raises:
        Refusal: naming the limit.
        PolicyNotTaken, TaskNotAgreed: the members have not agreed on the task, as far as this firm knows.
    """
    require_agreed(firm.home, ledger, offer.payload["task"], task.spec.hash)
    plan, limits, cohort = offer.plan, firm.config.limits, offer.cohort
    smallest, largest = group_sizes(len(cohort), plan.groups)
    dimension = statistic_of_plan(task.spec, plan).size if plan.measures else task.architecture.size
    among = f"{smallest} firms" if plan.groups == 1 else f"{smallest} firms in a group"
    rules: list[tuple[bool, str, str]] = [
        (plan.spec == task.spec.hash, "spec", "the plan is for another version of the task spec"),
        (
            not plan.measures or plan.measures in limits.measurements,
            "measurement",
            f"{plan.measures!r} is not among what this firm lets be measured: "
            f"{', '.join(limits.measurements) or 'nothing'}",
        ),
        (
            plan.dimension == dimension,
            "dimension",
            f"the plan is for {plan.dimension} values, the task has {dimension}",
        ),
        (firm.member in cohort, "cohort", f"{firm.member} is not in the cohort"),
        (
            smallest >= limits.min_cohort,
            "cohort",
            f"{among}, this firm asks for at least {limits.min_cohort}",
        ),
        (
            plan.aggregation in limits.aggregation,
            "aggregation",
            f"{plan.aggregation!r} is not among what this firm allows: {', '.join(limits.aggregation)}",
        ),
        (
            plan.privacy != "none" or limits.without_privacy,
            "privacy",
            "the plan adds no noise; this firm trains with differential privacy only",
        ),
        (
            plan.privacy != "distributed" or plan.aggregation != "plain" or limits.without_privacy,
            "privacy",
            "distributed noise protects only a masked sum or an encrypted one, and the plan leaves updates as they are",
        ),
        (
            plan.privacy != "distributed" or plan.colluders >= limits.colluders,
            "privacy",
            f"the noise allows for {plan.colluders} colluders, this firm insists on {limits.colluders}",
        ),
        (
            plan.privacy == "none" or plan.noise_multiplier >= limits.noise_least,
            "noise",
            f"the noise multiplier is {plan.noise_multiplier:g}, this firm asks for at least {limits.noise_least:g}",
        ),
        (
            not plan.correlation or plan.threshold >= len(cohort),
            "threshold",
            "correlated noise needs every firm of the cohort in the sum",
        ),
        (
            plan.delta <= limits.delta,
            "privacy",
            f"delta {plan.delta:g} is above this firm's {limits.delta:g}",
        ),
    ]
    for holds, code, detail in rules:
        if not holds:
            raise Refusal(code, detail)
    for size in {smallest, largest}:
        plan.grid(size)
    if plan.aggregation == "encrypted":
        check_holder(firm, plan, offer.round_id, cohort, ledger)
    if plan.aggregation != "plain":
        least = limits.colluders + limits.smallest_group  # one sum opens, whoever lies: see docs/secure-aggregation.md
        if plan.aggregation == "masked":
            least = threshold_for(largest, colluders=limits.colluders, smallest_group=limits.smallest_group)
        if ledger is not None:
            least = max(least, ledger.terms.min_cohort)
        if plan.threshold < least:
            raise Refusal("threshold", f"{plan.threshold} firms could open the sum, this firm asks for {least}")


def sessions_of(cid: str, offer: Offer, roster: tuple[RosterEntry, ...], dimension: int) -> tuple[Session, ...]:
    """The sums that a round's statement asks for, one a group; firms, coordinator and auditor derive them alike.

    Args:
        roster: the whole cohort, in order of member ids.

    Raises:
        GroupsImpossible: the plan asks for groups that are too small.
    """
    return tuple(session_of(cid, offer, group, dimension) for group in groups_of(cid, offer, roster))


def groups_of(cid: str, offer: Offer, roster: tuple[RosterEntry, ...]) -> tuple[tuple[RosterEntry, ...], ...]:
    """The random groups of a round, see `clients.groups`.

    Args:
        roster: the whole cohort, in order of member ids.

    Raises:
        GroupsImpossible: the plan asks for groups that are too small.
    """
    return draw_groups(cid, offer.payload["task"], offer.plan.number, offer.plan.groups, roster)


def session_of(cid: str, offer: Offer, entries: tuple[RosterEntry, ...], dimension: int) -> Session:
    """The masked sum of one group of a round, or of its whole cohort where there is one.

    Args:
        dimension: parameters of the model that the round starts from; with summed weights one value more is masked.
    """
    plan = offer.plan
    return Session(
        cid=cid,
        epoch=plan.epoch,
        round_id=offer.round_id,
        roster=entries,
        model=bytes(offer.payload["parent_model"]),
        dimension=dimension + plan.values - plan.dimension,
        ring_bits=plan.ring_bits,
        threshold=plan.threshold,
        bound=plan.grid(len(entries)).bound,
        protection=plan.protection,
        key_holder=plan.key_holder,
        context=plan.context,
    )
