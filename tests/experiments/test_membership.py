"""The membership attack finds what is there to be found, and is measured rightly."""

from __future__ import annotations

import math
from pathlib import Path

import federation_world
import numpy as np
import pytest
import tomli_w
from sklearn.metrics import roc_auc_score

from clients.firm_config import SIMULATION
from clients.tasks.task import task_for
from experiments.federation import FederatedTask, Terms, build, run, write_table
from experiments.privacy_audit.config import AuditConfigInvalid, Membership
from experiments.privacy_audit.membership import attack, attack_memberships, likelihood_ratios, most_found
from experiments.privacy_audit.shadows import train_shadows
from server.releases import current_release

CONFIGS = Path(__file__).resolve().parents[2] / "experiments/configs"


def test_the_ratio_is_the_best_test_where_scores_are_normal() -> None:
    rng, shift = np.random.default_rng(1), 2.0
    members = rng.random((60, 800)) < 0.5
    scores = rng.normal(size=800) * 5 + rng.normal(size=members.shape) + shift * members
    measured = attack(likelihood_ratios(scores, members), members)
    # Of two unit normals this far apart, each record's level known: AUC Phi(shift / sqrt 2).
    assert measured.auc == pytest.approx(0.9214, abs=0.01)
    assert measured.auc_error < 0.01
    raw = attack(scores, members)
    assert raw.auc < measured.auc - 0.2  # without its shadows a record's own level hides it
    # Phi(Phi^-1(0.01) + 2) = 0.372
    assert measured.tpr[0] == pytest.approx(0.372, abs=0.05)


def test_a_coin_is_a_coin() -> None:
    rng = np.random.default_rng(2)
    members = rng.random((40, 1000)) < 0.5
    measured = attack(likelihood_ratios(rng.normal(size=members.shape), members), members)
    assert abs(measured.auc - 0.5) < 3 * measured.auc_error
    assert abs(measured.tpr[0] - 0.01) < 3 * measured.tpr_error[0] + 0.001


def test_a_models_own_score_does_not_teach_its_attacker() -> None:
    rng = np.random.default_rng(3)
    members, scores = rng.random((20, 5)) < 0.5, rng.normal(size=(20, 5))
    before = likelihood_ratios(scores, members)
    members[7] = ~members[7]  # only what the others say may count, but for the pooled deviation
    after = likelihood_ratios(scores, members)
    np.testing.assert_allclose(after[7], before[7], atol=0.3)


def test_auc_is_what_others_compute() -> None:
    rng = np.random.default_rng(4)
    members = rng.random((3, 200)) < 0.5
    scores = np.round(rng.normal(size=members.shape) + members, 1)  # with ties
    expected = np.mean([roc_auc_score(mine, one) for one, mine in zip(scores, members, strict=True)])
    assert attack(scores, members).auc == pytest.approx(expected, abs=1e-12)


def test_no_attack_may_find_more_than_the_claim_allows() -> None:
    assert most_found(0.0, 0.0, 0.0, 0.01) == pytest.approx(0.01)
    # (1, 1e-5): e x 0.01 by itself; its Gaussian, mu 0.2647, allows less at this rate.
    assert most_found(1.0, math.inf, 1e-5, 0.01) == pytest.approx(0.0271928, abs=1e-6)
    assert most_found(1.0, 0.2647, 1e-5, 0.01) == pytest.approx(0.0196, abs=2e-4)
    assert most_found(50.0, math.inf, 1e-5, 0.01) == pytest.approx(1.0)


def test_shadows_are_trained_as_a_federation_is(tmp_path: Path) -> None:
    config = federation_world.training(4, mode="none", kind="plain")
    task, parts = task_for(federation_world.spec()), federation_world.tables(3, 60)
    limits = {
        "min_cohort": 3,
        "colluders": 0,
        "aggregation": ["plain"],
        "without_privacy": True,
        "without_ledger": True,
    }
    terms = Terms(SIMULATION, 3, 5, ledger=False, in_memory=True, limits=limits)
    built = build(tmp_path / "home", [FederatedTask("credit", task, federation_world.SPEC, parts, config)], terms)
    run(built, "credit", "in-process", lambda _: None)
    release = current_release(built.coordinator, "credit")
    assert release is not None

    whole = {name: np.concatenate([part.columns[name] for part in parts]) for name in parts[0].columns}
    examples = task.examples(type(parts[0])(whole, 180))
    plans = config.plans(task, {f"firm-{k}": 60 for k in range(3)}, 0)
    every = train_shadows(task.architecture, examples, plans, 1, 0, members=np.ones((1, 180), dtype=bool))
    odds = task.architecture.forward(release.descent.average, examples.inputs)[:, 0] + examples.offset[:, 0]
    np.testing.assert_allclose(every.outputs[0], np.where(examples.targets > 0.5, odds, -odds), atol=1e-3)


def test_privacy_lowers_what_an_attack_finds_and_bounds_it(tmp_path: Path) -> None:
    (tmp_path / "spec.toml").write_text(federation_world.SPEC)
    write_table(federation_world.tables(1, 200)[0], tmp_path / "table.csv")
    data = {"spec": "spec.toml", "path": "table.csv"}
    simulation = {"data": data, "partition": {"firms": 4}, "training": {"rounds": 10, "rate": 8.0}}
    (tmp_path / "small.toml").write_text(tomli_w.dumps(simulation))
    asked = Membership(simulation="small.toml", models=100, epsilons=(0.5,))
    found = attack_memberships(asked, 1e-5, tmp_path, 1, lambda _: None)
    named = [(one["view"], one["epsilon"] is None) for one in found]
    assert named == [("black-box", True), ("white-box", True), ("black-box", False), ("white-box", False)]
    for bare, private in zip(found[:2], found[2:], strict=True):
        assert bare["auc"] - 3 * bare["auc_error"] > private["auc"]
        assert private["auc"] - 3 * private["auc_error"] < private["auc_bound"]
        for tpr, error, bound in zip(private["tpr"], private["tpr_error"], private["tpr_bound"], strict=True):
            assert tpr - 3 * error < bound


def test_what_cannot_be_attacked_is_refused() -> None:
    with pytest.raises(AuditConfigInvalid, match="scorecards whose privacy unit is a row"):
        attack_memberships(Membership(simulation="stores.toml"), 1e-5, CONFIGS, 1, print)
