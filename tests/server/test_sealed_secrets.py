"""Sealed pair secrets on their way: what is checked without opening them, and who goes where one does not open."""

from __future__ import annotations

import secrets as csprng
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clients.masking.epoch import EpochKeyPair, seal_pair_secrets
from clients.masking.errors import MaskingError
from clients.masking.session import RosterEntry
from ledger.keys import SigningKey
from server.sealed_secrets import SealedSecrets

NAMES = tuple(f"firm-{k}" for k in range(1, 5))


@pytest.fixture(scope="module")
def sealed() -> tuple[tuple[RosterEntry, ...], dict[str, dict[str, bytes]]]:
    """Four firms' roster, and what each has sealed for those after it."""
    signing = {name: SigningKey.generate() for name in NAMES}
    keys = {name: EpochKeyPair.generate() for name in NAMES}
    roster = tuple(RosterEntry(name, signing[name].public.raw, keys[name].public_bytes) for name in NAMES)
    return roster, {
        name: seal_pair_secrets(keys[name], "cid", 1, name, roster, signing[name].sign, csprng.token_bytes)[1]
        for name in NAMES
    }


def test_secrets_wait_for_their_receivers_until_they_are_opened(sealed: Any) -> None:
    roster, messages = sealed
    held = SealedSecrets("cid", 1, roster)
    for sender in NAMES:
        held.take(sender, {**messages[sender], "nobody": b"x"})
    assert held.waiting_for("firm-3", NAMES) == {name: messages[name]["firm-3"] for name in ("firm-1", "firm-2")}
    assert held.waiting_for("firm-3", ["firm-2"]).keys() == {"firm-2"}
    assert held.waiting_for("firm-1", NAMES) == held.waiting_for("nobody", NAMES) == {}
    held.has_opened("firm-3")
    assert held.waiting_for("firm-3", NAMES) == {}


@pytest.mark.parametrize("odd", [None, b"", b"x", "text", 7])
def test_what_is_not_the_senders_secret_for_that_firm_goes_no_further(sealed: Any, odd: Any) -> None:
    roster, messages = sealed
    own = messages["firm-1"]
    flipped = own["firm-3"][:-1] + bytes([own["firm-3"][-1] ^ 1])
    swapped = {**own, "firm-2": own["firm-3"]}
    missing = {name: raw for name, raw in own.items() if name != "firm-4"}
    for bad in ({**own, "firm-2": odd}, {**own, "firm-3": flipped}, swapped, missing, messages["firm-2"], {}):
        held = SealedSecrets("cid", 1, roster)
        with pytest.raises(MaskingError, match="pair secret from firm-1"):
            held.take("firm-1", bad)
        assert all(held.waiting_for(name, NAMES) == {} for name in NAMES)
    for cid, epoch in (("cid", 2), ("other", 1)):
        with pytest.raises(MaskingError, match="the signature is not the sender's"):
            SealedSecrets(cid, epoch, roster).take("firm-1", own)


def disputed(firms: int, pairs: Any, colluders: int) -> set[str]:
    """Who goes when firms (numbers) dispute about these secrets; all of them were sent."""
    held = SealedSecrets("cid", 1, [RosterEntry(f"{k:02}", bytes(32)) for k in range(firms)])
    held._waiting = {f"{k:02}": {f"{j:02}": b"sealed" for j in range(k)} for k in range(firms)}
    for receiver, sender in pairs:
        held.dispute(f"{receiver:02}", f"{sender:02}")
    out = held.settle(colluders)
    assert not held.disputed
    assert held.settle(colluders) == set()
    return out


def test_a_sender_of_garbage_goes_alone_and_a_lone_accuser_goes_with_the_accused() -> None:
    assert disputed(10, [(k, 0) for k in range(1, 10)], 1) == {"00"}
    assert disputed(10, [(9, 4)], 1) == disputed(10, [(9, 4)], 0) == {"04", "09"}
    assert disputed(10, [(9, k) for k in range(9)], 2) == {"09"}  # one that accuses all
    assert disputed(10, [(k, 0) for k in range(1, 10)] + [(9, 8)], 1) == {"00", "08", "09"}


def test_only_what_a_firm_was_sent_and_has_not_opened_is_disputed() -> None:
    held = SealedSecrets("cid", 1, [RosterEntry(name, bytes(32)) for name in NAMES])
    held._waiting["firm-2"] = {"firm-1": b"sealed"}
    for receiver, sender in (("firm-1", "firm-2"), ("firm-3", "firm-1"), ("nobody", "firm-1"), ("firm-2", "nobody")):
        held.dispute(receiver, sender)
        assert not held.disputed
    held.dispute("firm-2", "firm-1")
    assert held.disputed
    held = SealedSecrets("cid", 1, [])
    held._waiting["firm-2"] = {"firm-1": b"sealed"}
    held.has_opened("firm-2")
    held.dispute("firm-2", "firm-1")
    assert not held.disputed


@given(st.data())
def test_liars_take_no_more_honest_firms_out_than_go_themselves(data: Any) -> None:
    """Honest firms are never at odds with each other; whatever the liars send and say, up to the colluders allowed."""
    firms = data.draw(st.integers(2, 12))
    liars = data.draw(st.sets(st.integers(0, firms - 1), max_size=4))
    colluders = data.draw(st.integers(len(liars), 6))
    touching = [(k, j) for k in range(firms) for j in range(k) if {k, j} & liars]
    pairs = data.draw(st.lists(st.sampled_from(touching), unique=True)) if touching else []
    out = disputed(firms, pairs, colluders)
    bad = {f"{k:02}" for k in liars}
    assert len(out - bad) <= len(out & bad)
    assert not any({f"{k:02}", f"{j:02}"}.isdisjoint(out) for k, j in pairs)
