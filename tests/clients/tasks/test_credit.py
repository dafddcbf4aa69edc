"""Scores, points and reasons from a credit model, and how good it is."""

from __future__ import annotations

import math

import numpy as np
import pytest
from sklearn.calibration import calibration_curve
from sklearn.metrics import brier_score_loss, log_loss
from task_world import credit_spec, credit_table

from clients.data import Table
from clients.tasks import metrics
from clients.tasks.credit import CreditTask
from clients.tasks.credit_scorer import CreditScorer, FeaturesInvalid

SPEC = credit_spec()
TASK = CreditTask(SPEC)
PARAMETERS = np.random.default_rng(3).normal(size=TASK.architecture.size)
APPLICANT: dict[str, float | str | None] = {
    "income": 150.0,
    "debt": 100,
    "sector": "farm",
    "owner": "true",
    "since": "2020-01-01",
}


def test_a_model_of_zeros_says_the_base_rate() -> None:
    score = CreditScorer(SPEC, np.zeros(TASK.architecture.size)).score(APPLICANT)
    assert score.pd == pytest.approx(0.2)
    assert score.reasons == ()
    assert score.score == round(600 - 40 / math.log(2) * (math.log(0.25) + math.log(20)))


def test_points_to_double_the_odds() -> None:
    """One bin moved by log 2 doubles the odds: 40 points (Siddiqi 2006)."""
    groups = len(TASK.encoder.groups)
    one = CreditScorer(SPEC, np.zeros(TASK.architecture.size)).score(APPLICANT)
    weights = np.zeros(TASK.architecture.size)
    active = TASK.encoder.groups[0].start + 1  # income 100 to 200
    weights[active] = math.log(2) * math.sqrt(groups)
    other = CreditScorer(SPEC, weights).score(APPLICANT)
    assert one.score - other.score == 40
    assert [(r.code, r.points) for r in other.reasons] == [("income", -40)]
    assert other.reasons[0].text == "Income: 100 to 200 EUR"


def test_scores_agree_with_the_model_on_a_table() -> None:
    table = credit_table(SPEC, 20)
    odds = TASK.log_odds(PARAMETERS, table)
    scorer = CreditScorer(SPEC, PARAMETERS)
    for row in range(table.rows):
        cells = {n: v[row] for n, v in table.columns.items() if n not in ("outcome", "customer", "since")}
        applicant = {n: None if v != v or v == "" else (bool(v) if n == "owner" else v) for n, v in cells.items()}
        score = scorer.score({**applicant, "since": "2020-01-31"})
        assert math.log(score.pd / (1 - score.pd)) == pytest.approx(odds[row])


@pytest.mark.parametrize("spec", [SPEC, credit_spec(model={"kind": "mlp", "hidden": [4]})])
def test_reasons_are_of_groups_that_cost_points_heaviest_first(spec: object) -> None:
    task = CreditTask(credit_spec() if spec is SPEC else credit_spec(model={"kind": "mlp", "hidden": [4]}))
    parameters = np.random.default_rng(1).normal(size=task.architecture.size)
    reasons = CreditScorer(task.spec, parameters).score(APPLICANT).reasons
    assert 1 <= len(reasons) <= 6
    assert [r.points for r in reasons] == sorted(r.points for r in reasons)
    assert all(r.points < 0 for r in reasons)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"colour": "red"}, "'colour' is not a column"),
        ({"outcome": "1"}, "'outcome' is not a column"),
        ({"customer": "c7"}, "'customer' is not a column"),
        ({"debt": None}, "'debt': the value is missing"),
        ({"debt": 1e9}, "'debt': '1000000000.0' is outside 0 to 1000"),
        ({"debt": float("nan")}, "'debt': 'nan' is not a number"),
        ({"debt": float("inf")}, "'debt': 'inf' is not a number"),
        ({"debt": 10**400}, "'debt': "),
        ({"debt": "ten"}, "'debt': 'ten' is not a number"),
        ({"sector": "mining"}, "'sector': unknown category 'mining'"),
        ({"owner": 3.0}, "'owner': '3.0' is not true or false"),
    ],
)
def test_wrong_features_are_one_line(change: dict[str, float | str | None], says: str) -> None:
    with pytest.raises(FeaturesInvalid) as caught:
        CreditScorer(SPEC, PARAMETERS).score({**APPLICANT, **change})
    assert str(caught.value).startswith("features: ")
    assert says in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_feature_left_out_is_named() -> None:
    with pytest.raises(FeaturesInvalid, match="'debt' is missing"):
        CreditScorer(SPEC, PARAMETERS).score({n: v for n, v in APPLICANT.items() if n != "debt"})


def test_numbers_of_numpy_and_whole_numbers_are_the_same() -> None:
    scorer = CreditScorer(SPEC, PARAMETERS)
    one = scorer.score({**APPLICANT, "debt": 100, "sector": "2"})
    assert one == scorer.score({**APPLICANT, "debt": np.float64(100.0), "sector": 2.0})


def test_evaluate_agrees_with_scikit_learn() -> None:
    table = credit_table(SPEC, 200)
    targets, odds = TASK.targets(table), TASK.log_odds(PARAMETERS, table)
    pd = 1 / (1 + np.exp(-odds))
    found = TASK.evaluate(PARAMETERS, table)
    assert found["brier"] == pytest.approx(brier_score_loss(targets, pd))
    assert found["log_loss"] == pytest.approx(log_loss(targets, pd))
    true, predicted = calibration_curve(targets, pd, n_bins=10, strategy="quantile")
    assert found["ece"] == pytest.approx(np.mean(np.abs(true - predicted)), abs=0.02)
    assert metrics.auc(np.zeros(3), np.arange(3.0)) == 0.5


def test_records_are_held_out_by_entity() -> None:
    spec = credit_spec(privacy={"unit": "entity", "entity": "customer", "max_rows": 5})
    task = CreditTask(spec)
    table = credit_table(spec, 60)
    training, held_out = task.set_aside(table, 0.3, 1)
    assert training.rows + held_out.rows == 60
    assert not set(training.columns["customer"]) & set(held_out.columns["customer"])
    assert isinstance(held_out, Table)
