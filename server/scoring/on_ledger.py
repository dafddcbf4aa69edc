"""What the score service reads from and writes to the consortium ledger: who is enrolled, and each query."""

import os
from collections.abc import Callable, Sequence

from ledger.genesis import record as ledger_record
from ledger.keys import SigningKey
from ledger.rules import State
from ledger.statement import sign_statement
from server.scoring.recording import QueryRecord

ID_BYTES = 16


def enrolled_in(state: Callable[[], State]) -> Callable[[str, str], bool]:
    """Return `is_enrolled(member, kind)` by the ledger's present state: a suspension holds at once."""

    def is_enrolled(member: str, kind: str) -> bool:
        return state().is_enrolled(member, kind)

    return is_enrolled


class QueryStatements:
    """A writer for `GroupRecorder`: a `query` statement for each record, a group of them in one append."""

    def __init__(
        self,
        append: Callable[[Sequence[bytes]], Sequence[int]],
        *,
        cid: str,
        issuer: str,
        key: SigningKey,
        now_s: Callable[[], float],
        randomness: Callable[[int], bytes] = os.urandom,
    ) -> None:
        """Use `append`, such as `Log.append`, from one worker thread at a time.

        Where other threads use the same log, `append` must hold their common lock.
        """
        self._append = append
        self._cid = cid
        self._issuer = issuer
        self._key = key
        self._now_s = now_s
        self._randomness = randomness

    def __call__(self, records: Sequence[QueryRecord]) -> None:
        """Sign and append; raises LedgerError when the ledger refuses, and then none of them is on it."""
        self._append([self._statement(record) for record in records])

    def _statement(self, record: QueryRecord) -> bytes:
        payload = ledger_record(
            "query",
            cid=self._cid,
            record_id=self._randomness(ID_BYTES),
            ts=int(self._now_s()),
            bank=record.bank,
            purpose=record.purpose,
            subject=record.subject_commitment,
            answer=record.answer_hash,
            model=record.model_hash,
        )
        return sign_statement(payload, issuer=self._issuer, subject=record.bank, key=self._key)
