"""Key set-up: who announced, who sealed, for whom; and what a relaying coordinator cannot change."""

from __future__ import annotations

import secrets as csprng
import stat
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import cbor2
import pytest

from clients.masking.epoch import EpochKeyPair, open_pair_secrets, seal_pair_secrets
from clients.masking.errors import KeySetupRefused, MalformedMessage, PairSecretRefused
from clients.masking.pair_secrets import PairSecrets
from clients.masking.session import RosterEntry
from experiments.benchmarks.masked_cohort import set_up_cohort
from ledger.keys import SigningKey

CID = "cid"


class Member:
    def __init__(self, name: str) -> None:
        self.name, self.signing, self.keys = name, SigningKey.generate(), EpochKeyPair.generate()
        self.entry = RosterEntry(name, self.signing.public.raw, self.keys.public_bytes)

    def seal(self, *roster: RosterEntry, epoch: int = 1) -> tuple[PairSecrets, dict[str, bytes]]:
        terms = (self.keys, CID, epoch, self.name, roster, self.signing.sign)
        return seal_pair_secrets(*terms, csprng.token_bytes)


@pytest.fixture
def pair() -> tuple[Member, Member]:
    return Member("firm-1"), Member("firm-2")


def test_both_ends_derive_the_same_seeds_and_other_sessions_others() -> None:
    cohort = set_up_cohort(4)
    first, second = (cohort.session(dimension=3, round_number=number) for number in (1, 2))
    one, other = cohort.firms["firm-1"].secrets, cohort.firms["firm-4"].secrets
    assert one.mask_seed(first, "firm-4") == other.mask_seed(first, "firm-1")
    assert one.mask_seed(first, "firm-4") != one.mask_seed(second, "firm-4")
    assert one.mask_seed(first, "firm-4") != one.mask_seed(first, "firm-3")
    towards, back = ("firm-1", "firm-4"), ("firm-4", "firm-1")
    assert one.share_key(first, *towards) == other.share_key(first, *towards)
    assert one.share_key(first, *towards) != one.share_key(first, *back)


def _changed(raw: bytes, **fields: object) -> bytes:
    return cbor2.dumps({**cbor2.loads(raw), **fields}, canonical=True)


def test_a_coordinator_cannot_put_itself_between_two_firms(pair: tuple[Member, Member]) -> None:
    """It knows both public keys, so it can seal a secret of its own; only the signature gives it away."""
    lower, higher = pair
    coordinator = Member("firm-1")  # poses as firm-1
    _, messages = coordinator.seal(coordinator.entry, higher.entry)
    secrets, _ = higher.seal(lower.entry, higher.entry)
    with pytest.raises(KeySetupRefused, match="pair secret from firm-1: the signature"):
        open_pair_secrets(higher.keys, secrets, (lower.entry, higher.entry), {"firm-1": messages["firm-2"]})
    assert secrets.peers == ()


SealedChange = Callable[[bytes], bytes]


@pytest.mark.parametrize(
    ("change", "error", "reason"),
    [
        (lambda raw: raw[:-1], MalformedMessage, "pair secret from firm-1"),
        (lambda raw: _changed(raw, sealed=bytes(1168)), KeySetupRefused, "signature"),
        (lambda raw: _changed(raw, signature=bytes(64)), KeySetupRefused, "signature"),
    ],
)
def test_a_changed_pair_secret_is_refused(
    pair: tuple[Member, Member], change: SealedChange, error: type[Exception], reason: str
) -> None:
    lower, higher = pair
    roster = (lower.entry, higher.entry)
    _, messages = lower.seal(*roster)
    secrets, _ = higher.seal(*roster)
    with pytest.raises(error, match=reason):
        open_pair_secrets(higher.keys, secrets, roster, {"firm-1": change(messages["firm-2"])})


def test_a_pair_secret_is_for_one_pair_and_one_epoch(pair: tuple[Member, Member]) -> None:
    lower, higher = pair
    third = Member("firm-3")
    roster = (lower.entry, higher.entry, third.entry)
    _, messages = lower.seal(*roster)
    secrets, _ = higher.seal(*roster)
    with pytest.raises(KeySetupRefused, match="signature"):  # sealed for firm-3, shown to firm-2
        open_pair_secrets(higher.keys, secrets, roster, {"firm-1": messages["firm-3"]})
    later, _ = higher.seal(*roster, epoch=2)
    with pytest.raises(KeySetupRefused, match="signature"):
        open_pair_secrets(higher.keys, later, roster, {"firm-1": messages["firm-2"]})
    with pytest.raises(KeySetupRefused, match="not a roster member with an id below firm-2"):
        open_pair_secrets(higher.keys, secrets, roster, {"firm-3": messages["firm-3"]})
    open_pair_secrets(higher.keys, secrets, roster, {"firm-1": messages["firm-2"]})
    assert secrets.peers == ("firm-1", "firm-3")


def test_a_signed_message_for_another_key_does_not_open(pair: tuple[Member, Member]) -> None:
    lower, higher = pair
    roster = (lower.entry, higher.entry)
    _, messages = lower.seal(*roster)
    secrets, _ = higher.seal(*roster)
    with pytest.raises(PairSecretRefused, match="does not open") as refused:
        open_pair_secrets(EpochKeyPair.generate(), secrets, roster, {"firm-1": messages["firm-2"]})
    assert refused.value.sender == "firm-1"


def test_a_second_secret_for_a_pair_is_refused(pair: tuple[Member, Member]) -> None:
    lower, higher = pair
    roster = (lower.entry, higher.entry)
    secrets, _ = higher.seal(*roster)
    for _ in range(2):
        _, messages = lower.seal(*roster)
        if secrets.peers:
            with pytest.raises(KeySetupRefused, match="already has another"):
                open_pair_secrets(higher.keys, secrets, roster, {"firm-1": messages["firm-2"]})
        else:
            open_pair_secrets(higher.keys, secrets, roster, {"firm-1": messages["firm-2"]})


def test_own_key_must_be_in_the_roster(pair: tuple[Member, Member]) -> None:
    lower, higher = pair
    with pytest.raises(KeySetupRefused, match="the key that this firm announced"):
        lower.seal(higher.entry)
    with pytest.raises(KeySetupRefused, match="the key that this firm announced"):
        lower.seal(replace(lower.entry, epoch_key=higher.entry.epoch_key), higher.entry)


def test_saved_secrets_are_private_and_read_back(tmp_path: Path) -> None:
    cohort = set_up_cohort(3)
    secrets, path, key = cohort.firms["firm-2"].secrets, tmp_path / "pairs", csprng.token_bytes(32)
    secrets.save(path, key, csprng.token_bytes)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    session = cohort.session(dimension=1)
    again = PairSecrets.load(path, key)
    assert (again.peers, again.me, again.epoch) == (secrets.peers, secrets.me, secrets.epoch)
    assert again.mask_seed(session, "firm-1") == secrets.mask_seed(session, "firm-1")
    raw = path.read_bytes()
    path.write_bytes(raw[:-1] + bytes([raw[-1] ^ 1]))
    for wrapping_key in (key, bytes(32)):
        with pytest.raises(KeySetupRefused, match="pair secrets cannot be read"):
            PairSecrets.load(path, wrapping_key)
    assert [entry.name for entry in tmp_path.iterdir()] == ["pairs"]


def test_erased_secrets_are_gone(tmp_path: Path) -> None:
    cohort = set_up_cohort(3)
    secrets, path, session = cohort.firms["firm-1"].secrets, tmp_path / "pairs", cohort.session(dimension=1)
    secrets.save(path, bytes(32), csprng.token_bytes)
    secrets.erase(path)
    assert not path.exists()
    with pytest.raises(KeySetupRefused, match="no pair secret with firm-2"):
        secrets.mask_seed(session, "firm-2")
    with pytest.raises(KeySetupRefused, match="pair secrets cannot be read"):
        PairSecrets.load(path, bytes(32))
