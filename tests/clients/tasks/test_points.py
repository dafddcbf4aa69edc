"""Points of a scorecard with trees: they add up, they count for what was asked, and they are the Shapley value."""

from __future__ import annotations

from itertools import pairwise, permutations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from task_world import CREDIT, credit_spec, credit_table, document, with_column

from clients.tasks.credit import CreditTask
from clients.tasks.credit_scorer import CreditScorer
from clients.tasks.encoding import Encoder
from clients.tasks.points import ScorecardPoints
from clients.tasks.spec import parse_spec

TREES = {"count": 12, "depth": 4, "seed": "points"}
SPEC = credit_spec(trees=TREES)
ENCODER = Encoder(SPEC)
PLAIN = Encoder(credit_spec())
CODES = ENCODER.encode(credit_table(SPEC, 40))
GROUPS = len(ENCODER.groups)
STARTS = np.array([group.start for group in ENCODER.groups])


def weights(seed: int) -> NDArray[np.float64]:
    return np.random.default_rng(seed).normal(size=ENCODER.width)


def codes_of(bins: NDArray[np.int64]) -> NDArray[np.int32]:
    assert ENCODER.trees is not None
    return np.concatenate([bins + STARTS, ENCODER.trees.encode(bins[None, :])[0]]).astype(np.int32)


@given(st.integers(0, 2**32 - 1), st.integers(0, 39))
def test_costs_add_up_to_the_distance_from_the_profile(seed: int, row: int) -> None:
    values = weights(seed)
    points = ScorecardPoints(ENCODER, values)
    profile = codes_of(points.profile)
    assert points.costs(CODES[row]).sum() == pytest.approx(values[CODES[row]].sum() - values[profile].sum())
    np.testing.assert_allclose(points.costs(profile), 0.0, atol=1e-12)


def test_a_trees_points_are_the_shapley_value_over_all_orders() -> None:
    """One tree alone, against turning the answers one by one in every order."""
    encoder = Encoder(credit_spec(trees={**TREES, "count": 1}))
    assert encoder.trees is not None
    values = np.zeros(encoder.width)
    leaves = np.random.default_rng(5).normal(size=16)
    values[encoder.trees.start :] = leaves
    points = ScorecardPoints(encoder, values)
    best = int(encoder.trees.encode(points.profile[None, :])[0, 0] - encoder.trees.start)
    for row in encoder.encode(credit_table(SPEC, 40)):
        own = int(row[-1] - encoder.trees.start)
        expected = np.zeros(GROUPS)
        for order in permutations(range(4)):
            steps = [own]
            for level in order:
                bit = 1 << (3 - level)
                steps.append(steps[-1] & ~bit | best & bit)
            for level, (before, after) in zip(order, pairwise(steps), strict=True):
                expected[encoder.trees.features[0, level]] += (leaves[before] - leaves[after]) / 24
        np.testing.assert_allclose(points.costs(row), expected, atol=1e-12)


def test_the_profile_is_of_the_bins_that_are_best_on_average() -> None:
    values = weights(3)
    points = ScorecardPoints(ENCODER, values)
    assert ENCODER.trees is not None
    for position, group in enumerate(ENCODER.groups):
        means = values[group.start : group.start + group.width].copy()
        for tree, questions in enumerate(ENCODER.trees.questions):
            leaves = values[ENCODER.trees.starts[tree] :][:16]
            for level, question in enumerate(questions):
                if question.code == group.code:
                    for place, yes in enumerate(question.yes):
                        means[place] += np.mean([leaves[leaf] for leaf in range(16) if leaf >> (3 - level) & 1 == yes])
        assert points.profile[position] == np.argmin(np.where(group.possible, means, np.inf))


@given(st.integers(0, 2**32 - 1))
def test_a_feature_of_no_weight_costs_nothing(seed: int) -> None:
    """A feature whose bins weigh nothing, and whose answer changes no leaf, is never a reason."""
    values = weights(seed)
    assert ENCODER.trees is not None
    silent = ENCODER.groups[4]
    values[silent.start : silent.start + silent.width] = 0.0
    for tree, questions in enumerate(ENCODER.trees.questions):
        leaves = values[ENCODER.trees.starts[tree] :][:16]
        for level, question in enumerate(questions):
            if question.code == silent.code:
                cube = np.moveaxis(leaves.reshape(2, 2, 2, 2), level, 0)
                cube[1] = cube[0]
    points = ScorecardPoints(ENCODER, values)
    for row in CODES:
        assert points.costs(row)[4] == pytest.approx(0.0, abs=1e-12)


def test_without_trees_a_group_is_held_against_its_best_bin() -> None:
    values = np.random.default_rng(1).normal(size=PLAIN.width)
    costs = ScorecardPoints(PLAIN, values).costs(CODES[0, :GROUPS])
    for position, group in enumerate(PLAIN.groups):
        own = values[group.start : group.start + group.width]
        assert costs[position] == pytest.approx(values[CODES[0, position]] - own[np.array(group.possible)].min())


@pytest.mark.parametrize("model", [{"kind": "scorecard"}, {"kind": "mlp", "hidden": [3]}])
def test_nobody_loses_points_against_a_bin_that_nobody_can_be_in(model: dict[str, object]) -> None:
    spec = credit_spec(model=model)
    task = CreditTask(spec)
    groups = {group.code: group for group in task.encoder.groups}
    assert groups["spare"].possible == (True, True, True)  # an income may be missing, and with it what is left of it
    parsed = with_column(document(CREDIT, model=model), "income", missing="refused")
    task = CreditTask(parse_spec(parsed, "x"))
    groups = {group.code: group for group in task.encoder.groups}
    assert groups["spare"].possible == (True, True, False)
    assert groups["burden"].possible == (True, True, True, True)  # an income of 0 has no ratio
    assert groups["income-owner"].possible == (True,) * 12 + (False,) * 3
    parameters = np.zeros(task.architecture.size)
    first = parameters[: 3 * task.encoder.width].reshape(3, -1) if model["kind"] == "mlp" else parameters[None, :]
    first[:] = 1.0
    first[:, groups["spare"].start + 2] = -9.0  # the bin of a missing amount: nobody's
    if model["kind"] == "mlp":
        parameters[-4:-1] = 1.0
    score = CreditScorer(task.spec, parameters).score(
        {"income": 150.0, "debt": 100, "sector": "farm", "owner": "true", "since": "2020-01-01"}
    )
    assert score.reasons == ()


def test_reasons_are_of_features_and_their_codes_do_not_change_with_trees() -> None:
    applicant: dict[str, float | str | None] = {"income": 150.0, "debt": 100, "sector": "farm", "owner": "true"}
    codes = {feature.code for feature in SPEC.feature}
    labels = {f"{group.text}: {label}" for group in PLAIN.groups for label in group.labels}
    for seed in range(20):
        score = CreditScorer(SPEC, weights(seed)).score({**applicant, "since": "2020-01-01"})
        assert score.reasons
        assert {reason.code for reason in score.reasons} <= codes
        assert {reason.text for reason in score.reasons} <= labels
        assert all(reason.points < 0 for reason in score.reasons)


def test_points_of_an_answer_are_these_costs() -> None:
    values = weights(8)
    points, scorer = ScorecardPoints(ENCODER, values / np.sqrt(ENCODER.active)), CreditScorer(SPEC, values)
    factor = SPEC.score.points_to_double / np.log(2)
    codes = [feature.code for feature in SPEC.feature]
    table = credit_table(SPEC, 40)
    for row, costs in enumerate(factor * np.stack([points.costs(one) for one in CODES])):
        cells = {n: v[row] for n, v in table.columns.items() if n not in ("outcome", "customer", "since")}
        applicant = {n: None if v != v or v == "" else (bool(v) if n == "owner" else v) for n, v in cells.items()}
        reasons = scorer.score({**applicant, "since": "2020-01-31"}).reasons
        assert [reason.points for reason in reasons] == [-round(costs[codes.index(r.code)]) for r in reasons]
        assert max(0, round(max(costs))) == (-reasons[0].points if reasons else 0)
