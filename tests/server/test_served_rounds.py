"""Runs on a ledger that another process serves, with live witnesses: what travels, who is asked and waited for."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from federation_world import TASK, Meddler, federation, opened, training
from served_world import served

from clients import catching_up, firm
from clients.messages import HELLO, OPEN, PAIR, RELEASE, TRAIN
from ledger.rules import Phase
from ledger.statement import decode_statement
from server.audit import audit_all
from server.coordinator import Coordinator
from server.coordinator_commands import open_desk
from server.live_record import wait_until_final
from server.pruning import preview, prune
from server.recording import NotWitnessed
from server.releases import Release
from server.retention import DISPUTE_DAYS, RetentionPolicy
from server.scoring.recording import QueryRecord


def train(built: Any, coordinator: Coordinator, meddler: Meddler) -> Release:
    from federation_world import train as train_in_process

    return train_in_process(built, coordinator, app=meddler)


def phases(coordinator: Coordinator) -> list[Phase]:
    rounds = coordinator.ledger.state.rounds.values()
    return [one.phase for one in sorted(rounds, key=lambda one: one.index)]


def test_a_round_needs_no_trips_but_those_that_train_and_open(tmp_path: Path) -> None:
    built, meddler = federation(tmp_path / "f", 3, training(2)), Meddler()
    with served(built), opened(built) as coordinator:
        release = train(built, coordinator, meddler)
        assert phases(coordinator) == [Phase.AGGREGATED, Phase.PUBLISHED]
        assert coordinator.ledger.final_size == coordinator.ledger.size
        assert release.model in coordinator.ledger.state.releases
        assert "log" not in coordinator.__dict__
    once, each_round = dict.fromkeys((HELLO, PAIR, RELEASE), 3), dict.fromkeys((TRAIN, OPEN), 3 * 2)
    assert Counter(kind for kind, _ in meddler.asked) == once | each_round
    assert audit_all(built.coordinator).ok


def test_a_firm_whose_witness_is_away_is_not_asked_and_the_others_go_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(firm, "MIRROR_PATIENCE_S", 0.2)
    built, lines = federation(tmp_path / "f", 6, training(2)), list[str]()
    with served(built, witness_s=0.3) as world, opened(built) as coordinator:

        def before(kind: str, member: str, message: Any) -> None:
            if kind == OPEN and "firm-6" in world.witnessing:  # in the first round
                world.stop("firm-6")
                lines.append(member)

        meddler = Meddler(before)
        train(built, coordinator, meddler)
        asked = Counter(member for kind, member in meddler.asked if kind == TRAIN)
        assert asked == {**dict.fromkeys(built.firms, 2), "firm-6": 1}
        assert phases(coordinator) == [Phase.AGGREGATED, Phase.PUBLISHED]


def test_who_keeps_it_from_becoming_final_is_named(tmp_path: Path) -> None:
    built = federation(tmp_path / "f", 3, training(1))
    says = r"not final after 0 s: .*firm-2 has cosigned 0, firm-3 has cosigned 0; the oldest waits since 20"
    with served(built, ["firm-1"], final_s=0.4), opened(built) as coordinator:
        with pytest.raises(NotWitnessed, match=says) as caught:
            train(built, coordinator, Meddler())
        assert caught.value.exit_code == 3


def test_a_mirror_that_is_behind_is_waited_for_and_then_said(tmp_path: Path) -> None:
    built = federation(tmp_path / "f", 3, training(1))
    with served(built) as world, opened(built) as coordinator:
        assert coordinator.served.wait_final(4, 20.0)
        note = coordinator.ledger.final()
        assert note is not None
        late = firm.Firm(built.member("firm-1"))
        catching_up.catch_up(late, note)  # while the witness runs beside
        world.stop("firm-1")
        waited = list[float]()
        size = str(late.witness.size)
        newer = note.replace(f"\n{size}\n", "\n99\n", 1)
        with pytest.raises(catching_up.Refusal, match=rf"has mirrored {size} of 99 entries") as refusal:
            catching_up.catch_up(late, newer, for_s=1.0, monotonic=lambda: len(waited) / 2, sleep=waited.append)
        assert refusal.value.code == "behind"
        assert len(waited) == 2
        late.close()


def test_the_ledger_is_as_before_when_it_is_opened_again(tmp_path: Path) -> None:
    built = federation(tmp_path / "f", 3, training(1))
    with served(built), opened(built) as coordinator:
        train(built, coordinator, Meddler())
        size, root = coordinator.served.size, coordinator.served.entries(0, coordinator.served.size)
    with opened(built) as coordinator:  # by one process that has it to itself
        assert (coordinator.log.size, coordinator.log.entries(0, size)) == (size, root)
        assert coordinator.log.final_size == size
        assert TASK in coordinator.log.state.tasks


def test_scores_and_pruning_work_beside_a_run_and_become_final_by_themselves(tmp_path: Path) -> None:
    built = federation(tmp_path / "f", 3, training(1), banks=("bank-1",))
    home = built.coordinator
    with served(built) as world, opened(built) as coordinator:
        release = train(built, coordinator, Meddler())
        with open_desk(home, 500.0, 5000) as desk, Coordinator(home) as pruner:
            assert desk.is_enrolled("bank-1", "bank")
            assert desk.scorers[TASK].model_hash == release.model
            asyncio.run(desk.record(QueryRecord("bank-1", "loan", bytes(32), bytes(32), release.model)))
            later = time.time() + 2 * DISPUTE_DAYS * 86_400
            policy = RetentionPolicy(DISPUTE_DAYS)
            assert preview(pruner.read_entries(), pruner.artifacts, policy, later).recorded
            done = prune(pruner, policy, lambda: later, lambda: wait_until_final(pruner))
            assert (len(done.deleted), len(done.waiting)) == (1, 0)
        kinds = [decode_statement(raw).payload["t"] for raw in coordinator.read_entries()]
        assert coordinator.served.wait_final(len(kinds), 20.0)
        assert kinds[-2:] == ["query", "attest"]
        assert world.witnessing == set(built.firms)
        assert sorted(one.name for one in (home / "mirrors").glob("*.db")) == [f"ledger-{n}.db" for n in range(3)]
