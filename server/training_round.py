"""One round: open it on the ledger, collect updates, open their sum, step, and record the aggregate."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from typing import Any

import cbor2

from clients.errors import ClientError
from clients.masking.contribution import Contribution, Header
from clients.masking.ring import Integers
from clients.messages import MEASURE, TRAIN
from clients.model_files import AVERAGE, PARAMETERS
from clients.offer import Offer
from clients.plan import MICRO, Plan
from ledger.errors import LedgerError
from ledger.statement import decode_statement
from server.aggregation.encrypted import EncryptedAggregator
from server.aggregation.evidence import AggregationError, ContributionRefused
from server.aggregation.group_sums import Electorate, Evidence, GroupSum, after_round, units_of
from server.aggregation.masked import Aggregator, OpenedSum
from server.descent import Descent
from server.encrypted_opening import EncryptedOpening
from server.errors import ServerError
from server.masked_opening import MaskedOpening
from server.model_store import store_model
from server.opening_record import store_opening
from server.round_setting import Setting
from server.round_sums import RoundSums, sums_of
from server.validation import gather_evidence
from server.witnessing import bring_up_to_date


class RoundAborted(ServerError):
    """A round that was given up; the next one trains again."""

    exit_code = 3


class TrainingRound:
    """One round of one task, be it to train or to measure. Use once.

    Attributes:
        totals: int64[plan.values] of each group, what was opened; empty before.
        included: the firms in each of them.
    """

    def __init__(self, setting: Setting, plan: Plan, descent: Descent) -> None:
        self._setting = setting
        self._cohort = setting.cohort
        self._record = setting.record
        self._plan = plan
        self._before = descent
        self.totals: list[Integers] = []
        self.included: list[Sequence[str]] = []

    def run(self) -> tuple[Descent, bytes]:
        """Take the round to its aggregate; returns the model after it and the round's id.

        Raises:
            RoundAborted: it was given up, on the ledger too. Of one group nothing was opened; of several, the sums of
                some or all groups may have been, each with its full noise, and paid for.
            NotWitnessed: the round did not become final; nobody was asked to train.
        """
        offer, statement = self._open()
        cid, artifacts = self._setting.statements.cid, self._setting.artifacts
        sums = sums_of(cid, offer, self._cohort.roster, self._plan.dimension, artifacts)
        try:
            request = self._request(statement)
            self._collect(offer, request, sums)
            opened = self._open_sums(offer, statement, sums)
            totals = self._group_sums(sums, opened)
            self.totals, self.included = [one.total for one in opened], [one.included for one in opened]
            electorate = self._electorate(offer, opened)
            evidence = gather_evidence(self._setting, self._plan, self._before, totals, electorate, request)
            after = after_round(self._before, self._plan, totals, evidence, electorate)
        except AggregationError as error:
            self._setting.abort(offer.round_id, str(error))
            said = self._cohort.why(self._plan.number)
            raise RoundAborted(f"{error}; {said}") from error
        self._close(offer, sums, opened, evidence, after)
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

    def _request(self, statement: bytes) -> dict[str, Any]:
        """What every firm is sent to train from, or to measure."""
        files, whole = self._before.files(), AVERAGE if self._plan.measures else PARAMETERS
        return {
            "statement": statement,
            "receipt": self._receipt(statement),
            "parameters": files[whole],
            "digests": {name: hashlib.sha256(raw).digest() for name, raw in files.items() if name != whole},
            "sealed": {},
        }

    def _collect(self, offer: Offer, request: Mapping[str, Any], sums: RoundSums) -> None:
        """First trip: the protected updates; those that fit are stored, recorded, added up and let go, one by one."""
        # A firm whose witness has not seen the round would refuse it, so it is not asked and not waited for.
        asked = [m for m in offer.cohort if self._record is None or self._record.follows(m)]
        for member in offer.cohort:
            if member not in asked:
                self._cohort.was_silent(member)
                self._cohort.note(self._plan.number, member, "not asked: its witness has not cosigned the round")
        requests = {}
        for member in asked:
            sealed = self._cohort.sealed_for(member)
            requests[member] = {**request, "sealed": sealed} if sealed else request
        kind = MEASURE if self._plan.measures else TRAIN
        for member, reply in self._cohort.ask(kind, requests, self._plan.number):
            try:
                contribution = Contribution.from_bytes(reply["contribution"])
                self._take(offer, member, contribution, reply["statement"], sums)
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
        sums: RoundSums,
    ) -> None:
        """Put a firm's contribution on the ledger, into the store and into the sum, or nowhere.

        One that stood on the ledger alone could never be matched by a sum, and would void the round for all.
        """
        aggregator = sums.of(member)
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

    def _open_sums(self, offer: Offer, statement: bytes, sums: RoundSums) -> list[OpenedSum]:
        """Second trip: nothing is opened before every sum has its threshold of contributions."""
        headers = sums.close()
        masked = [(one, sent) for one, sent in zip(sums, headers, strict=True) if isinstance(one, Aggregator)]
        if masked:
            MaskedOpening(self._setting, self._plan.number).run(offer, masked)
        for one in sums:
            if isinstance(one, EncryptedAggregator):
                EncryptedOpening(self._setting, self._plan).run(statement, self._receipt(statement), one)
        return [one.open() for one in sums]

    def _group_sums(self, sums: RoundSums, opened: Sequence[OpenedSum]) -> list[GroupSum]:
        units = self._cohort.units
        return [
            GroupSum(one.session.quantiser.dequantise(result.total), units_of(result.included, units))
            for one, result in zip(sums, opened, strict=True)
        ]

    def _electorate(self, offer: Offer, opened: Sequence[OpenedSum]) -> Electorate:
        keys = {member: self._cohort.signing_key(member) for one in opened for member in one.included}
        return Electorate(self._setting.statements.cid, offer.round_id, keys)

    def _close(
        self, offer: Offer, sums: RoundSums, opened: Sequence[OpenedSum], evidence: Evidence, after: Descent
    ) -> None:
        """Store what is left of the round's artifacts, then record the aggregate that binds them."""
        artifacts = self._setting.artifacts
        model = store_model(artifacts, after)
        if self._record is None:
            return
        artifacts.put_all([one.session.raw for one in sums])
        unmask = store_opening(artifacts, [one.unmasking for one in opened], evidence)
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
