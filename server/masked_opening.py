"""The second trip of a round's masked sums: firms send what opens exactly the sum that they are in."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from typing import Any

from clients.messages import OPEN
from clients.offer import Offer
from server.aggregation.evidence import AggregationError
from server.aggregation.masked import Aggregator
from server.round_journal import Step
from server.round_setting import Setting
from server.witnessing import bring_up_to_date


class MaskedOpening:
    """Makes the contributions final, asks every included firm once, and hands its answer to its sum."""

    def __init__(self, setting: Setting, number: int) -> None:
        self._cohort = setting.cohort
        self._record = setting.record
        self._journal = setting.journal
        self._number = number

    def run(self, offer: Offer, sums: Sequence[tuple[Aggregator, Mapping[str, bytes]]]) -> None:
        """Collect what opens the sums; who has answered, to this process or one before it, is not asked again.

        Args:
            sums: closed sums with their encoded headers by included firm; no firm is in two of them.

        Raises:
            NotWitnessed: the contributions did not become final; nobody was asked.
        """
        requests: dict[str, dict[str, Any]] = {}
        sum_of: dict[str, Aggregator] = {}
        for aggregator, headers in sums:
            sum_of.update(dict.fromkeys(headers, aggregator))
        for member, row in self._journal.taken(offer.round_id, Step.ANSWER).items():
            sum_of[member].accept(member, row["reply"])
        final = ""
        if self._record is not None:
            bring_up_to_date(self._cohort, self._record, self._number)
            final = self._record.require_final()
        for aggregator, headers in sums:
            requests.update(self._requests(offer, aggregator, headers, final))
        for member, reply in self._cohort.ask(OPEN, requests, self._number):
            try:
                sum_of[member].accept(member, reply["reply"])
            except AggregationError as error:
                self._cohort.note(self._number, member, str(error), code=type(error).__name__)
                continue
            self._journal.take(offer.round_id, Step.ANSWER, member, {"reply": reply["reply"]})

    def _requests(
        self, offer: Offer, aggregator: Aggregator, headers: Mapping[str, bytes], final: str
    ) -> dict[str, dict[str, Any]]:
        commits = {}  # firms take them from the ledger where there is one
        if self._record is None:
            commits = {member: hashlib.sha256(raw).digest() for member, raw in headers.items()}
        common = {"round": offer.round_id, "headers": dict(headers), "commits": commits, "final": final}
        unanswered = (member for member in headers if member in aggregator.unanswered)
        return {member: {**common, "inbound": aggregator.inbound_for(member)} for member in unanswered}
