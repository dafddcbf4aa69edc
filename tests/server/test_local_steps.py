"""Local steps: each has all of its noise and is paid for, their sum is what leaves, and rounds are audited as ever."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from federation_world import federation, opened, rounds, spec, spent, tables, train, training

from clients import participation
from clients.composition import tightest_epsilon
from clients.plan import Plan, PlanInvalid
from clients.privacy import add
from clients.tasks.task import task_for
from clients.training import clipped_gradient_sum
from ledger.statement import decode_statement
from server.audit import audit_all
from server.model_store import load_model

TASK = task_for(spec())
K = 3


def test_without_noise_a_round_is_federated_averaging(tmp_path: Path) -> None:
    """One round is the mean of the firms' models after K steps of their own, weighted by their units."""
    built = federation(tmp_path / "f", 3, training(1, mode="none", local_steps=K, momentum=0.0))
    with opened(built) as coordinator:
        release = train(built, coordinator)
    models = []
    for table in tables(3):
        at, examples = np.zeros(TASK.architecture.size), TASK.examples(table)
        for _ in range(K):
            at = at - 2.0 * clipped_gradient_sum(TASK.architecture, at, examples, 1.0) / examples.units
        models.append(at)
    np.testing.assert_allclose(release.descent.parameters, np.mean(models, axis=0), atol=1e-4)
    assert audit_all(built.coordinator).ok


def test_every_step_has_its_own_noise_and_its_own_price(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    drawn: list[Any] = []
    real = participation.discrete_gaussian

    def watched(source: Any, sigma: int, count: int) -> Any:
        drawn.append((sigma, real(source, sigma, count)))
        return drawn[-1][1].copy()

    monkeypatch.setattr(participation, "discrete_gaussian", watched)
    config = training(2, mode="local", local_steps=K, local_rate=0.5, epsilon=8.0)
    built = federation(tmp_path / "f", 3, config)
    with opened(built) as coordinator:
        train(built, coordinator)
        first = rounds(coordinator)[0]
        entry = coordinator.log.entries(first.index, first.index + 1)[0]
        plan = Plan.from_map(decode_statement(entry).payload["plan"])
        parents = [load_model(coordinator.artifacts, one.model) for one in rounds(coordinator) if one.model]
    assert (plan.local_steps, plan.local_rate_micro) == (K, 500_000)
    assert len(drawn) == 2 * 3 * K
    assert {sigma for sigma, _ in drawn} == {plan.grid(3).sigma}
    assert len({noise.tobytes() for _, noise in drawn}) == len(drawn)
    assert plan.noise_std(3) == pytest.approx(plan.noise_multiplier, rel=1e-2)
    paid = spent(built, "firm-1")
    assert paid == add([plan.round_rdp()] * 2)
    assert 8.0 * 0.999 <= tightest_epsilon(plan.run_mechanisms(), plan.delta) <= 8.0
    assert len(parents) == 2
    assert audit_all(built.coordinator).ok


def test_distributed_noise_allows_none(tmp_path: Path) -> None:
    with pytest.raises(PlanInvalid, match="distributed noise is a share"):
        training(1, local_steps=2).plans(TASK, {f"firm-{k}": 60 for k in range(3)}, 1)


def test_a_run_of_adam_is_recomputed_bit_for_bit(tmp_path: Path) -> None:
    built = federation(tmp_path / "f", 3, training(3, optimiser="adam", momentum=0.9))
    with opened(built) as coordinator:
        release = train(built, coordinator)
        plans = [
            Plan.from_map(decode_statement(coordinator.log.entries(one.index, one.index + 1)[0]).payload["plan"])
            for one in rounds(coordinator)
        ]
    noise = plans[0].noise_std(3) * 3**0.5 / plans[0].units
    assert plans[0].correction_nano / 1e9 == pytest.approx(noise, rel=1e-6)
    assert release.descent.memory.size == TASK.architecture.size
    audit = audit_all(built.coordinator)
    assert audit.ok, [one.problem for one in audit.rounds]
