"""A session has one encoding, its id covers every field, and plans that protect nobody are refused."""

from __future__ import annotations

from dataclasses import replace

import cbor2
import pytest

from clients.masking.errors import MalformedMessage, PlanRefused, SessionMismatch
from clients.masking.session import RosterEntry, Session

ROSTER = tuple(RosterEntry(f"firm-{n}", bytes([n]) * 32, bytes([n]) * 1216) for n in range(1, 6))
SESSION = Session("cid", 1, bytes(16), ROSTER, bytes(32), 10, 24, 4, 1.5)
CHANGES = {
    "cid": "other",
    "epoch": 2,
    "round_id": b"r" * 16,
    "roster": (*ROSTER[:4], RosterEntry("firm-6", bytes(32), bytes(1216))),
    "model": b"m" * 32,
    "dimension": 11,
    "ring_bits": 32,
    "threshold": 5,
    "bound": 1.25,
    "protection": "plain",
}
ENCRYPTED = replace(SESSION, protection="encrypted", key_holder="auditor", context=b"c" * 32)
CHANGES_WHERE_ENCRYPTED = {"key_holder": "other", "context": b"d" * 32}


def test_it_reads_back_and_its_id_is_stable() -> None:
    again = Session.from_bytes(SESSION.raw)
    assert again == SESSION
    assert again.sid == SESSION.sid
    again.require_same(SESSION)


def test_the_changes_cover_every_field() -> None:
    assert {**CHANGES, **CHANGES_WHERE_ENCRYPTED}.keys() == Session.__dataclass_fields__.keys()


@pytest.mark.parametrize("field", CHANGES_WHERE_ENCRYPTED)
def test_the_id_of_an_encrypted_session_covers_holder_and_context(field: str) -> None:
    assert Session.from_bytes(ENCRYPTED.raw) == ENCRYPTED
    other = replace(ENCRYPTED, **{field: CHANGES_WHERE_ENCRYPTED[field]})  # type: ignore[arg-type]  # as above
    assert other.sid != ENCRYPTED.sid
    with pytest.raises(SessionMismatch, match=f"session: {field} is not"):
        ENCRYPTED.require_same(other)


def test_sessions_that_are_not_encrypted_have_the_bytes_that_they_always_had() -> None:
    assert "key_holder" not in cbor2.loads(SESSION.raw)
    odd = cbor2.dumps({**cbor2.loads(SESSION.raw), "key_holder": "", "context": b""}, canonical=True)
    with pytest.raises(MalformedMessage, match="unknown fields"):
        Session.from_bytes(odd)


@pytest.mark.parametrize("field", CHANGES)
def test_the_id_covers_every_field_and_a_mismatch_names_it(field: str) -> None:
    other = replace(SESSION, **{field: CHANGES[field]})  # type: ignore[arg-type]  # one field of many types
    assert other.sid != SESSION.sid
    with pytest.raises(SessionMismatch, match=f"session: {field} is not"):
        SESSION.require_same(other)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"roster": ROSTER[::-1]}, "sorted"),
        ({"roster": ROSTER + ROSTER[-1:]}, "sorted, distinct"),
        ({"roster": ROSTER[:2]}, "2 firms, masking takes 3"),
        ({"cid": ""}, "consortium id"),
        ({"epoch": -1}, "epoch"),
        ({"round_id": bytes(15)}, "round is 16 bytes"),
        ({"model": bytes(31)}, "model 32"),
        ({"dimension": 0}, "dimension"),
        ({"dimension": 1 << 40}, "dimension"),
        ({"ring_bits": 20}, "ring_bits"),
        ({"threshold": 3}, r"threshold: 3 is not within 4\.\.5"),
        ({"threshold": 6}, "threshold: 6"),
        ({"roster": ROSTER[:4], "threshold": 3}, r"not within 4\.\.4"),
        ({"bound": 0.0}, "bound"),
        ({"bound": float("nan")}, "bound"),
        ({"protection": "none"}, "protection"),
    ],
)
def test_plans_that_break_a_rule_are_refused(change: dict[str, object], reason: str) -> None:
    with pytest.raises(PlanRefused, match=reason):
        replace(SESSION, **change)  # type: ignore[arg-type]  # wrong on purpose


def _with(**change: object) -> bytes:
    return cbor2.dumps({**cbor2.loads(SESSION.raw), **change}, canonical=True)


@pytest.mark.parametrize(
    ("raw", "reason"),
    [
        (b"", "not a CBOR message"),
        (SESSION.raw[:-1], "not a CBOR message"),
        (SESSION.raw + b"\0", "not "),
        (cbor2.dumps(dict(reversed(cbor2.loads(SESSION.raw).items()))), "not in deterministic encoding"),
        (cbor2.dumps([1, 2], canonical=True), "expected a map"),
        (_with(v=2), "protocol version 2"),
        (_with(v=True), "protocol version True"),
        (_with(extra=1), "unknown fields extra"),
        (_with(epoch=True), "field epoch is bool"),
        (_with(bound=1.5), "field bound is float"),
        (_with(bound=b"short"), "bound is not 8 bytes"),
        (_with(roster=[["firm-1", b""]]), "roster entry"),
    ],
)
def test_other_bytes_are_refused(raw: bytes, reason: str) -> None:
    with pytest.raises(MalformedMessage, match=reason):
        Session.from_bytes(raw)


def test_duplicate_keys_are_refused() -> None:
    with pytest.raises(MalformedMessage, match="not a CBOR message"):
        Session.from_bytes(bytes.fromhex("a2617601617601"))
