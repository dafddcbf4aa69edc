"""Epoch keys: each member's own, one for an epoch, and none of them after its signing key or its seat is gone."""

from typing import Any

import pytest
from consortium_simulator import Consortium, key_of
from refusals import refused

from ledger.rules import COORDINATOR
from ledger.rules.epochs import MOST_PURPOSES
from ledger.snapshot import decode_state, encode_state

OTHERS = ["firm-1", "firm-2", "firm-3", "bank-0"]


@pytest.fixture
def consortium() -> Consortium:
    return Consortium()


def vouch(made: Consortium, epoch: int, issuer: str = "firm-0", purpose: str = "masking", **fields: Any) -> bytes:
    return made.statement("epoch_key", issuer, **{"purpose": purpose, "epoch": epoch, "key": made.hash(), **fields})


def test_the_state_keeps_a_members_latest_key_of_each_purpose(consortium: Consortium) -> None:
    for epoch, issuer, purpose in ((0, "firm-0", "masking"), (7, "firm-0", "masking"), (3, "firm-0", "ckks")):
        consortium.log.append([vouch(consortium, epoch, issuer, purpose, key=f"{purpose} {epoch}".encode())])
    consortium.log.append([vouch(consortium, 1, "bank-0", key=bytes(2048))])
    state = consortium.log.state
    found = {(who, what): state.epoch_key(who, what) for who in consortium.members for what in ("masking", "ckks")}
    kept = {place: (one.epoch, one.key) for place, one in found.items() if one is not None}
    assert kept == {
        ("firm-0", "masking"): (7, b"masking 7"),
        ("firm-0", "ckks"): (3, b"ckks 3"),
        ("bank-0", "masking"): (1, bytes(2048)),
    }
    assert decode_state(encode_state(state)) == state


def test_an_epoch_has_one_key_and_never_comes_again(consortium: Consortium) -> None:
    first, second = vouch(consortium, 4), vouch(consortium, 5)
    consortium.log.append([first, second])
    for epoch in (5, 4, 0):
        assert refused(consortium, vouch(consortium, epoch)).rule == "epoch"
    size = consortium.log.size
    assert consortium.log.append([first]) == [size - 2]  # the same statement keeps its place, and changes nothing
    known = consortium.log.state.epoch_key("firm-0", "masking")
    assert known is not None
    assert (known.epoch, known.since, consortium.log.size) == (5, size - 1, size)


@pytest.mark.parametrize("how", ["rotate", "suspend"])
def test_keys_end_with_the_signing_key_and_the_seat(consortium: Consortium, how: str) -> None:
    """And their epochs do not come again: what was sealed to such a key stays sealed."""
    consortium.log.append([vouch(consortium, 4), vouch(consortium, 2, purpose="ckks"), vouch(consortium, 4, "firm-1")])
    new = key_of("firm-0 renewed")
    fields: dict[str, Any] = {"key": new.public.raw} if how == "rotate" else {"reason": "left"}
    consortium.log.append([consortium.approved(OTHERS, how, member="firm-0", **fields)])
    if how == "suspend":
        back = {"member": "firm-0", "kind": "firm", "key": new.public.raw, "name": "Zero"}
        consortium.log.append([consortium.approved(OTHERS, "enrol", **back)])
    state = consortium.log.state
    assert [state.epoch_key("firm-0", purpose) for purpose in ("masking", "ckks")] == [None, None]
    assert state.epoch_key("firm-1", "masking") is not None
    assert decode_state(encode_state(state)) == state
    consortium.keys["firm-0"] = new
    assert refused(consortium, vouch(consortium, 4)).rule == "epoch"
    consortium.log.append([vouch(consortium, 5)])
    assert consortium.log.state.epoch_key("firm-0", "masking") is not None


def test_a_members_statement_is_its_own(consortium: Consortium) -> None:
    payload = consortium.payload("epoch_key", purpose="masking", epoch=1, key=b"k")
    forged = consortium.sign(payload, "firm-0", key=consortium.keys["firm-1"])
    assert refused(consortium, forged).rule == "signature"
    assert refused(consortium, consortium.sign(payload, COORDINATOR)).rule == "issuer"


@pytest.mark.parametrize(
    "fields",
    [
        {"key": b""},
        {"key": bytes(2049)},
        {"key": "text"},
        {"epoch": -1},
        {"epoch": True},
        {"purpose": ""},
        {"purpose": "Masking"},
    ],
)
def test_shapes(consortium: Consortium, fields: dict[str, Any]) -> None:
    payload = consortium.payload("epoch_key", **{"purpose": "masking", "epoch": 1, "key": b"k", **fields})
    assert refused(consortium, consortium.sign(payload, "firm-0")).rule == "schema"


def test_one_member_cannot_fill_the_others_memory(consortium: Consortium) -> None:
    consortium.log.append([vouch(consortium, 1, purpose=f"use-{number}") for number in range(MOST_PURPOSES)])
    assert refused(consortium, vouch(consortium, 1, purpose="one-more")).rule == "epoch"
    consortium.log.append([vouch(consortium, 2, purpose="use-0"), vouch(consortium, 1, "firm-1", "one-more")])
