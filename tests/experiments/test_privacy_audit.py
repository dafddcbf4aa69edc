"""A privacy audit stays under what is claimed, and finds each fault by the factor that the fault has."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import federation_world
import numpy as np
import pytest
import task_world

from clients import participation
from clients.tasks.task import task_for
from clients.training import clipped_gradient_sum
from experiments.privacy_audit.audit import Case, ClaimBroken, Prey, audit_case, cases, require_claims
from experiments.privacy_audit.canaries import CanaryTask
from experiments.privacy_audit.canary_models import NotAuditable, make_room
from experiments.privacy_audit.config import PrivacyAuditConfig, Subject
from experiments.privacy_audit.faults import FAULTS, FaultName, Mode
from experiments.privacy_audit.variants import NoCustomers, group, with_model
from experiments.simulation import Prepared
from experiments.simulation_config import SimulationConfig

FIRMS, ROWS = 5, 3
HONEST = 3  # of 5 firms one may drop out, and one of the other four may collude
CANARIES = 2000
STDS = 4.0  # how far a figure may lie from what it should be: one in 30,000 runs is further by chance


def prepared(kind: str) -> Prepared:
    if kind == "credit":
        parts = federation_world.tables(FIRMS, 60)
        whole = Prepared(task_for(federation_world.spec()), federation_world.SPEC, parts[0], parts[0], parts)
        return group(whole, ROWS, 1)
    tables = tuple(task_world.demand_table(2, 120, seed) for seed in range(FIRMS))
    return Prepared(task_for(task_world.demand_spec()), task_world.DEMAND, tables[0], tables[0], tables)


@pytest.fixture(scope="module")
def preys() -> dict[str, Prey]:
    config = SimulationConfig.model_validate({"data": {"spec": "x"}, "training": {"clip": 0.5}})
    made = {kind: prepared(kind) for kind in ("credit", "demand")}
    return {kind: Prey(config, one, ROWS) for kind, one in made.items()}


def audited(
    prey: Prey, mode: Mode, fault: FaultName = "none", epsilon: float = 8.0, canaries: int = CANARIES, **changes: Any
) -> dict[str, Any]:
    confidence, claims = changes.pop("confidence", 0.95), changes.pop("claims", 1)
    document = {"canaries": {"count": canaries}, "confidence": confidence, "subject": [{"simulation": "x"}]}
    config = PrivacyAuditConfig.model_validate({"kind": "privacy-audit", **document})
    subject = Subject.model_validate({"simulation": "x", "rounds": 2, **changes})
    return audit_case(config, subject, prey, Case(mode, epsilon, fault), seed=11, claims=claims)


def error_of(mu: float, canaries: int = CANARIES) -> float:
    return math.sqrt(4 / canaries + mu**2 / (2 * canaries))


@pytest.mark.parametrize(
    ("kind", "mode"), [("credit", "distributed"), ("credit", "local"), ("demand", "distributed"), ("demand", "local")]
)
def test_the_code_as_it_is_gives_away_what_is_claimed_and_no_more(
    preys: dict[str, Prey], kind: str, mode: Mode
) -> None:
    run = audited(preys[kind], mode, claims=4)  # the four of this test: what is claimed has no slack to hide chance in
    assert not run["above"]
    assert run["claimed_epsilon"] <= 8.0
    # Both ways: more would break the claim, and an audit that found much less could not see that either.
    assert abs(run["mu"] - run["claimed_mu"]) < STDS * error_of(run["claimed_mu"])
    assert run["epsilon_steinke"] < run["claimed_epsilon"]


FACTORS: dict[FaultName, float] = {
    "half-noise": 2.0,
    "no-clip": 4.0,
    "wrong-unit": ROWS,
    "linear-shares": math.sqrt(HONEST),
}


@pytest.mark.parametrize(
    ("kind", "mode", "fault"),
    [
        ("credit", "distributed", "half-noise"),
        ("credit", "distributed", "linear-shares"),
        ("credit", "local", "no-clip"),
        ("credit", "distributed", "wrong-unit"),
        ("demand", "local", "half-noise"),
        ("demand", "distributed", "no-clip"),
        ("demand", "local", "wrong-unit"),
        ("demand", "distributed", "linear-shares"),
    ],
)
def test_a_fault_is_found_by_its_factor(preys: dict[str, Prey], kind: str, mode: Mode, fault: FaultName) -> None:
    run = audited(preys[kind], mode, fault, confidence=0.999)
    assert run["above"]
    assert run["epsilon_lower"] > run["claimed_epsilon"]
    expected = FACTORS[fault] * run["claimed_mu"]
    assert abs(run["mu"] - expected) < STDS * error_of(expected)


def test_a_missing_share_takes_ten_thousand_canaries_at_epsilon_eight(preys: dict[str, Prey]) -> None:
    factor = math.sqrt(HONEST / (HONEST - 1))
    run = audited(preys["credit"], "distributed", "missing-share", canaries=10_000, confidence=0.999)
    assert run["above"]
    expected = factor * run["claimed_mu"]
    assert abs(run["mu"] - expected) < STDS * error_of(expected, 10_000)


def test_a_bound_without_assumptions_finds_what_is_far_off(preys: dict[str, Prey]) -> None:
    run = audited(preys["credit"], "distributed", "no-clip", epsilon=0.5)
    assert run["epsilon_steinke"] > run["claimed_epsilon"]


def test_the_clients_functions_are_their_own_again(preys: dict[str, Prey]) -> None:
    before = participation.discrete_gaussian, participation.bounded_gradient_sum
    audited(preys["credit"], "local", "no-clip", canaries=200)
    assert (participation.discrete_gaussian, participation.bounded_gradient_sum) == before


@pytest.mark.parametrize(("kind", "gradients"), [("credit", "auto"), ("demand", "auto"), ("demand", "opacus")])
def test_a_canary_has_its_own_coordinate_and_moves_nothing_else(
    preys: dict[str, Prey], kind: str, gradients: Any
) -> None:
    whole, clip = preys[kind].prepared, 0.5
    bare, task = whole.task.architecture, CanaryTask(whole.task, 50, ROWS, 4 * clip)
    own = whole.task.examples(whole.parts[0])
    chosen = np.array([0, 7, 8, 49])
    rng = np.random.default_rng(3)
    parameters = rng.normal(size=task.architecture.size) * 100
    total = clipped_gradient_sum(task.architecture, parameters, task.among(own, chosen), clip, gradients=gradients)
    expected = np.zeros(50)
    expected[chosen] = clip
    np.testing.assert_allclose(total[task.coordinates], expected, rtol=1e-8)
    np.testing.assert_array_equal(task.found_in(task.among(own, chosen)), chosen)
    alone = task.among(own, np.zeros(0, dtype=np.int64))
    without = clipped_gradient_sum(task.architecture, parameters, alone, clip, gradients=gradients)
    rest = np.setdiff1d(np.arange(len(total)), task.coordinates)
    np.testing.assert_allclose(total[rest], without[rest], atol=1e-9)
    # Neither do the reserved coordinates change what the task's own examples say.
    real = parameters.reshape(bare.outputs, -1)[:, : bare.inputs].ravel()
    said = clipped_gradient_sum(bare, real, own, clip, gradients=gradients)
    np.testing.assert_allclose(without.reshape(bare.outputs, -1)[:, : bare.inputs].ravel(), said, atol=1e-9)


def test_what_a_canary_cannot_be_put_into_is_refused(preys: dict[str, Prey]) -> None:
    task = preys["credit"].prepared.task
    with pytest.raises(NotAuditable, match="not a NoneType"):
        make_room(None, 10)  # type: ignore[arg-type]
    with pytest.raises(NotAuditable, match="closed form"):
        make_room(with_model(preys["credit"].prepared, MODELS["credit"]).task.architecture, 10).architecture.module()
    with pytest.raises(NoCustomers, match="privacy unit is a row"):
        group(preys["credit"].prepared, 3, 1)
    assert task.spec.privacy.words(None) == "one customer (at most 3 rows)"


MODELS: dict[str, dict[str, Any]] = {
    "credit": {"kind": "mlp", "hidden": [6]},
    "demand": {"kind": "gru-quantile", "hidden": [4]},
}


@pytest.mark.parametrize("kind", MODELS)
def test_other_models_have_canaries_beside_their_layers(preys: dict[str, Prey], kind: str) -> None:
    whole, clip = with_model(preys[kind].prepared, MODELS[kind]), 0.5
    bare, task = whole.task.architecture, CanaryTask(whole.task, 50, ROWS, 4 * clip)
    own, chosen = whole.task.examples(whole.parts[0]), np.array([0, 7, 8, 49])
    parameters = np.random.default_rng(3).normal(size=task.architecture.size)
    with_them = task.among(own, chosen)
    np.testing.assert_array_equal(task.found_in(with_them), chosen)
    total = clipped_gradient_sum(task.architecture, parameters, with_them, clip)
    expected = np.zeros(50)
    expected[chosen] = clip
    np.testing.assert_allclose(total[task.coordinates], expected, rtol=1e-8)
    said = clipped_gradient_sum(bare, parameters[: bare.size], own, clip)
    np.testing.assert_allclose(total[: bare.size], said, atol=1e-9)


@pytest.mark.parametrize("kind", MODELS)
def test_other_models_give_away_what_they_claim_and_show_their_faults(preys: dict[str, Prey], kind: str) -> None:
    prey = replace(preys[kind], prepared=with_model(preys[kind].prepared, MODELS[kind]))
    bare = audited(prey, "distributed", claims=2, canaries=1000)
    assert not bare["above"]
    assert abs(bare["mu"] - bare["claimed_mu"]) < STDS * error_of(bare["claimed_mu"], 1000)
    wrong = audited(prey, "distributed", "wrong-unit", confidence=0.999, canaries=1000)
    assert wrong["above"]
    assert abs(wrong["mu"] - ROWS * wrong["claimed_mu"]) < STDS * error_of(ROWS * wrong["claimed_mu"], 1000)


ALGORITHMS: dict[str, tuple[Mode, dict[str, int]]] = {
    "local steps": ("local", {"rounds": 2, "local_steps": 3}),
    "correlated noise": ("distributed", {"rounds": 4, "bands": 2}),
}


@pytest.mark.parametrize("name", ALGORITHMS)
def test_other_algorithms_give_away_what_they_claim_and_show_their_faults(preys: dict[str, Prey], name: str) -> None:
    mode, options = ALGORITHMS[name]
    bare = audited(preys["demand"], mode, **options)
    canaries = CANARIES / options.get("bands", 1)  # of the first part
    assert not bare["above"]
    assert abs(bare["mu"] - bare["claimed_mu"]) < STDS * error_of(bare["claimed_mu"], int(canaries))
    wrong = audited(preys["demand"], mode, "half-noise", confidence=0.999, **options)
    assert wrong["above"]
    assert abs(wrong["mu"] - 2 * wrong["claimed_mu"]) < STDS * error_of(2 * wrong["claimed_mu"], int(canaries))


def test_sampled_rounds_give_away_what_they_claim_and_show_their_faults(preys: dict[str, Prey]) -> None:
    options = {"rounds": 8, "sampling_rate": 0.25}
    bare = audited(preys["credit"], "distributed", **options)
    assert not bare["above"]
    assert bare["mu"] == pytest.approx(bare["claimed_mu"], rel=0.15)
    wrong = audited(preys["credit"], "distributed", "half-noise", confidence=0.999, **options)
    assert wrong["above"]
    assert wrong["mu"] == pytest.approx(2 * wrong["claimed_mu"], rel=0.15)


def test_cases_are_those_that_can_be_told() -> None:
    single = {(case.mode, case.fault) for case in cases(Subject(simulation="x"), 1)}
    several = {(case.mode, case.fault) for case in cases(Subject(simulation="x"), 3)}
    assert several - single == {("local", "wrong-unit"), ("distributed", "wrong-unit")}
    assert {fault for mode, fault in several if mode == "local"} == {"none", "half-noise", "no-clip", "wrong-unit"}
    assert {fault for mode, fault in several if mode == "distributed"} == set(FAULTS)


def test_a_broken_claim_is_the_answer_no() -> None:
    run = {"task": "credit", "mode": "local", "fault": "none", "above": True}
    run |= {"claimed_epsilon": 1.0, "epsilon_lower_together": 2.0}
    words = "credit, local: epsilon 1 is claimed, and the audit's lower bound is 2"
    with pytest.raises(ClaimBroken, match=words) as error:
        require_claims({"privacy_audit": {"runs": [run]}})
    assert error.value.exit_code == 1
    require_claims({"privacy_audit": {"runs": [run | {"fault": "no-clip"}, run | {"above": False}]}})
