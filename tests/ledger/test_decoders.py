"""Decoders of what strangers send: whatever the bytes, they answer or refuse by name, and no change goes unseen.

`make fuzz` runs the same properties on many more examples.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path

import pytest
from decoder_inputs import any_bytes, any_text, changed, changed_text
from hypothesis import given
from hypothesis import strategies as st

from ledger.checkpoint import (
    Checkpoint,
    SignedCheckpoint,
    cosign,
    is_final,
    sign_checkpoint,
    verify_final,
    witness_name,
)
from ledger.cose import read_sign1
from ledger.encoding import decode, decode_item, encode, encode_item
from ledger.errors import LedgerError
from ledger.keys import PublicKey, SigningKey
from ledger.merkle import leaf_hash
from ledger.note import SignatureLine, Vkey, join_note, parse_note
from ledger.policy import Policy
from ledger.receipt import Receipt, make_receipt, verify_receipt
from ledger.secret_files import private_keys
from ledger.statement import Statement, decode_statement, sign_statement

ORIGIN = "ledger.example/test"
NOW_S = 1_800_000_000


def key_of(name: str) -> SigningKey:
    return SigningKey.from_seed(hashlib.sha512(name.encode()).digest())


HYBRID = key_of("issuer")
CLASSICAL = SigningKey.from_seed(bytes(range(32)))
LOG = key_of("log")
PAYLOAD = {"v": 1, "cid": "c", "id": bytes(16), "t": "task", "parent": None, "ts": 5, "list": [1, {"a": b"b"}]}
STATEMENT = sign_statement(PAYLOAD, issuer="firm", subject="batch", key=CLASSICAL)
WRAPPED = sign_statement(PAYLOAD, issuer="firm", subject="batch", key=HYBRID)
OTHER = leaf_hash(b"other")
POINT = Checkpoint(ORIGIN, 2, hashlib.sha256(b"\x01" + leaf_hash(STATEMENT) + OTHER).digest())
MEMBERS = ("a", "b", "c", "d")
NOTE = sign_checkpoint(POINT, LOG) + "".join(
    cosign(POINT.body(), name=witness_name(ORIGIN, name), key=key_of(name), timestamp_s=NOW_S) for name in MEMBERS
)
POLICY = Policy.of(
    Vkey.of_log(ORIGIN, LOG.public),
    {name: Vkey.of_witness(witness_name(ORIGIN, name), key_of(name).public) for name in MEMBERS},
)
RECEIPT = make_receipt(0, [OTHER], NOTE, LOG)


@pytest.fixture(scope="module")
def key_file(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    path: Path = tmp_path_factory.mktemp("keys") / "signing.pem"
    HYBRID.save(path)
    return path.read_bytes()


def accepts(decoder: Callable[[], object]) -> bool:
    """Whether a decoder takes its input; anything but a `LedgerError` fails the test."""
    try:
        decoder()
    except LedgerError:
        return False
    return True


BYTES_DECODERS: list[Callable[[bytes], object]] = [
    decode_statement,
    Receipt.from_bytes,
    PublicKey,
    SigningKey.from_seed,
    lambda raw: decode(raw, what="it"),
    lambda raw: decode_item(raw, what="it"),
    lambda raw: read_sign1(raw, what="it").header,
    lambda raw: private_keys(raw, "key.pem"),
    lambda raw: verify_receipt(raw, STATEMENT, POLICY),
    lambda raw: verify_receipt(RECEIPT, raw, POLICY),
    lambda raw: verify_receipt(Receipt(0, raw, NOTE).to_bytes(), STATEMENT, POLICY),
]
TEXT_DECODERS: list[Callable[[str], object]] = [
    parse_note,
    Checkpoint.parse,
    SignedCheckpoint.parse,
    SignatureLine.parse,
    Vkey.parse,
    Policy.parse,
    lambda text: verify_final(text, POLICY),
    lambda text: verify_receipt(Receipt(0, RECEIPT, text).to_bytes(), STATEMENT, POLICY),
]


@given(any_bytes)
def test_no_bytes_crash_a_decoder(raw: bytes) -> None:
    for decoder in BYTES_DECODERS:
        accepts(lambda decoder=decoder: decoder(raw))


@given(any_text)
def test_no_text_crashes_a_decoder(text: str) -> None:
    for decoder in TEXT_DECODERS:
        accepts(lambda decoder=decoder: decoder(text))


@given(st.one_of(any_bytes, changed(encode(PAYLOAD))))
def test_what_is_decoded_has_one_encoding(raw: bytes) -> None:
    if accepts(lambda: decode(raw, what="it")):
        assert encode(decode(raw, what="it")) == raw
    if accepts(lambda: decode_item(raw, what="it")):
        assert encode_item(decode_item(raw, what="it")) == raw


@given(
    st.sampled_from([(STATEMENT, CLASSICAL), (WRAPPED, HYBRID)]).flatmap(lambda s: st.tuples(changed(s[0]), st.just(s)))
)
def test_no_change_of_a_statement_goes_unseen(case: tuple[bytes, tuple[bytes, SigningKey]]) -> None:
    raw, (original, key) = case

    def verified() -> Statement:
        statement = decode_statement(raw)
        statement.verify(key.public)
        return statement

    if accepts(verified):
        assert raw == original


@given(changed(RECEIPT))
def test_no_change_of_a_receipt_goes_unseen(raw: bytes) -> None:
    if accepts(lambda: verify_receipt(raw, STATEMENT, POLICY)):
        assert_same_proof(raw)


@given(changed(Receipt.from_bytes(RECEIPT).cose), changed_text(NOTE))
def test_no_change_inside_a_receipt_goes_unseen(cose: bytes, note: str) -> None:
    bundle = Receipt.from_bytes(RECEIPT)
    for changed_bundle in (Receipt(0, cose, NOTE), Receipt(0, bundle.cose, note)):
        if accepts(lambda changed_bundle=changed_bundle: changed_bundle.to_bytes()):
            raw = changed_bundle.to_bytes()
            if accepts(lambda raw=raw: verify_receipt(raw, STATEMENT, POLICY)):
                assert changed_bundle.cose == bundle.cose
                assert_same_proof(raw)


def assert_same_proof(raw: bytes) -> None:
    """A receipt may lose or double cosignatures, no more: it proves the same of the same statement."""
    proved = verify_receipt(raw, STATEMENT, POLICY)
    assert (proved.index, proved.size, proved.root) == (0, 2, POINT.root)
    assert set(proved.cosigners) <= set(MEMBERS)
    assert len(proved.cosigners) >= 3


@given(changed_text(NOTE))
def test_no_change_of_a_note_goes_unseen(note: str) -> None:
    if accepts(lambda: parse_note(note)):
        assert join_note(*parse_note(note)) == note
    if is_final(note, POLICY):
        assert verify_final(note, POLICY)[0] == POINT


@given(changed_text(POLICY.text()))
def test_what_is_read_as_a_policy_can_be_written(text: str) -> None:
    if accepts(lambda: Policy.parse(text)):
        policy = Policy.parse(text)
        assert Policy.parse(policy.text()) == policy


@given(changed_text(str(POLICY.logs[0])))
def test_no_change_of_a_verifier_key_goes_unseen(text: str) -> None:
    if accepts(lambda: Vkey.parse(text)):
        assert str(Vkey.parse(text)) == text


@given(data=st.data())
def test_no_key_file_crashes_the_reader(key_file: bytes, data: st.DataObject) -> None:
    raw = data.draw(changed(key_file))
    accepts(lambda: private_keys(raw, "key.pem"))
