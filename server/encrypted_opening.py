"""The rest of an encrypted sum: firms hand over what they committed to, some compute the sum, its holder opens it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from clients.encryption.vectors import pieces_of
from clients.masking.contribution import Header
from clients.messages import CHECK, DECRYPT, REVEAL
from clients.plan import Plan
from server.aggregation.encrypted import EncryptedAggregator
from server.aggregation.evidence import AggregationError
from server.round_setting import Setting
from server.witnessing import bring_up_to_date


class EncryptedOpening:
    """Makes the contributions final, has each piece of the sum checked by enough firms, and asks the holder."""

    def __init__(self, setting: Setting, plan: Plan) -> None:
        self._cohort = setting.cohort
        self._record = setting.record
        self._artifacts = setting.artifacts
        self._number = plan.number
        self._fewest = plan.colluders + 1

    def run(self, statement: bytes, receipt: bytes, total: EncryptedAggregator) -> None:
        """Collect what opens a closed sum; whether it is enough, `EncryptedAggregator.open` says.

        Raises:
            RoundVoid: a firm that is on the ledger has not handed over its ciphertext.
            NotWitnessed: the contributions did not become final; nobody was asked.
        """
        final = ""
        if self._record is not None:
            bring_up_to_date(self._cohort, self._record, self._number)
            final = self._record.require_final()
        common = {
            "statement": statement,
            "receipt": receipt,
            "final": final,
            "commits": dict(total.commits) if self._record is None else {},  # firms take them from the ledger
        }
        self._have_revealed(total, common)
        for number in range(len(total.complete())):
            self._have_checked(total, number, common)
        self._have_opened(total, common)
        if self._record is None:
            self._artifacts.delete([Header.from_bytes(raw).masked for raw in total.headers.values()])

    def _have_revealed(self, total: EncryptedAggregator, common: dict[str, Any]) -> None:
        """Every firm hands over what it is committed to: each is stored, added to the sum and let go."""
        keys = self._cohort.signing_keys(total.included)
        for member, reply in self._cohort.ask(REVEAL, dict.fromkeys(total.included, common), self._number):
            try:
                total.reveal(member, reply["vector"], reply["signature"], keys[member])
            except AggregationError as error:
                self._cohort.note(self._number, member, str(error))
                continue
            self._artifacts.put(reply["vector"])

    def _have_checked(self, total: EncryptedAggregator, number: int, common: dict[str, Any]) -> None:
        """Ask one firm more than collude; where one does not answer, another. Each piece begins with others."""
        start = number * self._fewest % len(total.included)
        waiting = [*total.included[start:], *total.included[:start]]
        request = {
            **common,
            "headers": dict(total.headers),
            "hashes": dict(total.hashes),
            "number": number,
            "pieces": {member: self._piece(total, member, number) for member in total.included},
        }
        while waiting and len(total.checks[number]) < self._fewest:
            missing = self._fewest - len(total.checks[number])
            asked, waiting = waiting[:missing], waiting[missing:]
            self._ask_checkers(total, number, asked, request)

    def _ask_checkers(
        self, total: EncryptedAggregator, number: int, asked: Sequence[str], request: dict[str, Any]
    ) -> None:
        keys = self._cohort.signing_keys(asked)
        for member, reply in self._cohort.ask(CHECK, dict.fromkeys(asked, request), self._number):
            try:
                total.accept_check(member, number, reply["signature"], keys[member])
            except AggregationError as error:
                self._cohort.note(self._number, member, str(error))

    def _piece(self, total: EncryptedAggregator, member: str, number: int) -> bytes:
        stored = self._artifacts.get(Header.from_bytes(total.headers[member]).masked, f"ciphertext of {member}")
        return pieces_of(total.session, stored, f"ciphertext of {member}")[number]

    def _have_opened(self, total: EncryptedAggregator, common: dict[str, Any]) -> None:
        holder = total.session.key_holder
        keys = self._cohort.signing_keys([holder, *total.included])
        request = {
            **common,
            "signing_keys": keys if self._record is None else {},
            "pieces": list(total.complete()),
            "reveals": dict(total.reveals),
            "checks": [dict(one) for one in total.checks],
        }
        for member, reply in self._cohort.ask(DECRYPT, {holder: request}, self._number):
            try:
                total.accept_opening(reply["total"], reply["signature"], keys[member])
            except AggregationError as error:
                self._cohort.note(self._number, member, str(error))
