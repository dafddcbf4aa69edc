"""Receipts: they hold offline, and nothing about them can be changed."""

from dataclasses import replace

import cbor2
import pytest
from consortium_simulator import Consortium, key_of

from ledger.checkpoint import NotFinal, Policy, SignedCheckpoint, cosign, witness_name
from ledger.encoding import decode, encode
from ledger.errors import LedgerError
from ledger.merkle import inclusion_proof
from ledger.note import SignatureLine, Vkey
from ledger.receipt import Receipt, ReceiptError, make_receipt, verify_receipt
from ledger.rules.approvals import approve


@pytest.fixture(scope="module")
def consortium() -> Consortium:
    made = Consortium(firms=3)
    made.task()
    made.train()
    assert made.cosign()
    return made


def test_a_receipt_holds(consortium: Consortium) -> None:
    log = consortium.log
    policy = Policy.parse(log.policy.text())
    for index in range(log.size):
        statement = log.entries(index, index + 1)[0]
        proved = verify_receipt(log.receipt(index), statement, policy)
        assert (proved.index, proved.size, proved.root) == (index, log.size, log.root)
        assert proved.cosigners == ("bank-0", "firm-0", "firm-1", "firm-2")
        assert proved.statement.raw == statement
        assert any(f"entry {index}" in words for words in proved.words)


def test_receipts_of_statements_by_hybrid_keys() -> None:
    """Whose quorum cosigns with the Ed25519 halves; the receipt is no larger for it."""
    made = Consortium(firms=3, hybrid=True)
    made.task()
    assert made.cosign()
    for index in range(made.log.size):
        statement, receipt = made.log.entries(index, index + 1)[0], made.log.receipt(index)
        proved = verify_receipt(receipt, statement, Policy.parse(made.log.policy.text()))
        assert proved.statement.is_hybrid
        assert len(receipt) < 1200
        with pytest.raises(LedgerError):
            verify_receipt(receipt, statement[:-1] + bytes([statement[-1] ^ 1]), made.log.policy)


def test_every_flipped_bit_is_caught(consortium: Consortium) -> None:
    """Of every byte of the receipt and of the statement, spare cosignatures' names and key ids too."""
    log, policy = consortium.log, consortium.log.policy
    receipt, statement = log.receipt(3), log.entries(3, 4)[0]
    for position in range(len(receipt)):
        with pytest.raises(LedgerError):
            verify_receipt(flipped(receipt, position), statement, policy)
    for position in range(len(statement)):
        with pytest.raises(LedgerError):
            verify_receipt(receipt, flipped(statement, position), policy)


def flipped(raw: bytes, position: int) -> bytes:
    """`raw` with the lowest bit of one byte changed."""
    return raw[:position] + bytes([raw[position] ^ 1]) + raw[position + 1 :]


def test_a_signature_by_an_unknown_key_is_refused(consortium: Consortium) -> None:
    """Even beside a quorum: nothing vouches for it, whether its name or its key id is the strange part."""
    log, statement = consortium.log, consortium.log.entries(3, 4)[0]
    bundle = Receipt.from_bytes(log.receipt(3))
    body = SignedCheckpoint.parse(bundle.checkpoint).body
    for name, key in (("stranger", consortium.keys["firm-1"]), ("firm-1", key_of("mallory"))):
        line = cosign(body, name=witness_name(log.origin, name), key=key, timestamp_s=int(consortium.clock()))
        with pytest.raises(ReceiptError, match=r"a signature by an unknown key.*ask for a new receipt") as refused:
            verify_receipt(replace(bundle, checkpoint=bundle.checkpoint + line).to_bytes(), statement, log.policy)
        assert refused.value.exit_code == 1


def test_a_receipt_goes_with_the_policy_of_its_time() -> None:
    """A suspended member's cosignature is in older receipts, and in none that the log makes after the next quorum."""
    made = Consortium(firms=4)
    assert made.cosign()
    statement, before, old = made.log.entries(0, 1)[0], made.log.policy, made.log.receipt(0)
    payload = made.payload(
        "suspend", parent=made.log.state.membership_digest, member="firm-3", reason="left", approvals=[]
    )
    voices = ["firm-0", "firm-1", "firm-2", "bank-0"]
    payload["approvals"] = [approve(payload, name, made.keys[name]) for name in voices]
    made.log.append([made.sign(payload)])
    assert made.cosign([*voices, "firm-3"])  # which is asked for its own suspension, too
    final = made.log.final()
    assert final is not None
    assert "/firm-3 " in final
    verify_receipt(made.log.receipt(0), statement, made.log.policy)
    verify_receipt(old, statement, before)
    with pytest.raises(ReceiptError, match=r"firm-3.*the policy of the receipt's time"):
        verify_receipt(old, statement, made.log.policy)


def test_any_of_the_log_keys_of_one_origin_may_have_signed(consortium: Consortium) -> None:
    """After the log's key was rotated or the log handed over, a policy names both keys, in any order."""
    log, policy = consortium.log, consortium.log.policy
    receipt, statement = log.receipt(3), log.entries(3, 4)[0]
    later = Vkey.of_log(log.origin, key_of("the log's next key").public)
    for logs in ((later, *policy.logs), (*policy.logs, later)):
        assert verify_receipt(receipt, statement, replace(policy, logs=logs)).index == 3
    with pytest.raises(ReceiptError, match="not signed by a trusted key"):
        verify_receipt(receipt, statement, replace(policy, logs=(later,)))


def test_a_receipt_made_after_a_rotation_may_carry_an_older_checkpoint(consortium: Consortium) -> None:
    log, policy, final = consortium.log, consortium.log.policy, consortium.log.final()
    assert final is not None
    next_key, statement = key_of("the log's next key"), log.entries(3, 4)[0]
    receipt = make_receipt(3, log.inclusion(3, log.size), final, next_key)
    both = replace(policy, logs=(*policy.logs, Vkey.of_log(log.origin, next_key.public)))
    assert verify_receipt(receipt, statement, both).index == 3
    with pytest.raises(ReceiptError, match="trusted log's key"):
        verify_receipt(receipt, statement, policy)


def test_a_wrong_signature_by_any_of_the_log_keys_condemns(consortium: Consortium) -> None:
    log, policy = consortium.log, consortium.log.policy
    bundle, statement = Receipt.from_bytes(log.receipt(3)), log.entries(3, 4)[0]
    later = Vkey.of_log(log.origin, key_of("the log's next key").public)
    both = replace(policy, logs=(*policy.logs, later))
    forged = replace(bundle, checkpoint=bundle.checkpoint + str(SignatureLine(later.name, later.id, bytes(64))))
    with pytest.raises(ReceiptError, match="the log's signature on checkpoint"):
        verify_receipt(forged.to_bytes(), statement, both)


def test_a_receipt_is_for_one_statement(consortium: Consortium) -> None:
    log = consortium.log
    with pytest.raises(LedgerError) as refused:
        verify_receipt(log.receipt(3), log.entries(4, 5)[0], log.policy)
    assert refused.value.exit_code == 1


def test_another_consortium_does_not_vouch(consortium: Consortium) -> None:
    log, other = consortium.log, Consortium(firms=3, seed="other")
    with pytest.raises(ReceiptError):
        verify_receipt(log.receipt(3), log.entries(3, 4)[0], other.log.policy)


def test_the_log_alone_cannot_make_a_receipt(consortium: Consortium) -> None:
    log = consortium.log
    bare = make_receipt(3, log.inclusion(3, log.size), log.checkpoint(), key_of("coordinator"))
    with pytest.raises(NotFinal, match="0 of 4"):
        verify_receipt(bare, log.entries(3, 4)[0], log.policy)


def test_another_key_cannot_make_a_receipt(consortium: Consortium) -> None:
    log, final = consortium.log, consortium.log.final()
    assert final is not None
    forged = make_receipt(3, log.inclusion(3, log.size), final, key_of("mallory"))
    with pytest.raises(ReceiptError, match="trusted log's key"):
        verify_receipt(forged, log.entries(3, 4)[0], log.policy)


def test_size_and_index_are_pinned_by_the_checkpoint() -> None:
    """In a tree of 8 the path of entry 0 also fits sizes 5 to 7; the checkpoint beside it says which."""
    made = Consortium(firms=6)
    assert made.log.size == 8
    assert made.cosign()
    receipt = Receipt.from_bytes(made.log.receipt(0))
    parts = list(cbor2.loads(receipt.cose).value)
    path = made.log.inclusion(0, 8)
    parts[1] = {396: {-1: [cbor2.dumps([6, 0, path], canonical=True)]}}
    cose = cbor2.dumps(cbor2.CBORTag(18, parts), canonical=True)
    statement = made.log.entries(0, 1)[0]
    with pytest.raises(ReceiptError, match="entry 0 of 6"):
        verify_receipt(Receipt(0, cose, receipt.checkpoint).to_bytes(), statement, made.log.policy)
    with pytest.raises(ReceiptError, match="the receipt for entry 1"):
        verify_receipt(Receipt(1, receipt.cose, receipt.checkpoint).to_bytes(), statement, made.log.policy)


def test_strict_bundles(consortium: Consortium) -> None:
    good = decode(consortium.log.receipt(3), what="it")
    assert Receipt.from_bytes(encode(good)).to_bytes() == encode(good)
    for changed, words in (
        ({**good, "v": 2}, "version 2"),
        ({**good, "extra": 1}, "no more"),
        ({**good, "index": "3"}, "not a receipt"),
        ({key: value for key, value in good.items() if key != "cose"}, "not a receipt"),
        ([1], "not a receipt"),
    ):
        with pytest.raises(ReceiptError, match=words):
            Receipt.from_bytes(encode(changed))
    with pytest.raises(ReceiptError):
        Receipt.from_bytes(b"")


def test_unsigned_extras_are_refused(consortium: Consortium) -> None:
    log = consortium.log
    receipt = Receipt.from_bytes(log.receipt(3))
    parts = list(cbor2.loads(receipt.cose).value)
    proof = cbor2.dumps([log.size, 3, log.inclusion(3, log.size)], canonical=True)
    for unprotected in (
        {396: {-1: [proof, proof]}},
        {396: {-1: [proof]}, 4: b"x"},
        {396: {-1: [proof], -2: []}},
        {396: {-1.0: [proof]}},
        {396.0: {-1: [proof]}},
        {396: {-1: [cbor2.dumps([log.size, 3.0, log.inclusion(3, log.size)], canonical=True)]}},
        {},
    ):
        parts[1] = unprotected
        cose = cbor2.dumps(cbor2.CBORTag(18, parts), canonical=True)
        with pytest.raises(ReceiptError):
            verify_receipt(Receipt(3, cose, receipt.checkpoint).to_bytes(), log.entries(3, 4)[0], log.policy)


def test_not_final_yet(consortium: Consortium) -> None:
    fresh = Consortium(firms=3)
    with pytest.raises(NotFinal, match="not final yet"):
        fresh.log.receipt(0)
    assert inclusion_proof(0, 1, lambda _: {}) == []
