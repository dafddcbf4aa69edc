"""What is done with models: consents, queries; and attestations about supply-chain artifacts."""

import hashlib
from dataclasses import replace

from ledger.rules.state import Refused, State
from ledger.statement import Statement


def apply_consent(state: State, statement: Statement, index: int) -> State:
    """A firm allows a bank a purpose until a time (advisory: the rules have no clock)."""
    payload = statement.payload
    if payload["firm"] != statement.issuer:
        raise Refused("issuer", index, f"{statement.issuer!r} cannot consent for {payload['firm']!r}")
    _require_bank(state, payload["bank"], index)
    # Of a free text the state keeps the hash: one firm's many purposes must not fill every member's memory.
    place = (payload["firm"], payload["bank"], hashlib.sha256(payload["purpose"].encode()).digest())
    return replace(state, consents=state.consents.set(place, payload["until"]))


def apply_query(state: State, statement: Statement, index: int) -> State:
    """A bank's query was answered with a published model."""
    payload = statement.payload
    _require_bank(state, payload["bank"], index)
    release = state.releases.get(payload["model"])
    if release is None or release.revoked is not None:
        raise Refused("model", index, "a query names a model that is published and not revoked")
    count = state.queries.get(payload["bank"], 0)
    return state.having(queries=state.queries.set(payload["bank"], count + 1))


def apply_attest(state: State, statement: Statement, index: int) -> State:
    """A signed statement about an artifact: the ledger keeps it and draws nothing from it.

    `parent` names the statement about the same subject that this one follows, `inputs` those about what went into
    it. Both are digests, so they can only name what was signed before; whether it stands on this ledger is for the
    reader to look up, because a state that knew every digest would grow with the ledger.
    """
    inputs = statement.payload.get("inputs", [])
    if len({statement.payload["parent"], *inputs}) != 1 + len(inputs):
        raise Refused("inputs", index, "an attestation names each statement that it rests on once")
    return state


def _require_bank(state: State, bank: str, index: int) -> None:
    if not state.is_enrolled(bank, "bank"):
        raise Refused("member", index, f"{bank!r} is not an active bank")
