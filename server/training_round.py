"""One round: open it on the ledger, collect updates, open their sum, step, and record the aggregate.

Each step is in the journal before or as it happens, so that another process goes on with the round where it was: it
goes through all steps again, and finds at each what is done.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from typing import Any

import cbor2

from clients.masking.ring import Integers
from clients.model_files import AVERAGE, PARAMETERS
from clients.plan import Plan
from clients.tracing import span
from ledger.statement import decode_statement
from server.aggregation.encrypted import EncryptedAggregator
from server.aggregation.evidence import AggregationError
from server.aggregation.group_sums import Electorate, Evidence, GroupSum, after_round, units_of
from server.aggregation.masked import Aggregator, OpenedSum
from server.collecting import Collecting
from server.descent import Descent
from server.encrypted_opening import EncryptedOpening
from server.errors import ServerError
from server.masked_opening import MaskedOpening
from server.model_store import load_model, store_model
from server.opening_record import store_opening
from server.round_journal import Step
from server.round_setting import Setting
from server.round_sums import RoundSums
from server.round_terms import RoundTerms
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

    def __init__(
        self,
        setting: Setting,
        plan: Plan,
        descent: Descent,
        terms: RoundTerms | None = None,
        when_opened: Callable[[bytes], None] = lambda _: None,
    ) -> None:
        """Prepare a round.

        Args:
            descent: the model before it.
            terms: of a round that was opened before and is taken up where it was.
            when_opened: is told the round's id when its sums are, before the ledger has the aggregate.
        """
        self._when_opened = when_opened
        self._setting = setting
        self._terms = terms
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
        with span("open"):
            terms = self._open()
        if self._is_recorded(terms):
            return self._finish(terms)
        sums = RoundSums(terms.sessions, self._setting.artifacts)
        try:
            request = self._request(terms.statement)
            Collecting(self._setting, terms, sums).run(request)
            with span("open the sums"):
                opened = self._open_sums(terms, sums)
            totals = self._group_sums(terms, sums, opened)
            self.totals, self.included = [one.total for one in opened], [one.included for one in opened]
            electorate = self._electorate(terms, opened)
            evidence = gather_evidence(self._setting, self._plan, self._before, totals, electorate, request)
            after = after_round(self._before, self._plan, totals, evidence, electorate)
        except AggregationError as error:
            self._setting.abort(terms.round_id, str(error))
            said = self._cohort.why(self._plan.number)
            raise RoundAborted(f"{error}; {said}") from error
        self._when_opened(terms.round_id)
        with span("aggregate"):
            self._close(terms, sums, opened, evidence, after)
        return after, terms.round_id

    def _open(self) -> RoundTerms:
        """Append the round, once the journal has it, and make it final, before any firm is asked to train."""
        terms = self._terms if self._terms is not None else self._drawn_up()
        if self._record is not None:
            self._record.append([terms.statement])  # if it is there already, it keeps its place
            bring_up_to_date(self._cohort, self._record, self._plan.number)
            self._record.require_final()
        return terms

    def _drawn_up(self) -> RoundTerms:
        statements, members = self._setting.statements, self._cohort.members
        payload = statements.payload(
            "round",
            task=self._setting.task,
            plan=self._plan.to_map(),
            cohort=members,
            parent_model=self._before.digest,
        )
        recorded = self._record is not None
        raw = statements.sign(payload, payload["id"].hex()) if recorded else cbor2.dumps(payload, canonical=True)
        keys = {member: self._cohort.signing_key(member) for member in members}
        roster, units = self._cohort.roster, self._cohort.units
        terms = RoundTerms.of(statements.cid, raw, roster, units, keys, recorded=recorded)
        if self._setting.journal:
            self._setting.journal.open(terms.round_id, self._plan.number, terms.to_journal())
        return terms

    def _is_recorded(self, terms: RoundTerms) -> bool:
        """Whether the aggregate is made already. A measurement has its sum opened again: the figures are of that."""
        return bool(self._setting.journal.taken(terms.round_id, Step.AGGREGATE)) and not self._plan.measures

    def _finish(self, terms: RoundTerms) -> tuple[Descent, bytes]:
        """Submit the aggregate that the journal has, of a process that was ended before it knew the outcome."""
        assert self._record is not None
        made = self._setting.journal.taken(terms.round_id, Step.AGGREGATE)[""]["statement"]
        self._record.append([made])
        after = load_model(self._setting.artifacts, decode_statement(made).payload["model"])
        self._setting.journal.end_round()
        return after, terms.round_id

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

    def _open_sums(self, terms: RoundTerms, sums: RoundSums) -> list[OpenedSum]:
        """Second trip: nothing is opened before every sum has its threshold of contributions."""
        headers = sums.close()
        if not self._setting.journal.taken(terms.round_id, Step.CLOSED):
            self._setting.journal.take(terms.round_id, Step.CLOSED, "", {})
        masked = [(one, sent) for one, sent in zip(sums, headers, strict=True) if isinstance(one, Aggregator)]
        if masked:
            MaskedOpening(self._setting, self._plan.number).run(terms.offer, masked)
        for one in sums:
            if isinstance(one, EncryptedAggregator):
                EncryptedOpening(self._setting, self._plan).run(terms.statement, self._receipt(terms.statement), one)
        return [one.open() for one in sums]

    def _group_sums(self, terms: RoundTerms, sums: RoundSums, opened: Sequence[OpenedSum]) -> list[GroupSum]:
        return [
            GroupSum(one.session.quantiser.dequantise(result.total), units_of(result.included, terms.units))
            for one, result in zip(sums, opened, strict=True)
        ]

    def _electorate(self, terms: RoundTerms, opened: Sequence[OpenedSum]) -> Electorate:
        keys = {member: terms.keys[member] for one in opened for member in one.included}
        return Electorate(self._setting.statements.cid, terms.round_id, keys)

    def _close(
        self, terms: RoundTerms, sums: RoundSums, opened: Sequence[OpenedSum], evidence: Evidence, after: Descent
    ) -> None:
        """Store what is left of the round's artifacts, then record the aggregate that binds them."""
        artifacts = self._setting.artifacts
        model = store_model(artifacts, after)
        if self._record is None:
            return
        artifacts.put_all([one.session.raw for one in sums])
        unmask = store_opening(artifacts, [one.unmasking for one in opened], evidence)
        current = self._record.ledger.state.rounds.get(terms.round_id)
        assert current is not None
        bound = {"inputs": current.inputs(), "unmask": unmask, "model": model}
        statement = self._setting.journal.once(
            terms.round_id,
            Step.AGGREGATE,
            lambda: self._setting.statements.make(
                "aggregate", terms.round_id.hex(), parent=terms.offer.digest, round=terms.round_id, **bound
            ),
        )
        self._record.append([statement])
        if not self._plan.measures:  # what a measurement said is kept until it is written down
            self._setting.journal.end_round()

    def _receipt(self, statement: bytes) -> bytes:
        if self._record is None:
            return b""
        index = self._record.ledger.index_of(decode_statement(statement).digest)
        assert index is not None
        return self._record.ledger.receipt(index)
