"""Statements by hybrid keys: two standard messages, one in the other, and no way to take one off."""

from typing import Any

import cbor2
import pytest

from ledger.cose import ALG_ML_DSA_65, SIGN1_MEDIA_TYPE
from ledger.keys import BadSignature, SigningKey
from ledger.statement import StatementError, decode_statement, sign_statement

KEY = SigningKey.from_seed(bytes(range(64)))
CLASSICAL = SigningKey.from_seed(bytes(range(32)))
PAYLOAD = {"v": 1, "cid": "c", "id": bytes(16), "t": "task", "parent": None, "ts": 5, "spec": bytes(32)}


def make(key: SigningKey = KEY) -> bytes:
    return sign_statement(PAYLOAD, issuer="coordinator", subject="credit", key=key)


RAW = make()
INNER = cbor2.loads(RAW).value[2]


def outer_header(**changes: Any) -> bytes:
    labels: dict[Any, Any] = {1: ALG_ML_DSA_65, 3: SIGN1_MEDIA_TYPE, 4: KEY.public.post_quantum_kid}
    labels.update({int(name[1:]): value for name, value in changes.items()})
    return cbor2.dumps({label: value for label, value in labels.items() if value is not None}, canonical=True)


def wrapped(payload: bytes | None = INNER, *, key: SigningKey = KEY, **changes: Any) -> bytes:
    """An outer message with parts replaced, signed by the right key or another."""
    protected = changes.get("protected", outer_header())
    signature = key.sign_post_quantum(cbor2.dumps(["Signature1", protected, b"", payload]))
    parts = [protected, changes.get("unprotected", {}), payload, changes.get("signature", signature)]
    return cbor2.dumps(cbor2.CBORTag(18, parts), canonical=True)


def test_round_trip() -> None:
    statement = decode_statement(RAW)
    statement.verify(KEY.public)
    assert statement.is_hybrid
    assert statement.raw == RAW
    assert dict(statement.payload) == PAYLOAD
    assert (statement.issuer, statement.subject, statement.kid) == ("coordinator", "credit", KEY.public.kid)


def test_the_payload_is_the_classical_statement_itself() -> None:
    assert make(CLASSICAL) == INNER
    decode_statement(INNER).verify(CLASSICAL.public)


def test_signing_again_keeps_the_digest() -> None:
    """ML-DSA signatures are new every time; the digest is of what the Ed25519 key signed."""
    again = make()
    assert again != RAW
    assert decode_statement(again).digest == decode_statement(RAW).digest == decode_statement(INNER).digest


def test_no_signature_can_be_taken_off_or_put_on() -> None:
    with pytest.raises(BadSignature, match="signed with Ed25519 alone, its key signs with Ed25519 and ML-DSA-65"):
        decode_statement(INNER).verify(KEY.public)
    with pytest.raises(BadSignature, match="signed with Ed25519 and ML-DSA-65, its key signs with Ed25519 alone"):
        decode_statement(RAW).verify(CLASSICAL.public)


def test_both_signatures_are_checked() -> None:
    other = SigningKey.generate(hybrid=True)
    halves = SigningKey.from_seed(bytes(range(32)) + bytes(32))  # our Ed25519 half, another ML-DSA-65 half
    assert halves.public.kid == KEY.public.kid
    forged_inner = bytearray(INNER)
    forged_inner[-1] ^= 1
    for raw in (
        wrapped(key=other),
        wrapped(signature=bytes(3309)),
        wrapped(bytes(forged_inner)),
        wrapped(protected=outer_header(_4=other.public.post_quantum_kid)),
        wrapped(key=halves, protected=outer_header(_4=halves.public.post_quantum_kid)),
        make(halves),
    ):
        with pytest.raises(BadSignature, match="does not fit"):
            decode_statement(raw).verify(KEY.public)


def test_flipped_bits_are_caught() -> None:
    """Of every byte of the headers and the inner message, and of every seventh of the signature."""
    for position in [*range(len(RAW) - 3309), *range(len(RAW) - 3309, len(RAW), 7)]:
        damaged = bytearray(RAW)
        damaged[position] ^= 1 << position % 8
        with pytest.raises((StatementError, BadSignature)):
            decode_statement(bytes(damaged)).verify(KEY.public)


@pytest.mark.parametrize(
    ("raw", "words"),
    [
        (wrapped(unprotected={4: b"x"}), "unprotected header is not empty"),
        (wrapped(b""), "inside the ML-DSA-65 one is not CBOR"),
        (wrapped(RAW), "not signed with EdDSA"),
        (wrapped(INNER + b"\x00"), "1 trailing bytes"),
        (wrapped(b"\x9f" + INNER[2:] + b"\xff"), "indefinite length"),
        (wrapped(cbor2.dumps({"v": 1})), "tag 18"),
        (wrapped(signature=bytes(64)), "ML-DSA-65 has 3309"),
        (wrapped(protected=outer_header(_1=-48)), "algorithm -48 is unknown"),
        (wrapped(protected=outer_header(_1=-49.0)), "algorithm -49.0 is unknown"),
        (wrapped(protected=outer_header(_3="text/plain")), "content type text/plain is unknown"),
        (wrapped(protected=outer_header(_3=None)), "outer header must hold exactly"),
        (wrapped(protected=outer_header(_4=b"kid")), "kid of 32 bytes"),
        (wrapped(protected=outer_header(_15={1: "a", 2: "b"})), "does not know"),
        (wrapped(protected=b"\xa2\x01\x38\x30\x01\x38\x30"), "Duplicate map key"),
        (wrapped(protected=b"\xbf\x01\x38\x30\xff"), "indefinite length"),
        (wrapped(protected=outer_header() + b"\x00"), "trailing bytes"),
        (wrapped(protected=b"\x80"), "not a map"),
        (RAW + b"\x00", "1 trailing bytes"),
        (RAW[:-1], "not CBOR"),
    ],
)
def test_refused_by_name(raw: bytes, words: str) -> None:
    with pytest.raises(StatementError, match=words):
        decode_statement(raw)


def test_a_detached_payload_is_refused() -> None:
    parts = [outer_header(), {}, None, bytes(3309)]
    with pytest.raises(StatementError, match="detached"):
        decode_statement(cbor2.dumps(cbor2.CBORTag(18, parts), canonical=True))
