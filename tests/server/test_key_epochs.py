"""Masking epochs in a run: keys on the ledger first, a new epoch where keys have ended, and nobody kept out by one."""

from __future__ import annotations

import secrets
import time
from pathlib import Path
from typing import Any

from federation_world import (
    TASK,
    Meddler,
    federation,
    on_grid,
    opened,
    phases,
    rounds,
    train,
    training,
)
from flwr.app import Message

from clients.disclosure import pack_refusal
from clients.firm import open_firm
from clients.masking.announcement import announce
from clients.masking.epoch import EpochKeyPair
from clients.masking.errors import EpochEnded
from clients.messages import PAIR, TRAIN, pack
from ledger.genesis import record
from ledger.keys import SigningKey
from ledger.rules import approve
from ledger.statement import decode_statement
from server.audit import audit_all
from server.coordinator import Coordinator
from server.rounds import Run
from server.statements import Statements

DAY_S = 86_400


def epochs(coordinator: Coordinator) -> list[int]:
    """The masking epoch of every round, in order."""
    plans = (decode_statement(coordinator.log.entries(one.index, one.index + 1)[0]) for one in rounds(coordinator))
    return [statement.payload["plan"]["epoch"] for statement in plans]


def keys_on_ledger(coordinator: Coordinator) -> list[tuple[str, int]]:
    read = [decode_statement(raw) for raw in coordinator.log.entries(0, coordinator.log.size)]
    return [(one.issuer, one.payload["epoch"]) for one in read if one.payload["t"] == "epoch_key"]


class At:
    """Does something before a firm is asked to train for the so-many-th time."""

    def __init__(self, firm: str, times: int, act: Any) -> None:
        self.left, self.firm, self.act = times, firm, act

    def __call__(self, kind: str, member: str, message: Message) -> None:
        if (kind, member) == (TRAIN, self.firm):
            self.left -= 1
            if self.left == 0:
                self.act()


def test_the_keys_of_all_firms_stand_on_the_ledger_before_anybody_draws_secrets(tmp_path: Path) -> None:
    seen: list[int] = []

    def before(kind: str, member: str, message: Message) -> None:
        if kind == PAIR:
            seen.append(len(keys_on_ledger(coordinator)))
            assert coordinator.log.final_size == coordinator.log.size

    built = federation(tmp_path / "f", 4, training(1))
    with opened(built) as coordinator:
        train(built, coordinator, app=Meddler(before))
        assert seen == [4] * 4
        assert keys_on_ledger(coordinator) == [(name, 1) for name in built.firms]


def test_a_firm_that_forgot_its_keys_costs_itself_one_round_and_all_a_new_epoch(tmp_path: Path) -> None:
    built = federation(tmp_path / "f", 5, training(3))
    forget = At("firm-3", 2, lambda: open_firm(built.member("firm-3")).round_secrets.end())
    lines: list[str] = []
    with opened(built) as coordinator:
        train(built, coordinator, app=Meddler(forget), lines=lines)
        assert phases(coordinator) == ["aggregated", "aggregated", "published"]
        assert epochs(coordinator) == [1, 1, 2]
        assert [one.contributed for one in rounds(coordinator)] == [5, 4, 5]
    assert "credit: masking epoch 2 begins: a firm's keys have ended" in lines
    assert audit_all(built.coordinator).ok


def test_a_run_goes_on_beyond_the_age_that_firms_allow_an_epoch(tmp_path: Path) -> None:
    built = federation(tmp_path / "f", 3, training(2))

    def month_later() -> None:
        for name in built.firms:
            open_firm(built.member(name)).now = lambda: time.time() + 31 * DAY_S

    with opened(built) as coordinator:
        train(built, coordinator, app=Meddler(At("firm-1", 2, month_later)))
        assert phases(coordinator) == ["aggregated", "aborted", "published"]
        assert epochs(coordinator) == [1, 1, 2]
    assert audit_all(built.coordinator).ok


def test_without_a_ledger_too(tmp_path: Path) -> None:
    built = federation(tmp_path / "f", 3, training(3), ledger=False)

    def forget() -> None:
        for name in built.firms:
            open_firm(built.member(name)).round_secrets.end()

    meddler = Meddler(At("firm-1", 2, forget))
    with opened(built) as coordinator:
        train(built, coordinator, app=meddler)
    assert [kind for kind, member in meddler.asked if member == "firm-1"].count(PAIR) == 2


def test_a_firm_cannot_have_new_keys_put_on_the_ledger_in_every_round(tmp_path: Path) -> None:
    def before(kind: str, member: str, message: Message) -> Message | None:
        lies = (kind, member) == (TRAIN, "firm-2")
        return Message(pack_refusal(EpochEnded("epoch: over again")), reply_to=message) if lies else None

    built = federation(tmp_path / "f", 5, training(3))
    with opened(built) as coordinator:
        train(built, coordinator, app=Meddler(before))
        assert epochs(coordinator) == [1, 2, 2]


def test_a_key_that_a_rotation_ends_is_in_no_later_round(tmp_path: Path) -> None:
    built = federation(tmp_path / "f", 5, training(2))

    def rotate(line: str) -> None:
        if not line.endswith("round 1 of 2"):
            return
        state = coordinator.log.state
        head = {"cid": state.cid, "record_id": secrets.token_bytes(16), "ts": 1, "parent": state.membership_digest}
        payload = record("rotate", **head, member="firm-5", key=SigningKey.generate().public.raw, approvals=[])
        keys = {name: SigningKey.load(built.member(name) / "signing.pem") for name in built.firms}
        payload["approvals"] = [approve(payload, name, key) for name, key in keys.items()]
        coordinator.log.append([Statements(state.cid, lambda: coordinator.key, time.time).sign(payload, "firm-5")])

    with opened(built) as coordinator:
        on_grid(built, lambda grid: Run(grid, coordinator, TASK, progress=rotate).run())
        assert epochs(coordinator) == [1, 2]
        assert [one.contributed for one in rounds(coordinator)] == [5, 4]
    assert audit_all(built.coordinator).ok


def test_a_firm_whose_key_the_ledger_refuses_is_left_out_and_keeps_out_nobody(tmp_path: Path) -> None:
    """It has put a key of a far epoch there by itself, and says that it has drawn secrets all the same."""

    def before(kind: str, member: str, message: Message) -> Message | None:
        lies = (kind, member) == (PAIR, "firm-2")
        return Message(pack({"sealed": {}}), reply_to=message) if lies else None

    built = federation(tmp_path / "f", 5, training(1))
    with opened(built) as coordinator:
        key = SigningKey.load(built.member("firm-2") / "signing.pem")
        far = announce(EpochKeyPair.generate(), "simulation", 2**31, "firm-2", key, record_id=bytes(16), now_s=1)
        coordinator.log.append([far])
        train(built, coordinator, app=Meddler(before))
        assert set(rounds(coordinator)[0].contributions) == {"firm-1", "firm-3", "firm-4", "firm-5"}
        assert len(keys_on_ledger(coordinator)) == 5


def test_a_home_that_has_lost_its_count_of_epochs_goes_on_after_the_ledgers(tmp_path: Path) -> None:
    """Or another home, after a handover. A key of an epoch at the end of all is not followed there."""
    built = federation(tmp_path / "f", 5, training(1))
    with opened(built) as coordinator:
        train(built, coordinator)
        key = SigningKey.load(built.member("firm-2") / "signing.pem")
        far = announce(EpochKeyPair.generate(), "simulation", 2**31, "firm-2", key, record_id=bytes(16), now_s=1)
        coordinator.log.append([far])
        (coordinator.home / "epoch").unlink()
        train(built, coordinator, seed=1)
        assert epochs(coordinator) == [1, 2]
        assert rounds(coordinator)[1].contributed == 4  # without the one that went ahead
        assert (coordinator.home / "epoch").read_text() == "2\n"


def test_a_lost_key_message_costs_its_firm_the_epoch(tmp_path: Path) -> None:
    def before(kind: str, member: str, message: Message) -> Message | None:
        lost = (kind, member) == (PAIR, "firm-4")
        return Message(pack_refusal(RuntimeError()), reply_to=message) if lost else None

    built = federation(tmp_path / "f", 5, training(1))
    with opened(built) as coordinator:
        train(built, coordinator, app=Meddler(before))
        assert "firm-4" not in rounds(coordinator)[0].contributions
    assert audit_all(built.coordinator).ok
