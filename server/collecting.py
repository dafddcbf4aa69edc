"""The first trip of a round: contributions checked, journaled, stored, recorded and added up, each once."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any

from clients.errors import ClientError
from clients.masking.contribution import Contribution, Header
from clients.messages import MEASURE, TRAIN
from clients.plan import MICRO
from ledger.errors import LedgerError, Unreachable
from ledger.statement import decode_statement
from server.aggregation.evidence import AggregationError, ContributionRefused, RoundVoid
from server.artifacts import ArtifactMissing
from server.round_journal import Step
from server.round_setting import Setting
from server.round_sums import RoundSums
from server.round_terms import RoundTerms


class Collecting:
    """Takes the contributions to one round: those that the journal has, and those of the firms that are still to ask.

    A contribution is in the journal before it is in the store, there before it is on the ledger, and there before it
    is in the sum. So what is on the ledger can be added up again, and what did not get so far is asked for again: its
    firm gives the very same bytes.
    """

    def __init__(self, setting: Setting, terms: RoundTerms, sums: RoundSums) -> None:
        self._setting = setting
        self._cohort = setting.cohort
        self._terms = terms
        self._sums = sums
        self._number = terms.plan.number
        self._once_sent: dict[str, bytes] = {}

    def run(self, request: Mapping[str, Any]) -> None:
        """Add up what is there and what comes; those that do not fit are noted and left out.

        Args:
            request: what every firm is sent.

        Raises:
            RoundVoid: the ledger has a contribution that the journal or the store lacks.
        """
        taken = self._take_up()
        if self._setting.journal.taken(self._terms.round_id, Step.CLOSED):
            return  # firms may have answered for this very set: nobody can be added any more
        requests = self._requests(request, taken)
        kind = MEASURE if self._terms.plan.measures else TRAIN
        for member, reply in self._cohort.ask(kind, requests, self._number):
            try:
                self._take(member, Contribution.from_bytes(reply["contribution"]), reply["statement"])
            except Unreachable:  # it may be on the ledger: who takes the round up sees
                raise
            except (AggregationError, ClientError, LedgerError) as error:
                self._cohort.note(self._number, member, str(error), code=type(error).__name__)
                continue
            self._cohort.has_answered(member)

    def _requests(self, request: Mapping[str, Any], taken: set[str]) -> dict[str, Mapping[str, Any]]:
        """The message for each firm that is to be asked; most are sent the same."""
        record, requests = self._setting.record, dict[str, Mapping[str, Any]]()
        for member in self._terms.offer.cohort:
            if member in taken:
                continue
            # A firm whose witness has not seen the round would refuse it, so it is not asked and not waited for.
            if record is not None and not record.follows(member):
                self._cohort.was_silent(member)
                why = "not asked: its witness has not cosigned the round"
                self._cohort.note(self._number, member, why, code="NotCosigned")
                continue
            sealed = self._cohort.sealed_for(member, self._terms.offer.cohort)
            requests[member] = {**request, "sealed": sealed} if sealed else request
        return requests

    def _take_up(self) -> set[str]:
        """Add up again what firms had sent before this process took the round up; returns who they are."""
        taken, record = set[str](), self._setting.record
        for member, row in self._setting.journal.taken(self._terms.round_id, Step.CONTRIBUTION).items():
            commit = hashlib.sha256(row["header"]).digest()
            self._once_sent[member] = commit
            try:
                contribution = self._stored(row)
                if record is not None:
                    record.append([row["statement"]])  # if it is there already, it keeps its place
                self._sums.of(member).add(member, contribution, commit)
            except Unreachable:
                raise
            except (ArtifactMissing, AggregationError, ClientError, LedgerError):
                continue  # it is asked for again, or missed below
            taken.add(member)
            self._cohort.has_answered(member)
        logged = None if record is None else record.ledger.state.rounds.get(self._terms.round_id)
        lost = set() if logged is None else {member for member, _ in logged.contributions.items()} - taken
        if lost:
            raise RoundVoid(f"round: what {', '.join(sorted(lost))} sent is on the ledger, and not in the store")
        return taken

    def _stored(self, row: Mapping[str, Any]) -> Contribution:
        store = self._setting.artifacts
        masked, hashes = store.get(row["masked"], "masked values"), store.get(row["hashes"], "pair hashes")
        return Contribution(row["header"], masked, hashes, row["shares"])

    def _take(self, member: str, contribution: Contribution, statement: bytes) -> None:
        """Put a firm's contribution into the journal, the store, on the ledger and into the sum, or nowhere.

        One that stood on the ledger alone could never be matched by a sum, and would void the round for all.
        """
        aggregator = self._sums.of(member)
        header = aggregator.check(member, contribution, contribution.commit)
        if self._setting.record is not None:
            self._require_own_statement(member, contribution, statement)
            if self._once_sent.get(member) != contribution.commit:
                self._require_new(member, header)
            self._keep(member, contribution, statement)
            try:
                self._setting.record.append([statement])
            except Unreachable:
                raise
            except LedgerError:
                self._setting.drop(self._terms.round_id, member, contribution.commit)
                raise
        aggregator.add(member, contribution, contribution.commit)

    def _keep(self, member: str, contribution: Contribution, statement: bytes) -> None:
        parts = {"masked": contribution.masked, "hashes": contribution.pair_hashes}
        row = {
            **{name: hashlib.sha256(raw).digest() for name, raw in parts.items()},
            "header": contribution.header,
            "shares": dict(contribution.shares),
            "statement": statement,
        }
        self._setting.journal.take(self._terms.round_id, Step.CONTRIBUTION, member, row)
        # Once the journal names it, and before the ledger does: what is stored goes with the round if that is given up.
        self._setting.artifacts.put_all([contribution.header, *parts.values()])

    def _require_new(self, member: str, header: Header) -> None:
        """Masks serve one round: what is stored is another's, and would be deleted if this one is void."""
        if header.self_seed and any(self._setting.artifacts.has(one) for one in (header.masked, header.pair_seeds)):
            raise ContributionRefused(f"contribution of {member}: its masked values or pair hashes were sent before")

    def _require_own_statement(self, member: str, contribution: Contribution, statement: bytes) -> None:
        read, plan = decode_statement(statement), self._terms.plan
        expected = {
            "t": "contribution",
            "round": self._terms.round_id,
            "commit": contribution.commit,
            "rdp": list(plan.round_rdp()),
            "clip": round(plan.clip * MICRO),
            "n_bucket": self._terms.units[member],
        }
        if read.issuer != member:
            raise ContributionRefused(f"contribution of {member}: its statement is {read.issuer}'s")
        for name, value in expected.items():
            if read.payload.get(name) != value:
                raise ContributionRefused(f"contribution of {member}: its statement has another {name!r} than agreed")
