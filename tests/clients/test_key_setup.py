"""Masking keys from their making to their end: those on the ledger, final, once an epoch, and no longer than agreed."""

from __future__ import annotations

import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from consortium_world import CID, Consortium, a_plan

from clients import introduction, key_setup, participation
from clients.firm import Firm
from clients.greeting import question
from clients.key_setup import end_stale_epoch, require_final
from clients.masking.announcement import announce
from clients.masking.epoch import EpochKeyPair
from clients.masking.errors import EpochEnded, KeySetupRefused
from clients.messages import Refusal
from ledger.checkpoint import NotFinal, SignedCheckpoint
from ledger.errors import LedgerError
from ledger.genesis import record
from ledger.keys import SigningKey
from ledger.rules import approve

DAY_S = 86_400
FIRST, LAST = "firm-1", "firm-6"


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Consortium]:
    """Tests take its epochs one after the other: none ever comes again."""
    made = Consortium(tmp_path_factory.mktemp("keys") / "home")
    yield made
    made.close()


def greeted(world: Consortium, names: list[str]) -> int:
    """A new epoch, in which the keys of these firms stand on the ledger; nobody has mirrored them yet."""
    world.epoch += 1
    request = question(CID, "credit", world.epoch, bytes(32))
    world.log.append([introduction.hello(world.firms[name], request)["announcement"] for name in names])
    return world.epoch


def test_a_firm_vouches_with_one_statement_for_one_key(world: Consortium) -> None:
    epoch = greeted(world, [FIRST])
    known = world.log.state.epoch_key(FIRST, "masking")
    assert known is not None
    keys = world.firms[FIRST].round_secrets.epoch_keys(epoch)
    assert (known.epoch, known.key) == (epoch, keys.public_bytes)
    again = introduction.hello(world.firms[FIRST], question(CID, "credit", epoch, bytes(32)))["announcement"]
    with pytest.raises(LedgerError, match="'epoch'"):
        world.log.append([again])
    assert keys is world.firms[FIRST].round_secrets.epoch_keys(epoch)


def test_the_ledger_has_the_keys_and_the_message_none(world: Consortium) -> None:
    """Attack: the coordinator vouches for keys of its own, under the name of a firm that has none or of no firm."""
    epoch = greeted(world, [FIRST, LAST])
    world.witness()
    false = {
        name: announce(EpochKeyPair.generate(), CID, epoch, name, world.key, record_id=bytes(16), now_s=1)
        for name in ("ghost", "firm-2", LAST)
    }
    for raw in false.values():
        with pytest.raises(LedgerError):
            world.log.append([raw])
    told = world.pairing(epoch, announcements=false, signing_keys=dict.fromkeys(false, world.key.public.raw))
    assert participation.pair(world.firms[FIRST], told)["sealed"].keys() == {LAST}
    roster = {entry.member: entry.epoch_key for entry in world.firms[FIRST].round_secrets.roster(epoch)}
    assert roster == {name: world.firms[name].round_secrets.epoch_keys(epoch).public_bytes for name in (FIRST, LAST)}


def test_no_secret_is_drawn_with_keys_that_are_not_final(world: Consortium) -> None:
    epoch, earlier = greeted(world, world.names), str(world.log.final())
    firm = world.firms[FIRST]
    for final in ("", earlier):  # before it mirrors the keys
        with pytest.raises((LedgerError, Refusal, KeySetupRefused)):
            participation.pair(firm, world.pairing(epoch, final=final))
    world.witness(world.names[:3])
    with pytest.raises(Refusal, match="is not of the ledger that firm-1 mirrors"):
        participation.pair(firm, world.pairing(epoch, final=earlier))
    with pytest.raises(NotFinal, match="too few for the quorum"):
        participation.pair(firm, world.pairing(epoch, final=world.log.checkpoint()))
    assert not firm.round_secrets.has_pairs(epoch)
    world.witness()
    assert participation.pair(firm, world.pairing(epoch))["sealed"].keys() == set(world.names[1:])


def test_a_mirror_that_is_ahead_of_the_final_checkpoint_counts_if_nothing_later_matters(world: Consortium) -> None:
    epoch = greeted(world, world.names)
    world.witness()
    firm, final = world.firms[FIRST], str(world.log.final())
    for name in ("other", "third"):  # what a live witness takes while a message travels
        world.append("task", name, task=name, spec=bytes(32))
        world.witness([FIRST])
    assert firm.witness.size > SignedCheckpoint.parse(final).checkpoint.size
    require_final(firm, final, lambda later: later.payload["t"] == "epoch_key")
    with pytest.raises(Refusal, match="what is asked hangs on entries after it"):
        require_final(firm, final, lambda later: later.payload.get("task") == "third")
    assert participation.pair(firm, world.pairing(epoch, final=final))["sealed"].keys() == set(world.names[1:])


def test_a_change_of_members_after_the_final_checkpoint_always_matters(
    world: Consortium, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.witness()
    final = str(world.log.final())
    world.append("task", "fourth", task="fourth", spec=bytes(32))
    world.witness([FIRST])
    require_final(world.firms[FIRST], final, lambda later: False)
    assert {"enrol", "rotate", "suspend", "policy", "handover"} == key_setup.MEMBERSHIP
    monkeypatch.setattr(key_setup, "MEMBERSHIP", {"task"})  # stands for one of these: members are the other tests'
    with pytest.raises(Refusal, match="what is asked hangs on entries after it"):
        require_final(world.firms[FIRST], final, lambda later: False)


def test_pair_secrets_are_drawn_once_an_epoch(world: Consortium) -> None:
    epoch = greeted(world, world.names)
    world.witness()
    participation.pair(world.firms[FIRST], world.pairing(epoch))
    kept = world.firms[FIRST].round_secrets.pairs(epoch)
    with pytest.raises(EpochEnded, match="has drawn its pair secrets, once"):
        participation.pair(world.firms[FIRST], world.pairing(epoch))
    assert world.firms[FIRST].round_secrets.pairs(epoch) is kept


class Clock:
    """Seconds since 1970; moves when told to."""

    def __init__(self) -> None:
        self.now_s = 1_800_000_000.0

    def __call__(self) -> float:
        return self.now_s


@pytest.fixture
def clock(world: Consortium, monkeypatch: pytest.MonkeyPatch) -> Clock:
    made = Clock()
    monkeypatch.setattr(world.firms[LAST], "now", made)
    return made


def masking(world: Consortium, name: str = LAST) -> set[str]:
    return {path.name for path in (world.firms[name].home / "masking").iterdir()}


def ended(world: Consortium) -> bool:
    """Whether the last firm's secrets of the present epoch are gone, for this process and the next."""
    end_stale_epoch(world.firms[LAST])
    world.firms[LAST].rest()
    secrets = world.firms[LAST].round_secrets
    if secrets.has_pairs(world.epoch):
        return False
    assert masking(world) == {"ended"}
    for ask in (secrets.epoch_keys, secrets.pairs, secrets.roster):
        with pytest.raises(EpochEnded, match=r"begin a new one"):
            ask(world.epoch)
    with pytest.raises(EpochEnded):
        introduction.hello(world.firms[LAST], question(CID, "credit", world.epoch, bytes(32)))
    return True


def test_an_epoch_ends_at_the_age_that_the_firm_allows(world: Consortium, clock: Clock) -> None:
    world.set_up_keys(world.epoch + 1)
    clock.now_s += 30 * DAY_S
    assert not ended(world)
    clock.now_s += 1
    assert ended(world)
    statement = world.open_round(a_plan(epoch=world.epoch))
    with pytest.raises(EpochEnded, match="keys of it are destroyed; begin a new one"):
        participation.train(world.firms[LAST], world.request(LAST, statement))
    world.abort(statement)


def test_a_clock_that_was_wrong_by_days_ends_it_too(world: Consortium, clock: Clock) -> None:
    clock.now_s += 20 * 365 * DAY_S
    world.set_up_keys(world.epoch + 1)
    clock.now_s -= DAY_S / 2
    assert not ended(world)
    clock.now_s -= DAY_S
    assert ended(world)


def test_what_cannot_be_read_any_more_is_destroyed(world: Consortium) -> None:
    world.set_up_keys(world.epoch + 1)
    firm = world.firms[LAST]
    firm.rest()
    (firm.home / "masking" / "wrapping.key").write_bytes(bytes(32))
    assert ended(world)


def test_an_epoch_ends_with_the_signing_key_that_vouched_for_it(
    world: Consortium, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.set_up_keys(world.epoch + 1)
    assert not ended(world)
    monkeypatch.setattr(world.firms[LAST], "key", SigningKey.generate())
    assert ended(world)


def changed_members(home: Path, kind: str, **fields: Any) -> tuple[Consortium, list[str]]:
    """A consortium in an epoch in which the last firm is rotated or suspended; the others, who have mirrored that."""
    world = Consortium(home)
    others = [name for name in world.names if name != LAST]
    head = {"cid": CID, "record_id": bytes(16), "ts": 1, "parent": world.log.state.membership_digest}
    payload = record(kind, **head, member=LAST, **fields, approvals=[])
    payload["approvals"] = [approve(payload, name, world.firms[name].key) for name in others]
    world.append_payload(payload, LAST)
    world.witness(others)
    return world, others


def test_a_suspended_firms_keys_end(tmp_path: Path) -> None:
    world, others = changed_members(tmp_path / "home", "suspend", reason="left")
    assert not ended(world)  # its mirror does not say so yet
    introduction.witness(world.firms[LAST], world.news(world.firms[LAST]))
    assert ended(world)
    statement = world.open_round(a_plan(), cohort=others, witnesses=others)
    assert participation.train(world.firms[FIRST], world.request(FIRST, statement))["statement"]
    world.close()


def test_peers_use_no_key_that_a_rotation_has_ended(tmp_path: Path) -> None:
    world, others = changed_members(tmp_path / "home", "rotate", key=SigningKey.generate().public.raw)
    statement = world.open_round(a_plan(), witnesses=others)
    with pytest.raises(EpochEnded, match=f"masking key of {LAST} has ended; begin a new epoch"):
        participation.train(world.firms[FIRST], world.request(FIRST, statement))
    world.close()


def test_files_are_for_their_owner_only(world: Consortium) -> None:
    world.set_up_keys(world.epoch + 1)
    folder = world.firms[LAST].home / "masking"
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in folder.iterdir()}
    number = world.epoch
    assert modes == dict.fromkeys(
        ["ended", f"epoch-{number}.key", f"epoch-{number}.pairs", f"epoch-{number}.roster", "wrapping.key"], 0o600
    )


def test_a_firm_that_is_opened_again_goes_on_in_its_epoch(world: Consortium) -> None:
    world.set_up_keys(world.epoch + 1)
    world.firms[LAST].close()
    world.firms[LAST] = Firm(world.firms[LAST].home)
    assert not ended(world)
