"""A firm's own forecasts: on top of the federated model where that validates, without it or left alone where not."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from task_world import demand_spec, demand_table

from clients.data import Table
from clients.personal.ahead import extended, plan_spec
from clients.personal.days import OwnSeries
from clients.personal.demand import CANDIDATES, FEDERATED, LOCAL, MARGIN, PERSONAL, DemandChoice, DemandLayer, choose
from clients.personal.errors import NotPersonalised
from clients.tasks.demand import DemandTask

TASK = DemandTask(demand_spec())
NOTHING = np.zeros(TASK.architecture.size)


def rhythmic(days: int = 120, stores: int = 2) -> Table:
    """Series that sell more on promotions and on every other day."""
    table = demand_table(stores=stores, days=days)
    columns = dict(table.columns)
    number = columns["day"].astype("datetime64[D]").astype(np.int64)
    columns["sales"] = columns["open"] * (100.0 + 60.0 * (columns["promo"] > 0) + 10.0 * (number % 2))
    return Table(columns, table.rows)


def constant(value: float) -> np.ndarray[tuple[int, ...], np.dtype[np.float64]]:
    """A federated model that adds `value` over the root of eight to every ratio: useless, if it is large."""
    out = np.zeros((TASK.architecture.outputs, TASK.width))
    out[:, -1] = value
    return out.ravel()


def test_own_models_are_validated_on_days_that_they_have_not_seen() -> None:
    choice = choose(TASK, constant(0.5), rhythmic())
    assert set(choice.wape) == set(CANDIDATES)
    assert choice.wape[PERSONAL] < choice.wape[FEDERATED]  # it learns how far that is off here
    assert choice.chosen == PERSONAL or choice.wape[choice.chosen] < (1.0 - MARGIN) * choice.wape[PERSONAL]
    assert len(choice.spread) == 3
    assert choice.spread[0] <= 0.0 == choice.spread[1] <= choice.spread[2]


def test_a_useless_federated_model_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    table = rhythmic()
    choice = choose(TASK, constant(30.0), table)
    assert choice.wape[FEDERATED] > 1.0
    assert choice.chosen in (LOCAL, PERSONAL)
    monkeypatch.setattr("clients.personal.demand.MARGIN", -1.0)  # take whatever is best
    assert choose(TASK, constant(30.0), table).chosen == min(CANDIDATES, key=lambda name: choice.wape[name])


def test_a_good_federated_model_is_kept_where_the_firm_has_nothing_to_learn_from(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    class Wild:
        @classmethod
        def fit(cls, *_: object, **__: object) -> Wild:
            return cls()

        def ratios(self, days: object) -> np.ndarray[tuple[int, ...], np.dtype[np.float64]]:
            return np.full(days.count, 9.0)  # type: ignore[attr-defined]

    monkeypatch.setattr("clients.personal.demand.Ensemble", Wild)
    assert choose(TASK, NOTHING, rhythmic()).chosen == FEDERATED


def test_one_seed_gives_one_model() -> None:
    table = rhythmic(days=90)
    assert choose(TASK, NOTHING, table, seed=3) == choose(TASK, NOTHING, table, seed=3)


def test_a_short_history_is_refused_in_one_line() -> None:
    with pytest.raises(NotPersonalised, match="longer history"):
        choose(TASK, NOTHING, rhythmic(days=20))


def test_validated_days_teach_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever the days to validate on hold, the models that forecast them are the same."""
    table = rhythmic()
    last = table.columns["day"].max()
    spoilt = dict(table.columns)
    late = spoilt["day"] > last - np.timedelta64(13, "D")
    spoilt["sales"] = np.where(late, 0.5 * spoilt["sales"], spoilt["sales"])
    seen = []

    def spy(own: OwnSeries, series: object, spans: list[tuple[int, int]], seed: int) -> DemandLayer:
        layer = fit(own, series, spans, seed)  # type: ignore[arg-type]
        seen.append(layer.models[True].ridge.coef_)
        return layer

    fit = DemandLayer.fit_to
    monkeypatch.setattr(DemandLayer, "fit_to", staticmethod(spy))
    choose(TASK, NOTHING, table)
    first, seen = seen, []
    choose(TASK, NOTHING, Table(spoilt, table.rows))
    np.testing.assert_array_equal(first[0], seen[0])  # the newest part
    assert not np.array_equal(first[-1], seen[-1])  # an older one, which learns from the newest


@pytest.mark.parametrize("chosen", CANDIDATES)
def test_days_ahead_are_forecast_in_the_series_own_unit(chosen: str) -> None:
    table = rhythmic()
    choice = DemandChoice(chosen, dict.fromkeys(CANDIDATES, 0.1), (-0.1, 0.0, 0.2), 0, 0)
    layer = DemandLayer.fit(TASK, NOTHING, table, choice)
    series = extended(TASK, TASK.daily(table), None, 7)
    newest = int(series[0].day[-1]) - 7
    days = layer.own.days(series, [(newest + 1, newest + 7)], 7)
    quantiles = layer.quantiles(days, choice)
    assert days.count == 2 * 6  # two stores, Sundays closed
    assert (np.diff(quantiles, axis=1) >= 0.0).all()
    assert 60.0 < quantiles[:, 1].min() < quantiles[:, 1].max() < 260.0


def test_what_is_known_of_coming_days_counts_and_the_rest_is_as_two_weeks_before() -> None:
    table = rhythmic(stores=1)
    (known,) = TASK.daily(table)
    day = np.datetime64(int(known.day[-1]) + 1, "D")
    told = {"store": np.array(["s0"]), "day": np.array([day]), "open": np.ones(1), "promo": np.ones(1)}
    plan = Table({**told, "holiday": np.zeros(1)}, 1)
    (longer,) = extended(TASK, [known], plan, 7)
    assert len(longer.day) == len(known.day) + 7
    assert longer.promotion[-7] == 1.0
    np.testing.assert_array_equal(longer.open[-6:], known.open[-13:-7])
    np.testing.assert_array_equal(longer.promotion[-6:], known.promotion[-13:-7])
    assert "sales" not in [column.name for column in plan_spec(TASK.spec).column]


def test_a_series_that_has_ended_is_not_forecast() -> None:
    series = TASK.daily(rhythmic())
    ended = dataclasses.replace(series[1], day=series[1].day - 30)
    assert [one.name for one in extended(TASK, [series[0], ended], None, 7)] == ["s0"]
