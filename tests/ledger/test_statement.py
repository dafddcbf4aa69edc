"""Signed statements: strict to read, bound to every bit."""

import hashlib
from typing import Any

import cbor2
import pytest

from ledger.errors import LedgerError
from ledger.keys import BadSignature, SigningKey
from ledger.statement import StatementError, decode_statement, sign_statement

KEY = SigningKey.from_seed(bytes(range(32)))
PAYLOAD = {"v": 1, "cid": "c", "id": bytes(16), "t": "task", "parent": None, "ts": 5, "spec": bytes(32)}


def make(payload: dict[str, Any] | None = None, *, key: SigningKey = KEY) -> bytes:
    return sign_statement(payload or PAYLOAD, issuer="coordinator", subject="credit", key=key)


def rebuilt(**changes: Any) -> bytes:
    """A statement with parts replaced and signed anew by the right key."""
    protected, unprotected, payload, _ = cbor2.loads(make()).value
    protected = changes.get("protected", protected)
    payload = changes.get("payload", payload)
    signature = KEY.sign(cbor2.dumps(["Signature1", protected, b"", payload]))
    parts = [protected, changes.get("unprotected", unprotected), payload, changes.get("signature", signature)]
    tag = changes.get("tag", 18)
    return cbor2.dumps(cbor2.CBORTag(tag, parts) if tag else parts, canonical=True)


def header(**changes: Any) -> bytes:
    labels: dict[Any, Any] = {
        1: -8,
        3: "application/vnd.artesian.statement+cbor",
        4: KEY.public.kid,
        15: {1: "coordinator", 2: "credit"},
    }
    labels.update({int(name[1:]): value for name, value in changes.items()})
    return cbor2.dumps({label: value for label, value in labels.items() if value is not None}, canonical=True)


def test_round_trip() -> None:
    statement = decode_statement(make())
    statement.verify(KEY.public)
    assert dict(statement.payload) == PAYLOAD
    assert (statement.issuer, statement.subject, statement.kid) == ("coordinator", "credit", KEY.public.kid)


def _head(data: bytes) -> bytes:
    """The CBOR head of a byte string of 24 to 255 bytes."""
    return b"\x58" + bytes([len(data)])


def test_bytes_follow_rfc_9052() -> None:
    """Tag 18, four parts, an empty unprotected map, and the Sig_structure written out by hand."""
    raw = make()
    assert raw[:2] == b"\xd2\x84"
    assert rebuilt(protected=header()) == raw
    protected, unprotected, payload, signature = cbor2.loads(raw).value
    to_sign = b"\x84\x6aSignature1" + _head(protected) + protected + b"\x40" + _head(payload) + payload
    KEY.public.verify(signature, to_sign)
    assert dict(unprotected) == {}
    assert decode_statement(raw).digest == hashlib.sha256(to_sign).digest()


def test_digest_does_not_depend_on_the_signature() -> None:
    other = rebuilt(signature=bytes(64))
    assert decode_statement(other).digest == decode_statement(make()).digest


def test_every_flipped_bit_is_caught() -> None:
    raw = make()
    for position in range(len(raw) * 8):
        damaged = bytearray(raw)
        damaged[position // 8] ^= 1 << position % 8
        with pytest.raises(LedgerError):
            decode_statement(bytes(damaged)).verify(KEY.public)


@pytest.mark.parametrize(
    ("raw", "words"),
    [
        (rebuilt(tag=17), "tag 18"),
        (rebuilt(tag=0), "tag 18"),
        (rebuilt(unprotected={4: b"x"}), "unprotected"),
        (rebuilt(payload=None), "detached"),
        (rebuilt(signature=b"short"), "64"),
        (rebuilt(protected=header(_1=-7)), "EdDSA"),
        (rebuilt(protected=header(_3="text/plain")), "content type"),
        (rebuilt(protected=header(_4=b"kid")), "kid"),
        (rebuilt(protected=header(_99=1)), "does not know"),
        (rebuilt(protected=header(_15={1: "a", 2: "b", 3: "c"})), "does not know"),
        (rebuilt(protected=header(_15={1: "", 2: "b"})), "empty"),
        (rebuilt(protected=header(_15=None)), "header must hold"),
        (rebuilt(payload=cbor2.dumps([1])), "not a map"),
        (rebuilt(payload=cbor2.dumps({"v": 2})), "version 2 is unknown"),
        (rebuilt(payload=cbor2.dumps({"v": True})), "version True is unknown"),
        (rebuilt(payload=cbor2.dumps({"v": 1, "x": 1.5})), "float"),
        (rebuilt(payload=b"\xbf\x61v\x01\xff"), "indefinite length"),
        (rebuilt(payload=b"\xa2\x61v\x01\x61v\x01"), "Duplicate map key"),
        (rebuilt(payload=b"\xa1\x61v\x18\x01"), "deterministic"),
        (rebuilt(payload=cbor2.dumps({"v": 1}) + b"\x00"), "1 trailing bytes"),
        (rebuilt(protected=b"\xa2\x01\x27\x01\x27"), "Duplicate map key"),
        (rebuilt(protected=b"\xbf\x01\x27\xff"), "indefinite length"),
        (rebuilt(protected=header() + b"\x00"), "1 trailing bytes"),
        (rebuilt(protected=b"\xa1\x01" + cbor2.dumps(2**40000)), "semantic tag 2"),
        (rebuilt(protected=header(_1="\x1b[31m" + "x" * 1000)), r"algorithm \\x1b\[31mx+… is unknown"),
        (rebuilt(payload=b"\xa1" + cbor2.dumps(2**40000) + b"\x01"), "semantic tag 2"),
        (rebuilt(payload=cbor2.dumps({"v": cbor2.CBORTag(1, 5)})), "semantic tag 1"),
        (rebuilt(protected=header(_1=-8.0)), "algorithm -8.0 is unknown"),
        (rebuilt(protected=header().replace(b"\xa4\x01", b"\xa4\xf5")), "deterministic|integer labels"),
        (rebuilt(protected=header(_15={1.0: "a", 2: "b"})), "does not know"),
        (make() + b"\x00", "1 trailing bytes"),
        (make()[:-1], "CBOR"),
        (b"", "CBOR"),
        (b"\x00" * (2 << 20), "limit"),
    ],
)
def test_refused_by_name(raw: bytes, words: str) -> None:
    with pytest.raises(StatementError, match=words):
        decode_statement(raw)


def test_signing_refuses_what_reading_would() -> None:
    with pytest.raises(StatementError, match="version"):
        make({"v": 9})
    with pytest.raises(StatementError, match="float"):
        make({"v": 1, "x": 0.1})
    with pytest.raises(StatementError, match="not Unicode"):
        make({"v": 1, "x": "\ud800"})
    with pytest.raises(StatementError, match="not Unicode"):
        sign_statement(PAYLOAD, issuer="\ud800", subject="x", key=KEY)
    with pytest.raises(StatementError, match="issuer"):
        sign_statement(PAYLOAD, issuer="", subject="x", key=KEY)


def test_another_key_does_not_verify() -> None:
    with pytest.raises(BadSignature, match="names key"):
        decode_statement(make()).verify(SigningKey.generate().public)
