"""Forecast features see their own window only; forecasts are judged on the future."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from task_world import DEMAND, demand_spec, demand_table, document

from clients.data import Table
from clients.tasks import metrics
from clients.tasks.calendar_features import FEATURES, MONTHS, Windows, features
from clients.tasks.demand import DemandTask
from clients.tasks.spec import parse_spec

TASK = DemandTask(demand_spec())


def windows(count: int = 6) -> Windows:
    (series,) = TASK.daily(demand_table(stores=1))
    return TASK._windows(series, series.day[14] + np.arange(count))


def test_features_have_public_scales() -> None:
    inputs, base = features(windows())
    assert inputs.shape == (6, 7, FEATURES)
    assert base.shape == (6, 7)
    assert np.isfinite(inputs).all()
    assert np.linalg.norm(inputs, axis=2).max() < 8


def test_inputs_do_not_see_the_future_values_nor_the_scale() -> None:
    one = windows()
    future = one.value.copy()
    future[:, one.lookback :] *= 7.0
    for changed in (future, one.value * 3.0):
        other = features(dataclasses.replace(one, value=changed))
        for ours, theirs in zip(features(one), other, strict=True):
            np.testing.assert_allclose(ours, theirs, rtol=1e-9, atol=1e-12)


def test_the_seasonal_naive_forecast_is_last_weeks_value() -> None:
    one = windows(1)
    naive = one.seasonal_naive()[0]
    for ahead in range(7):
        back = one.lookback - 7 + ahead
        if one.past_open[0, back]:
            assert naive[ahead] == one.value[0, back]


def test_forecasts_of_a_model_of_zeros() -> None:
    table = demand_table(stores=2)
    training, held_out = TASK.set_aside(table, 0.0, 0)
    assert training.columns["day"].max() < table.columns["day"].max() - np.timedelta64(13, "D")
    assert held_out.columns["day"].min() == table.columns["day"].max() - np.timedelta64(13 + 14, "D")
    figures = TASK.evaluate(np.zeros(TASK.architecture.size), held_out)
    assert 0 < figures["wape"] < 1
    assert 0 <= figures["coverage"] <= 1
    actual, _, quantiles = TASK.forecast(np.zeros(TASK.architecture.size), held_out)
    assert (np.diff(quantiles, axis=1) >= 0).all()
    assert figures["wape"] == pytest.approx(metrics.wape(actual, quantiles[:, 1]))


def test_days_without_a_record_are_not_present() -> None:
    table = demand_table(stores=2)
    series = TASK.daily(table)
    assert [s.name for s in series] == ["s0", "s1"]
    assert (~series[1].present).sum() == 1
    assert np.diff(series[1].day).tolist() == [1] * 149
    shuffled = table.take(np.random.default_rng(0).permutation(table.rows))
    for one, other in zip(series, TASK.daily(shuffled), strict=True):
        np.testing.assert_array_equal(one.value, other.value)


def test_examples_do_not_hang_on_the_order_of_records() -> None:
    table = demand_table(stores=2)
    shuffled = table.take(np.random.default_rng(0).permutation(table.rows))
    one, other = TASK.examples(table), TASK.examples(shuffled)
    np.testing.assert_array_equal(one.inputs, other.inputs)
    np.testing.assert_array_equal(one.unit, other.unit)
    assert isinstance(shuffled, Table)


def test_months_are_columns_of_their_own_and_specs_without_them_keep_their_hash() -> None:
    plain = demand_spec()
    parsed = document(DEMAND)
    parsed["series"] = {**parsed["series"], "months": True}
    monthly = parse_spec(parsed, "demand.toml")
    assert monthly.hash != plain.hash
    assert plain.hash.hex() == "54c5acda35f853a9202a14399b80ff3cdb71aa1600cab20db7f6bde5dbf007a1"
    task, one = DemandTask(monthly), windows()
    inputs, base = task.features(one)
    assert inputs.shape == (6, 7, FEATURES + MONTHS) == (6, 7, task.width)
    month = one.day[:, one.lookback :].astype("datetime64[D]").astype("datetime64[M]").astype(np.int64) % 12
    np.testing.assert_array_equal(inputs[:, :, FEATURES:].argmax(axis=2), month)
    for ours, theirs in zip((inputs[:, :, :FEATURES], base), features(one), strict=True):
        np.testing.assert_array_equal(ours, theirs)
