"""Runs with correlated noise: audited as ever, every row paid for, no gap, and nothing kept when they are over."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from federation_world import Lost, Meddler, federation, opened, phases, rounds, spec, spent, train, training

from clients.composition import tightest_epsilon
from clients.firm import Firm
from clients.held_out import deal
from clients.messages import TRAIN
from clients.plan import Plan
from clients.privacy import add
from clients.tasks.task import task_for
from clients.training import clipped_gradient_sum
from ledger.statement import decode_statement
from server.audit import audit_all
from server.cohort import RunFailed
from server.coming_rounds import ComingRounds
from server.training_config import TrainingConfig, TrainingConfigInvalid

TASK = task_for(spec())


def plans(coordinator: Any) -> list[Plan]:
    entries = (coordinator.log.entries(one.index, one.index + 1)[0] for one in rounds(coordinator))
    return [Plan.from_map(decode_statement(entry).payload["plan"]) for entry in entries]


@pytest.mark.parametrize(("mode", "kind"), [("distributed", "masked"), ("local", "plain")])
def test_a_run_is_audited_paid_for_and_leaves_no_sum_behind(tmp_path: Path, mode: str, kind: str) -> None:
    built = federation(tmp_path / "f", 3, training(3, mode=mode, kind=kind, bands=2))
    with opened(built) as coordinator:
        release = train(built, coordinator)
        made = plans(coordinator)
    assert [plan.row for plan in made] == [0, 1, 2]
    paid = spent(built, "firm-1")
    assert paid == add([plan.round_rdp() for plan in made]) == add([one.rdp() for one in made[0].run_mechanisms()])
    assert 4.0 * 0.999 <= tightest_epsilon(made[0].run_mechanisms(), made[0].delta) <= 4.0
    assert release.descent.memory.size == TASK.architecture.size
    assert not list(built.home.rglob("sums-*"))
    audit = audit_all(built.coordinator)
    assert audit.ok, [one.problem for one in audit.rounds]


def test_the_model_is_that_of_the_parts_sums_when_there_is_hardly_any_noise(tmp_path: Path) -> None:
    """Parts are the same in every row: three rounds on two parts use the first one twice."""
    config = training(3, bands=2, epsilon=2e7, momentum=0.0, average_last=0.0)
    built = federation(tmp_path / "f", 3, config, limits={"epsilon": 1e9})
    with opened(built) as coordinator:
        release = train(built, coordinator)
        (plan, *_) = plans(coordinator)
    assert plan.noise_std(3) < 0.01
    at = np.zeros(TASK.architecture.size)
    held = [Firm(built.member(name)) for name in built.firms]
    dealt = [deal(firm, firm.task("credit"), 2).parts for firm in held]
    assert [sum(one.units for one in parts) for parts in dealt] == [60, 60, 60]
    assert min(one.units for parts in dealt for one in parts) > 15
    for place in (0, 1, 0):
        total = sum(clipped_gradient_sum(TASK.architecture, at, parts[place], 1.0) for parts in dealt)
        at = at - 2.0 * total / (plan.units / 2)
    np.testing.assert_allclose(release.descent.parameters, at, atol=0.02)


def test_a_void_round_begins_a_new_stream_and_is_paid_for_again(tmp_path: Path) -> None:
    lost = []

    def after(kind: str, member: str, message: Any, reply: Any) -> Any:
        if kind == TRAIN and member == "firm-2" and sum(one == (TRAIN, member) for one in app.asked) == 3:
            lost.append(member)
            raise Lost
        return None

    app = Meddler(after=after)
    built = federation(tmp_path / "f", 3, training(3, bands=2))
    with opened(built) as coordinator:
        privacy = train(built, coordinator, app=app).manifest["privacy"]
        made, over = plans(coordinator), phases(coordinator)
    assert lost == ["firm-2"]
    rows = [mechanism for plan in made if (mechanism := plan.round_mechanism()) is not None]
    assert privacy["epsilon"] == tightest_epsilon([rows[0], rows[1], rows[3]], 1e-5)  # the rows that made the model
    assert privacy["epsilon_lifetime"] == tightest_epsilon(rows, 1e-5) > privacy["epsilon"]
    assert [plan.number for plan in made] == [1, 2, 3, 3]
    assert [plan.stream_from for plan in made] == [1, 1, 1, 3]
    assert over.count("aborted") == 1
    assert spent(built, "firm-1") == add([plan.round_rdp() for plan in made])
    assert made[3].round_rdp() == made[0].round_rdp()
    audit = audit_all(built.coordinator)
    assert audit.ok, [one.problem for one in audit.rounds]


def test_a_coordinator_that_skips_a_row_is_refused_and_nothing_is_paid(tmp_path: Path) -> None:
    """It would have a firm send a row without the one before it, whose sums it has not kept."""
    built = federation(tmp_path / "f", 3, training(3, bands=2))
    with opened(built) as coordinator, pytest.MonkeyPatch.context() as patch:
        patch.setattr(ComingRounds, "in_stream", lambda self, plan: replace(plan, number=2))
        with pytest.raises(RunFailed, match="has not kept row 0 of the correlated noise"):
            train(built, coordinator)
    assert not any(spent(built, "firm-1"))


def test_it_needs_every_firm(tmp_path: Path) -> None:
    units = {f"firm-{k}": 60 for k in range(8)}
    assert training(3, bands=2).plans(TASK, units, 1)[0].threshold == 8
    document = training(3, bands=2).model_dump(exclude_none=True)
    document["aggregation"]["drop_outs"] = 1
    with pytest.raises(TrainingConfigInvalid, match="needs all firms"):
        TrainingConfig.model_validate(document).plans(TASK, units, 1)
