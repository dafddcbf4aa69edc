"""What a round was opened with: kept in the journal before it is opened, so that another process can go on with it."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

import cbor2

from clients.masking.session import RosterEntry, Session
from clients.offer import Offer, sessions_of
from clients.plan import Plan
from ledger.statement import decode_statement


@dataclass(frozen=True)
class RoundTerms:
    """A round's statement and what else of its beginning is needed to the end.

    Attributes:
        offer: the round as firms read it.
        statement: its signed bytes; without a ledger the bare payload.
        sessions: the sums that it asks for.
        units: what each firm of the cohort declared.
        keys: the Ed25519 key of each, 32 bytes.
    """

    offer: Offer
    statement: bytes
    sessions: tuple[Session, ...]
    units: Mapping[str, int]
    keys: Mapping[str, bytes]

    @classmethod
    def of(
        cls,
        cid: str,
        statement: bytes,
        roster: tuple[RosterEntry, ...],
        units: Mapping[str, int],
        keys: Mapping[str, bytes],
        *,
        recorded: bool,
    ) -> Self:
        """The terms of a round that is about to be opened.

        Args:
            roster: of its cohort, in order of member ids.
            recorded: there is a ledger, and the statement is signed.
        """
        offer = read_statement(statement) if recorded else _unrecorded(statement)
        return cls(offer, statement, sessions_of(cid, offer, roster, offer.plan.dimension), units, keys)

    @classmethod
    def from_journal(cls, content: Mapping[str, Any]) -> Self:
        """What `to_journal` gave."""
        sessions = tuple(Session.from_bytes(raw) for raw in content["sessions"])
        offer = read_statement(content["statement"])
        return cls(offer, content["statement"], sessions, content["units"], content["keys"])

    def to_journal(self) -> dict[str, Any]:
        return {
            "statement": self.statement,
            "sessions": [one.raw for one in self.sessions],
            "units": dict(self.units),
            "keys": dict(self.keys),
        }

    @property
    def plan(self) -> Plan:
        return self.offer.plan

    @property
    def round_id(self) -> bytes:
        return self.offer.round_id


def read_statement(raw: bytes) -> Offer:
    """The round that a signed statement opens."""
    read = decode_statement(raw)
    return Offer(read.payload, read.digest, Plan.from_map(read.payload["plan"]))


def _unrecorded(raw: bytes) -> Offer:
    payload = cbor2.loads(raw)
    return Offer(payload, hashlib.sha256(raw).digest(), Plan.from_map(payload["plan"]))
