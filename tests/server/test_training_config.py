"""From a configuration and a cohort to plans: what they cost, what they need, and what does not fit."""

from __future__ import annotations

from typing import Any

import pytest
from federation_world import spec
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from clients.composition import tightest_epsilon
from clients.groups import GroupsImpossible
from clients.masking.errors import PlanRefused
from clients.plan import MICRO, Plan, PlanInvalid
from clients.privacy import PrivacyError
from clients.tasks.task import task_for
from server.training_config import LEAST_WEIGHT_STDS, MOST_ROUNDING, TrainingConfig, TrainingConfigInvalid

TASK = task_for(spec())
UNITS = {f"firm-{k}": 100 for k in range(8)}


def config(**parts: Any) -> TrainingConfig:
    return TrainingConfig.model_validate(parts)


@settings(max_examples=25, deadline=None)
@given(
    st.floats(0.3, 20),
    st.integers(1, 60),
    st.sampled_from([1.0, 1.0, 1.0, 0.5]),  # sampled noise takes long to find
    st.sampled_from(["local", "distributed"]),
)
def test_a_run_costs_no_more_than_it_says_and_hardly_less(target: float, rounds: int, rate: float, mode: str) -> None:
    chosen = config(
        training={"rounds": rounds, "sampling_rate": rate},
        privacy={"mode": mode, "epsilon": target},
        aggregation={"ring_bits": 32},
    )
    plans = chosen.plans(TASK, UNITS, 1)
    assert [plan.number for plan in plans] == list(range(1, rounds + 1))
    spent = [mechanism for plan in plans if (mechanism := plan.round_mechanism()) is not None]
    assert len(spent) == rounds
    assert 0.998 * target - 1e-3 <= tightest_epsilon(spent, plans[0].delta) <= target


@settings(max_examples=50, deadline=None)
@given(st.integers(3, 40), st.integers(0, 10), st.integers(1, 40))
def test_the_threshold_covers_masking_noise_and_policy(n: int, colluders: int, least: int) -> None:
    units = {f"firm-{k:02}": 10 for k in range(n)}
    parts = config(privacy={"mode": "distributed", "epsilon": 8.0, "colluders": colluders})
    fits = least <= n and colluders < n
    try:
        plan = parts.plans(TASK, units, 1, least)[0]
    except TrainingConfigInvalid:
        fits = not fits
    except PlanInvalid as error:
        fits = "ring bits" in str(error)
    except PlanRefused as error:
        fits = "colluders" in str(error)
    else:
        assert least <= plan.threshold <= n
        assert 2 * plan.threshold >= n + min(colluders, n - 2) + 2 or plan.threshold == n
    assert fits


def test_all_units_of_the_cohort_and_the_largest_firm_are_in_the_plan() -> None:
    plan = config().plans(TASK, {"firm-1": 100, "firm-2": 700, "firm-3": 200}, 1)[0]
    assert plan.units == 1000
    assert plan.box >= 700
    assert plan.spec == TASK.spec.hash


@pytest.mark.parametrize(
    ("rounds", "share", "first"), [(40, 0.5, 20), (10, 0.9, 1), (10, 1.0, 0), (10, 0.0, 10), (3, 0.5, 1)]
)
def test_the_share_of_averaged_rounds(rounds: int, share: float, first: int) -> None:
    plans = config(training={"rounds": rounds, "average_last": share}).plans(TASK, UNITS, 1)
    assert plans[0].average_from == first


@pytest.mark.parametrize(
    ("parts", "least", "problem"),
    [
        ({"privacy": {"mode": "local"}}, 1, "needs epsilon"),
        ({"privacy": {"mode": "distributed", "epsilon": 1.0}, "aggregation": {"kind": "plain"}}, 1, "masked"),
        ({"privacy": {"epsilon": 1.0, "colluders": 8}}, 1, "8 colluders leave no honest firm among 8"),
        ({}, 9, "8 firms, the policy asks for at least 9"),
    ],
)
def test_what_does_not_fit_is_said_in_one_line(parts: dict[str, Any], least: int, problem: str) -> None:
    with pytest.raises(TrainingConfigInvalid, match=problem):
        config(**parts).plans(TASK, UNITS, 1, least)


def test_an_epsilon_that_no_noise_reaches_is_refused() -> None:
    with pytest.raises(PrivacyError):
        config(privacy={"epsilon": 1e-12, "delta": 1e-9}).plans(TASK, UNITS, 1)


def test_unknown_keys_are_refused() -> None:
    with pytest.raises(ValidationError, match="rouds"):
        config(training={"rouds": 3})


def test_without_privacy_there_is_no_noise_and_no_cost() -> None:
    plan = config(privacy={"mode": "none"}).plans(TASK, UNITS, 1)[0]
    assert plan.noise_micro == 0
    assert not any(plan.round_rdp())


@pytest.mark.parametrize("mode", ["none", "local", "distributed"])
def test_weights_that_go_through_the_sum_cost_the_same_and_stand_out_of_their_noise(mode: str) -> None:
    cohort = dict.fromkeys(UNITS, 1000)
    parts: dict[str, Any] = {"privacy": {"mode": mode, "epsilon": 3.0}}
    declared = config(**parts).plans(TASK, cohort, 1)[0]
    plan = config(**parts, training={"weighting": "summed"}).plans(TASK, cohort, 1)[0]
    assert plan.round_rdp() == declared.round_rdp()
    assert (plan.weight, plan.values) == (0.125 * plan.clip, plan.dimension + 1)
    noise = plan.noise_std(len(cohort)) * len(cohort) ** 0.5
    assert plan.least_weight_micro >= MICRO * max(plan.weight, LEAST_WEIGHT_STDS * noise)
    assert plan.least_weight_micro < plan.units * plan.weight_micro
    assert plan.grid_is_fine(len(cohort), MOST_ROUNDING)


def test_too_few_units_to_be_counted_through_the_noise_are_told_to_declare() -> None:
    summed = config(privacy={"epsilon": 0.5}, training={"weighting": "summed"})
    with pytest.raises(TrainingConfigInvalid, match=r"trains on 800 units, too few.*weighting declared"):
        summed.plans(TASK, UNITS, 1)
    sampled = config(privacy={"epsilon": 8.0}, training={"weighting": "summed", "sampling_rate": 0.01})
    with pytest.raises(TrainingConfigInvalid, match="trains on 8 units"):
        sampled.plans(TASK, UNITS, 1)


@pytest.mark.parametrize(("units", "bits"), [(100, 24), (1_000_000, 32)])
def test_the_ring_is_as_wide_as_the_noise_asks(units: int, bits: int) -> None:
    """Rounding to a coarse grid is paid for in noise: a wider ring is cheaper there, and only there."""
    cohort = dict.fromkeys(UNITS, units)
    plan = config(privacy={"epsilon": 3.0}).plans(TASK, cohort, 1)[0]
    assert plan.ring_bits == bits
    assert plan.grid_is_fine(len(cohort), MOST_ROUNDING)
    asked = config(privacy={"epsilon": 3.0}, aggregation={"ring_bits": 32}).plans(TASK, cohort, 1)[0]
    assert asked.ring_bits == 32


def test_groups_have_the_threshold_and_the_noise_of_their_own_size() -> None:
    units = {f"firm-{k:02}": 10 for k in range(16)}
    plan = config(robust={"groups": 3}).plans(TASK, units, 1)[0]
    alone = config(privacy={"epsilon": 3.0, "colluders": 1}).plans(TASK, dict(list(units.items())[:5]), 1)[0]
    assert (plan.groups, plan.combine, plan.norm_cap_milli, plan.threshold) == (3, "mean", 1000, 5)
    assert (plan.colluders, plan.noise_micro, plan.units) == (1, alone.noise_micro, 160)
    assert Plan.from_map(plan.to_map()) == plan


def test_one_group_has_no_rules() -> None:
    plan = config(robust={"norm_cap": 2.0}).plans(TASK, UNITS, 1)[0]
    assert (plan.groups, plan.combine, plan.norm_cap_milli) == (1, "sum", 0)
    assert "groups" not in plan.to_map()


def test_groups_that_do_not_fit() -> None:
    with pytest.raises(GroupsImpossible, match="leave 4 in one"):
        config(robust={"groups": 2}).plans(TASK, UNITS, 1)
    with pytest.raises(TrainingConfigInvalid, match="the policy asks for at least 6"):
        config(robust={"groups": 2}).plans(TASK, {f"firm-{k:02}": 10 for k in range(11)}, 1, least=6)
    with pytest.raises(TrainingConfigInvalid, match=r"robust.groups: a group of 6 firms needs 6"):
        config(robust={"groups": 2}, privacy={"epsilon": 3.0, "colluders": 4}).plans(
            TASK, {f"firm-{k:02}": 10 for k in range(11)}, 1
        )
    for wrong in ({"root": "x"}, {"held_out": 0.2}, {"groups": 3, "combine": "sum", "held_out": 0.2}):
        with pytest.raises(ValidationError):
            config(robust=wrong)


def test_an_encrypted_run_names_its_key_holder_and_no_other_does() -> None:
    for aggregation in ({"kind": "encrypted"}, {"kind": "masked", "key_holder": "auditor"}):
        with pytest.raises(ValidationError, match="kind 'encrypted' names a key_holder"):
            config(aggregation=aggregation)


def test_an_encrypted_sum_opens_for_as_many_as_collude_and_may_be_seen_together() -> None:
    """One sum opens, whoever lies: fewer firms are enough than under masks, and the noise counts on them."""
    held = {"kind": "encrypted", "key_holder": "auditor", "drop_outs": 5, "smallest_group": 2}
    chosen = config(privacy={"mode": "distributed", "epsilon": 4.0, "colluders": 1}, aggregation=held)
    (first, *_) = chosen.plans(TASK, UNITS, 0)
    assert (first.threshold, first.key_holder, first.context) == (3, "auditor", bytes(32))
    alone = config(privacy={"mode": "local", "epsilon": 4.0, "colluders": 1}, aggregation=held).plans(TASK, UNITS, 0)
    assert first.noise_std(8) < alone[0].noise_std(8) * (first.threshold - first.colluders) ** -0.5 * 1.01
    with pytest.raises(TrainingConfigInvalid, match="at most 5 may be missing"):
        config(privacy={"epsilon": 4.0, "colluders": 1}, aggregation={**held, "drop_outs": 6}).plans(TASK, UNITS, 0)


def test_an_encrypted_sum_is_of_one_group() -> None:
    held = {"kind": "encrypted", "key_holder": "auditor"}
    with pytest.raises(TrainingConfigInvalid, match="an encrypted sum is of one group"):
        config(aggregation=held, robust={"groups": 2, "combine": "mean"}).plans(TASK, {**UNITS, "a": 1, "b": 1}, 0)
