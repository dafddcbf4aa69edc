"""One round: open it on the ledger, collect updates, open their sum, step, and record the aggregate."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import cbor2

from clients.errors import ClientError
from clients.masking.contribution import Contribution, Header
from clients.masking.session import Session
from clients.messages import OPEN, TRAIN
from clients.offer import Offer, session_of
from clients.plan import MICRO, Plan
from ledger.errors import LedgerError
from ledger.statement import decode_statement
from server.aggregation.evidence import AggregationError, ContributionRefused
from server.aggregation.masked import Aggregator, OpenedSum
from server.aggregation.plain import PlainAggregator
from server.artifacts import ArtifactStore
from server.cohort import Cohort
from server.descent import PARAMETERS, Descent
from server.errors import ServerError
from server.model_store import store_model
from server.recording import Record
from server.statements import Statements
from server.void_rounds import forget_contributions
from server.witnessing import bring_up_to_date


class RoundAborted(ServerError):
    """A round that was given up; the next one trains again."""

    exit_code = 3


@dataclass(frozen=True)
class Setting:
    """What all rounds of a run share.

    Attributes:
        task: the task's name.
        dimension: values in an update.
        record: the ledger; None in simulations without one.
    """

    task: str
    dimension: int
    cohort: Cohort
    record: Record | None
    statements: Statements
    artifacts: ArtifactStore

    def abort(self, round_id: bytes, reason: str) -> None:
        """Delete what firms sent for a round, and give it up on the ledger.

        In this order: after a crash in between the round is still open, and is given up again.
        """
        if self.record is not None:
            text = " ".join(reason.split())[:500]
            left = self.record.ledger.state.rounds.get(round_id)
            commits = [one.commit for one in left.contributions.values()] if left is not None else []
            forget_contributions(self.artifacts, commits)
            self.record.append([self.statements.make("abort", round_id.hex(), round=round_id, reason=text)])


class TrainingRound:
    """One round of one task. Use once."""

    def __init__(self, setting: Setting, plan: Plan, descent: Descent) -> None:
        self._setting = setting
        self._cohort = setting.cohort
        self._record = setting.record
        self._plan = plan
        self._before = descent

    def run(self) -> tuple[Descent, bytes]:
        """Take the round to its aggregate; returns the model after it and the round's id.

        Raises:
            RoundAborted: it was given up, on the ledger too, and no update was opened unless all of it was.
            NotWitnessed: the round did not become final; nobody was asked to train.
        """
        offer, statement = self._open()
        session = session_of(self._setting.statements.cid, offer, self._cohort.roster, self._setting.dimension)
        aggregator = Aggregator(session) if session.protection == "masked" else PlainAggregator(session)
        try:
            self._collect(offer, statement, aggregator)
            opened = self._open_sum(offer, aggregator)
        except AggregationError as error:
            self._setting.abort(offer.round_id, str(error))
            said = self._cohort.why(self._plan.number)
            raise RoundAborted(f"{error}; {said}") from error
        after = self._before.step(session.quantiser.dequantise(opened.total), self._plan)
        self._close(offer, session, opened, after)
        return after, offer.round_id

    def _open(self) -> tuple[Offer, bytes]:
        """Append the round and make it final, before any firm is asked to train."""
        payload = self._setting.statements.payload(
            "round",
            task=self._setting.task,
            plan=self._plan.to_map(),
            cohort=self._cohort.members,
            parent_model=self._before.digest,
        )
        if self._record is None:
            raw = cbor2.dumps(payload, canonical=True)
            return Offer(payload, hashlib.sha256(raw).digest(), self._plan), raw
        raw = self._setting.statements.sign(payload, payload["id"].hex())
        self._record.append([raw])
        bring_up_to_date(self._cohort, self._record, self._plan.number)
        self._record.require_final()
        return Offer(payload, decode_statement(raw).digest, self._plan), raw

    def _collect(self, offer: Offer, statement: bytes, aggregator: Aggregator | PlainAggregator) -> None:
        """First trip: the protected updates; those that fit are stored, recorded, added up and let go, one by one."""
        files = self._before.files()
        request = {
            "statement": statement,
            "receipt": self._receipt(statement),
            "parameters": files[PARAMETERS],
            "digests": {name: hashlib.sha256(raw).digest() for name, raw in files.items() if name != PARAMETERS},
            "sealed": {},
        }
        # A firm whose witness has not seen the round would refuse it, so it is not asked and not waited for.
        asked = [m for m in offer.cohort if self._record is None or self._record.follows(m)]
        requests = {}
        for member in asked:
            sealed = self._cohort.sealed_for(member)
            requests[member] = {**request, "sealed": sealed} if sealed else request
        for member, reply in self._cohort.ask(TRAIN, requests, self._plan.number):
            try:
                contribution = Contribution.from_bytes(reply["contribution"])
                self._take(offer, member, contribution, reply["statement"], aggregator)
            except (AggregationError, ClientError, LedgerError) as error:
                self._cohort.note(self._plan.number, member, str(error))
                continue
            self._cohort.has_answered(member)

    def _take(
        self,
        offer: Offer,
        member: str,
        contribution: Contribution,
        statement: bytes,
        aggregator: Aggregator | PlainAggregator,
    ) -> None:
        """Put a firm's contribution on the ledger, into the store and into the sum, or nowhere.

        One that stood on the ledger alone could never be matched by a sum, and would void the round for all.
        """
        header = aggregator.check(member, contribution, contribution.commit)
        if self._record is not None:
            self._require_own_statement(offer, member, contribution, statement)
            self._require_new(member, header)
            self._record.append([statement])
            # After it is on the ledger: what is stored is named there, and goes with the round if that is given up.
            self._setting.artifacts.put_all([contribution.header, contribution.masked, contribution.pair_hashes])
        aggregator.add(member, contribution, contribution.commit)

    def _require_new(self, member: str, header: Header) -> None:
        """Masks serve one round: what is stored is another's, and would be deleted if this one is void."""
        if header.self_seed and any(self._setting.artifacts.has(one) for one in (header.masked, header.pair_seeds)):
            raise ContributionRefused(f"contribution of {member}: its masked values or pair hashes were sent before")

    def _require_own_statement(self, offer: Offer, member: str, contribution: Contribution, statement: bytes) -> None:
        read = decode_statement(statement)
        expected = {
            "t": "contribution",
            "round": offer.round_id,
            "commit": contribution.commit,
            "rdp": list(self._plan.round_rdp()),
            "clip": round(self._plan.clip * MICRO),
            "n_bucket": self._cohort.units[member],
        }
        if read.issuer != member:
            raise ContributionRefused(f"contribution of {member}: its statement is {read.issuer}'s")
        for name, value in expected.items():
            if read.payload.get(name) != value:
                raise ContributionRefused(f"contribution of {member}: its statement has another {name!r} than agreed")

    def _open_sum(self, offer: Offer, aggregator: Aggregator | PlainAggregator) -> OpenedSum:
        """Second trip: the contributions become final, then firms send what opens exactly their sum."""
        headers = aggregator.close()
        if isinstance(aggregator, PlainAggregator):
            return aggregator.open()
        requests = self._opening_requests(offer, aggregator, headers)
        for member, reply in self._cohort.ask(OPEN, requests, self._plan.number):
            try:
                aggregator.accept(member, reply["reply"])
            except AggregationError as error:
                self._cohort.note(self._plan.number, member, str(error))
        return aggregator.open()

    def _opening_requests(
        self, offer: Offer, aggregator: Aggregator, headers: Mapping[str, bytes]
    ) -> dict[str, dict[str, Any]]:
        final = ""
        commits = {member: hashlib.sha256(raw).digest() for member, raw in headers.items()}
        if self._record is not None:
            bring_up_to_date(self._cohort, self._record, self._plan.number)
            final = self._record.require_final()
            commits = {}  # firms take them from the ledger
        common = {"round": offer.round_id, "headers": dict(headers), "commits": commits, "final": final}
        return {member: {**common, "inbound": aggregator.inbound_for(member)} for member in headers}

    def _close(
        self,
        offer: Offer,
        session: Session,
        opened: OpenedSum,
        after: Descent,
    ) -> None:
        """Store what is left of the round's artifacts, then record the aggregate that binds them."""
        artifacts = self._setting.artifacts
        model = store_model(artifacts, after)
        if self._record is None:
            return
        unmask = artifacts.put_all([session.raw, opened.unmasking])[1]
        current = self._record.ledger.state.rounds.get(offer.round_id)
        assert current is not None
        statement = self._setting.statements.make(
            "aggregate",
            offer.round_id.hex(),
            parent=offer.digest,
            round=offer.round_id,
            inputs=current.inputs(),
            unmask=unmask,
            model=model,
        )
        self._record.append([statement])

    def _receipt(self, statement: bytes) -> bytes:
        if self._record is None:
            return b""
        index = self._record.ledger.index_of(decode_statement(statement).digest)
        assert index is not None
        return self._record.ledger.receipt(index)
