"""A firm's own probabilities of default: calibrated to its customers, in the federated model's order."""

from __future__ import annotations

import numpy as np
import pytest
from federation_world import spec, tables
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import expit

from clients.data import Table
from clients.personal.credit import CALIBRATED, CANDIDATES, FEDERATED, LOCAL, CreditLayer, Platt, choose
from clients.personal.errors import NotPersonalised
from clients.tasks import metrics
from clients.tasks.credit import CreditTask

TASK = CreditTask(spec())


def federated() -> np.ndarray[tuple[int, ...], np.dtype[np.float64]]:
    """A model that ranks well and is off by far: every customer looks worse than they are."""
    out = np.full(TASK.architecture.size, 4.0)
    out[:2] += 2.0  # low income
    return out


def test_platt_finds_the_slope_and_the_shift() -> None:
    rng = np.random.default_rng(3)
    odds = rng.normal(0.0, 2.0, 40_000)
    targets = (rng.uniform(size=len(odds)) < expit(0.7 * odds - 1.5)).astype(np.float64)
    platt = Platt.fit(odds, targets)
    assert platt.slope == pytest.approx(0.7, abs=0.03)
    assert platt.intercept == pytest.approx(-1.5, abs=0.05)


def test_platt_takes_few_records_for_no_certainty() -> None:
    """Platt 1999: targets are (n+ + 1) / (n+ + 2) and 1 / (n- + 2), so that separable records end somewhere."""
    platt = Platt.fit(np.array([-1.0, -1.0, 1.0, 1.0]), np.array([0.0, 0.0, 1.0, 1.0]))
    np.testing.assert_allclose(expit(platt.log_odds(np.array([-1.0, 1.0]))), [0.25, 0.75], atol=1e-3)


@settings(max_examples=15)
@given(st.integers(0, 2**32 - 1))
def test_calibration_never_turns_the_order_round(seed: int) -> None:
    rng = np.random.default_rng(seed)
    odds, targets = rng.normal(size=12), rng.permutation([0.0, 1.0] * 6)
    platt = Platt.fit(odds, targets)
    assert platt.slope > 0.0
    np.testing.assert_array_equal(np.argsort(platt.log_odds(odds), kind="stable"), np.argsort(odds, kind="stable"))


def test_a_firm_whose_customers_differ_is_calibrated_and_keeps_its_auc() -> None:
    training, test = tables(2, rows=200)
    choice = choose(TASK, federated(), training)
    layer = CreditLayer.fit(TASK, federated(), training, choice)
    truth = TASK.targets(test)
    before, after = layer.pd(test, FEDERATED), layer.pd(test, CALIBRATED)
    assert metrics.auc(truth, after) == metrics.auc(truth, before)
    assert metrics.brier(truth, after) < 0.6 * metrics.brier(truth, before)
    assert choice.chosen != FEDERATED
    assert choice.log_loss[choice.chosen] == min(choice.log_loss.values())


def test_what_validates_best_is_chosen_and_every_candidate_can_be_asked() -> None:
    (table,) = tables(1, rows=150)
    useless = np.zeros(TASK.architecture.size)
    choice = choose(TASK, useless, table)
    assert choice.chosen not in (FEDERATED, CALIBRATED)  # a model that says nothing is beaten by the firm's own
    for name in CANDIDATES:
        pd = CreditLayer.fit(TASK, useless, table, choice, name).pd(table, name)
        assert pd.shape == (150,)
        assert ((pd > 0.0) & (pd < 1.0)).all()
    assert metrics.auc(TASK.targets(table), CreditLayer.fit(TASK, useless, table, choice, LOCAL).pd(table, LOCAL)) > 0.6


def test_records_of_one_class_are_too_few() -> None:
    (table,) = tables(1)
    good = TASK.targets(table) < 0.5
    good[np.flatnonzero(~good)[:2]] = True
    with pytest.raises(NotPersonalised, match="too few to validate"):
        choose(TASK, federated(), Table({k: v[good] for k, v in table.columns.items()}, int(good.sum())))
