"""Who vouched for which key: a statement for the ledger, and for firms without one a message that says no more."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import cbor2
import pytest
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

from clients.masking.announcement import PURPOSE, announce, read_announcement, roster_on_ledger
from clients.masking.epoch import EPOCH_KEY_BYTES, EpochKeyPair, is_epoch_key
from clients.masking.errors import KeySetupRefused, MalformedMessage
from clients.masking.session import RosterEntry
from ledger.genesis import Founder, genesis_statements, record
from ledger.keys import SigningKey
from ledger.rules import COORDINATOR, State, admit, initial
from ledger.statement import decode_statement, sign_statement

CID = "cid"
NAMES = ("bank-1", "firm-1", "firm-2")
KEYS = {name: SigningKey.generate() for name in (COORDINATOR, *NAMES)}
PAIR = EpochKeyPair.generate()


def announced(epoch: int = 1, member: str = "firm-1", signer: SigningKey | None = None) -> bytes:
    key = signer or KEYS[member]
    return announce(PAIR, CID, epoch, member, key, record_id=bytes(15) + bytes([epoch]), now_s=7)


def changed(**fields: Any) -> bytes:
    """A statement of firm-1, rightly signed, with other fields."""
    payload = {**decode_statement(announced()).payload, **fields}
    return sign_statement(payload, issuer="firm-1", subject="s", key=KEYS["firm-1"])


@pytest.mark.parametrize("hybrid", [False, True])
def test_a_statement_is_read_back(hybrid: bool) -> None:
    key = SigningKey.generate(hybrid)
    entry = read_announcement(announced(3, signer=key), CID, 3, "firm-1", key.public)
    assert entry == RosterEntry("firm-1", key.public.ed25519.raw, PAIR.public_bytes)


@pytest.mark.parametrize(
    ("make", "reason"),
    [
        (lambda: announced(2), "another consortium, purpose, epoch or member"),
        (lambda: announced(member="firm-2"), "another consortium, purpose, epoch or member"),
        (lambda: announced(member="firm-2", signer=KEYS["firm-1"]), "another consortium, purpose, epoch or member"),
        (lambda: changed(cid="other"), "another consortium, purpose, epoch or member"),
        (lambda: changed(purpose="ckks"), "another consortium, purpose, epoch or member"),
        (lambda: announced(signer=KEYS["firm-2"]), "the signature is not the sender's enrolled key's"),
        (lambda: announced(signer=SigningKey.generate(hybrid=True)), "the signature is not the sender's"),
        (lambda: announced()[:-1] + bytes([announced()[-1] ^ 1]), "the signature is not the sender's"),
        (lambda: changed(key=b"key"), "not an ML-KEM-768"),
        (lambda: changed(key=bytes(EPOCH_KEY_BYTES)), "not an ML-KEM-768"),
    ],
)
def test_another_statement_is_refused(make: Callable[[], bytes], reason: str) -> None:
    with pytest.raises(KeySetupRefused, match=reason):
        read_announcement(make(), CID, 1, "firm-1", KEYS["firm-1"].public)


@pytest.mark.parametrize(
    "make",
    [
        lambda: b"",
        lambda: b"nothing",
        lambda: announced()[:-1],
        lambda: cbor2.dumps({"key": PAIR.public_bytes}),
        lambda: changed(epoch="1"),
        lambda: changed(key=b""),
        lambda: changed(more=1),
        lambda: changed(t="attest"),
    ],
)
def test_what_is_no_such_statement_is_malformed(make: Callable[[], bytes]) -> None:
    with pytest.raises(MalformedMessage, match="epoch key of firm-1"):
        read_announcement(make(), CID, 1, "firm-1", KEYS["firm-1"].public)


def test_well_formed_keys() -> None:
    small_order = (bytes(32), bytes([1]) + bytes(31))
    lattice = PAIR.public_bytes[:-32]
    assert is_epoch_key(PAIR.public_bytes)
    assert is_epoch_key(lattice + X25519PrivateKey.generate().public_key().public_bytes_raw())
    unfit = [lattice + curve for curve in small_order]
    for raw in (b"", PAIR.public_bytes[:-1], PAIR.public_bytes + b"x", bytes([255]) * EPOCH_KEY_BYTES, *unfit):
        assert not is_epoch_key(raw)


def test_a_roster_is_of_active_firms_with_good_keys_of_the_epoch() -> None:
    """Anything else that members put on the ledger leaves its own issuer out, and nobody else."""
    founders = [Founder(name, name[:4], KEYS[name].public, name) for name in NAMES]
    ids = (bytes(15) + bytes([count]) for count in range(100, 200))
    genesis = genesis_statements(CID, KEYS[COORDINATOR], founders, min_cohort=1, ts=1, entropy=lambda _: next(ids))

    def state(*more: bytes) -> State:
        out = initial(CID)
        for index, raw in enumerate([*genesis, *more]):
            out = admit(out, decode_statement(raw), index)
        return out

    def odd(member: str, **fields: Any) -> bytes:
        own = {"purpose": PURPOSE, "epoch": 2, "key": PAIR.public_bytes, **fields}
        payload = record("epoch_key", cid=CID, record_id=next(ids), ts=1, **own)
        return sign_statement(payload, issuer=member, subject="s", key=KEYS[member])

    good = RosterEntry("firm-1", KEYS["firm-1"].public.raw, PAIR.public_bytes)
    for other in (odd("firm-2", key=b"k"), odd("firm-2", purpose="ckks"), odd("firm-2", epoch=1), odd("bank-1")):
        assert roster_on_ledger(state(announced(2), other), 2) == (good,)
    assert [one.member for one in roster_on_ledger(state(announced(2), odd("firm-2")), 2)] == ["firm-1", "firm-2"]
    assert roster_on_ledger(state(announced(1), announced(2)), 1) == ()
