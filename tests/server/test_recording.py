"""The ledger in a run: who gets which news, whose cosignature counts, and what happens when too few do."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from federation_world import Lost, Meddler, federation, on_grid, opened, train, training, with_fields

from clients.messages import WITNESS
from ledger.keys import SigningKey
from ledger.witness import Witness
from server.recording import MessagedRecord, NotWitnessed
from server.statements import Statements
from server.witnessing import witness


class Ledger:
    """A coordinator's record, and the witnesses of its firms in memory."""

    def __init__(self, built: Any, coordinator: Any) -> None:
        self.record = MessagedRecord(coordinator.log)
        self.statements = Statements("simulation", lambda: coordinator.key, lambda: 1_800_000_000.0)
        self.witnesses = {}
        for firm in built.firms:
            key = SigningKey.load(built.member(firm) / "signing.pem")
            self.witnesses[firm] = Witness(None, key, firm, coordinator.log.vkey, "simulation")
        self.number = 0

    def append(self) -> None:
        self.number += 1
        task = f"task-{self.number}"
        self.record.append([self.statements.make("task", task, task=task, spec=bytes(32))])

    def reply(self, firm: str) -> dict[str, Any]:
        news = self.record.news_for([firm])[firm]
        line = self.witnesses[firm].advance(news["entries"], news["checkpoint"], news["proof"])
        return {"cosignature": line, "mirrored": self.witnesses[firm].size}


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    built = federation(tmp_path / "f", 4)  # four members: three must cosign
    with opened(built) as coordinator:
        yield Ledger(built, coordinator)


def test_each_member_gets_exactly_what_it_lacks(ledger: Ledger) -> None:
    ledger.record.take([("firm-1", ledger.reply("firm-1"))])
    ledger.append()
    news = ledger.record.news_for(["firm-1", "firm-2", "firm-3"])
    assert [len(news[firm]["entries"]) for firm in sorted(news)] == [1, 6, 6]
    assert news["firm-2"] is news["firm-3"]


@pytest.mark.parametrize("said", [-7, 10**9])
def test_a_member_that_says_nonsense_about_its_mirror_harms_only_itself(ledger: Ledger, said: int) -> None:
    ledger.record.has_mirrored("firm-1", said)
    assert not ledger.record.follows("firm-1")
    assert ledger.record.news_for(["firm-1"])["firm-1"]["checkpoint"]


def test_a_member_is_unconfirmed_from_the_news_to_its_cosignature(ledger: Ledger) -> None:
    members = ["firm-1", "firm-2"]
    ledger.record.news_for(members)
    assert ledger.record.unconfirmed(members) == members
    ledger.record.take([("firm-1", ledger.reply("firm-1"))])
    assert ledger.record.unconfirmed(members) == ["firm-2"]
    assert ledger.record.follows("firm-1")
    ledger.record.has_mirrored("firm-2", 5)
    assert ledger.record.unconfirmed(members) == []
    ledger.append()
    assert not ledger.record.follows("firm-1")


def test_a_wrong_cosignature_is_dropped_and_said_and_the_others_count(
    ledger: Ledger, caplog: pytest.LogCaptureFixture
) -> None:
    replies = [(firm, ledger.reply(firm)) for firm in ("firm-1", "firm-2", "firm-3")]
    stolen = {**replies[1][1], "cosignature": replies[1][1]["cosignature"].replace("firm-2", "firm-4")}
    with caplog.at_level(logging.WARNING):
        ledger.record.take([replies[0], ("firm-4", stolen), ("firm-2", {"cosignature": "nothing", "mirrored": 5})])
    assert "cosignature of firm-4 refused" in caplog.text
    assert "cosignature of firm-2 refused" in caplog.text
    assert not ledger.record.follows("firm-4")
    with pytest.raises(NotWitnessed, match="5 of 5 entries are not final"):
        ledger.record.require_final()
    ledger.record.take(replies)
    ledger.record.require_final()


def test_too_few_cosignatures_stop_the_run_before_anybody_trains(tmp_path: Path) -> None:
    def before(kind: str, member: str, message: Any) -> Any:
        if kind == WITNESS and member in ("firm-1", "firm-2"):
            raise Lost
        return None

    meddler = Meddler(before)
    built = federation(tmp_path / "f", 5, training(1))  # five members: four must cosign
    with opened(built) as coordinator, pytest.raises(NotWitnessed, match="too few firms cosigned"):
        train(built, coordinator, app=meddler)
    assert not [kind for kind, _ in meddler.asked if kind.startswith("train")]


def test_a_firm_that_cosigns_wrongly_does_not_stop_the_others(tmp_path: Path) -> None:
    def after(kind: str, member: str, message: Any, reply: Any) -> Any:
        if kind == WITNESS and member == "firm-4":
            wrong = {"cosignature": "\u2014 artesian/test/firm-4 AAAA\n"}
            return with_fields(kind, message, reply, lambda fields: fields.update(wrong))
        return None

    built = federation(tmp_path / "f", 5, training(2))
    with opened(built) as coordinator:
        train(built, coordinator, app=Meddler(after=after))
        assert coordinator.log.final_size == coordinator.log.size


def test_what_was_appended_between_runs_becomes_final_without_training(tmp_path: Path) -> None:
    built = federation(tmp_path / "f", 3)
    with opened(built) as coordinator:
        on_grid(built, lambda grid: witness(grid, coordinator))
        assert coordinator.log.final_size == coordinator.log.size == 4
        Ledger(built, coordinator).append()
        with pytest.raises(NotWitnessed):
            on_grid(built, lambda grid: witness(grid, coordinator), firms=built.firms[:1])
        on_grid(built, lambda grid: witness(grid, coordinator))
        assert coordinator.log.final_size == 5
