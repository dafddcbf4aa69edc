"""The coordinator's own records: made, numbered and signed in one place."""

from __future__ import annotations

import secrets
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from ledger.genesis import record
from ledger.keys import SigningKey
from ledger.rules import COORDINATOR
from ledger.statement import sign_statement


@dataclass(frozen=True)
class Statements:
    """Makes records of one consortium in the coordinator's name.

    Attributes:
        cid: the consortium's id.
        key: returns the coordinator's signing key, when one is needed: a run without a ledger signs nothing.
        now: seconds since the epoch; advisory on the ledger.
    """

    cid: str
    key: Callable[[], SigningKey]
    now: Callable[[], float]

    def payload(self, kind: str, /, **fields: Any) -> dict[str, Any]:
        """A record of this kind under a fresh random id."""
        return record(kind, cid=self.cid, record_id=secrets.token_bytes(16), ts=int(self.now()), **fields)

    def sign(self, payload: dict[str, Any], subject: str) -> bytes:
        """The statement that holds a record."""
        return sign_statement(payload, issuer=COORDINATOR, subject=subject, key=self.key())

    def make(self, kind: str, subject: str, /, **fields: Any) -> bytes:
        """A record of this kind, signed."""
        return self.sign(self.payload(kind, **fields), subject)
