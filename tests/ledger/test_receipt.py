"""Receipts: they hold offline, and nothing about them can be changed."""

import cbor2
import pytest
from consortium_simulator import Consortium, key_of

from ledger.checkpoint import NotFinal, Policy
from ledger.encoding import decode, encode
from ledger.errors import LedgerError
from ledger.merkle import inclusion_proof
from ledger.receipt import Receipt, ReceiptError, make_receipt, verify_receipt


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


def test_every_flipped_bit_is_caught(consortium: Consortium) -> None:
    """Of the receipt's own bytes and of the statement's. Spare cosignatures are still checked."""
    log, policy = consortium.log, consortium.log.policy
    receipt, statement = log.receipt(3), log.entries(3, 4)[0]
    for position in range(0, len(receipt) * 8, 3):
        damaged = bytearray(receipt)
        damaged[position // 8] ^= 1 << position % 8
        try:
            proved = verify_receipt(bytes(damaged), statement, policy)
        except LedgerError:
            continue
        # Only the name or key id of a spare cosignature may change: then it counts as a stranger's.
        assert len(proved.cosigners) == 3
        assert (proved.index, proved.root) == (3, log.root)
    for position in range(0, len(statement) * 8, 3):
        damaged = bytearray(statement)
        damaged[position // 8] ^= 1 << position % 8
        with pytest.raises(LedgerError):
            verify_receipt(receipt, bytes(damaged), policy)


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
