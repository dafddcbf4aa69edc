"""Figures from noisy counts: exact without noise, and with it off by as much as they say."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from task_world import credit_spec, demand_spec

from clients.measuring.statistic import score_centres, statistic_of
from clients.plan import PlanInvalid
from clients.tasks import metrics
from server.figures import Counts, drift, figures

BINS = 21
EVALUATION = statistic_of(credit_spec(), "evaluation", BINS)
COLUMNS = statistic_of(credit_spec(), "columns")


def histogram(seed: int, units: int = 4000) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Counts of scores that lie on centres, with the scores and outcomes themselves."""
    rng = np.random.default_rng(seed)
    place = rng.binomial(BINS - 1, 0.45, units)
    pd = np.array(score_centres(BINS))[place]
    target = (rng.uniform(size=units) < pd).astype(float)
    counts = np.zeros((2, BINS))
    np.add.at(counts, (target.astype(int), place), 1.0)
    return counts.ravel(), pd, target


def test_without_noise_they_are_the_metrics_of_the_records() -> None:
    counts, pd, target = histogram(1)
    said = figures(EVALUATION, False, BINS, Counts(counts, 0.0))
    assert said["auc"] == {"value": pytest.approx(metrics.auc(target, pd), abs=1e-6), "plus_minus": 0.0}
    assert said["default_rate"]["value"] == pytest.approx(target.mean(), abs=1e-6)
    assert said["mean_score"]["value"] == pytest.approx(pd.mean(), abs=1e-6)
    gap = sum(abs((target - pd)[pd == one].sum()) for one in score_centres(BINS)) / len(pd)
    assert said["ece"]["value"] == pytest.approx(gap, abs=1e-6)
    order = np.sort(np.unique(pd))
    ks = max(abs((pd[target == 0] <= one).mean() - (pd[target == 1] <= one).mean()) for one in order)
    assert said["ks"]["value"] == pytest.approx(ks, abs=1e-6)


def test_the_stated_error_covers_the_noise_that_is_there() -> None:
    """Of 150 measurements of the same records at least 90 % lie within their own plus and minus, and not all do."""
    counts, _, _ = histogram(2)
    exact, rng = figures(EVALUATION, False, BINS, Counts(counts, 0.0)), np.random.default_rng(3)
    inside: dict[str, list[bool]] = {"auc": [], "default_rate": [], "mean_score": [], "units": []}
    for _ in range(150):
        said = figures(EVALUATION, False, BINS, Counts(counts + 15.0 * rng.standard_normal(counts.size), 15.0))
        for name, found in inside.items():
            found.append(abs(said[name]["value"] - exact[name]["value"]) <= said[name]["plus_minus"])
    for name, found in inside.items():
        assert 0.9 <= np.mean(found) < 1.0, name


def test_what_noise_drowns_is_not_told() -> None:
    said = figures(EVALUATION, False, BINS, Counts(np.full(2 * BINS, 0.1), 500.0))
    assert said["auc"] == {"value": None, "plus_minus": None}


def test_fairness_tells_the_groups_apart() -> None:
    statistic = statistic_of(credit_spec(), "fairness", BINS, "owner")
    parts = [histogram(seed)[0] for seed in (4, 5, 6)]
    said = figures(statistic, False, BINS, Counts(np.concatenate(parts), 0.0))
    assert list(said["groups"]) == ["no", "yes", "missing"]
    for one, part in zip(said["groups"].values(), parts, strict=True):
        assert one == figures(EVALUATION, False, BINS, Counts(part, 0.0))


def test_demand_is_told_in_units_of_its_own_level() -> None:
    statistic = statistic_of(demand_spec(), "evaluation")
    # 100 units: a mean error of 0.1 of the level, a baseline's of 0.15, a level of 1.25, 80 % inside.
    said = figures(statistic, True, 0, Counts(np.array([20.0, 30.0, 62.5, 80.0, 100.0]), 0.0))
    assert {name: one["value"] for name, one in said.items()} == {
        "units": 100.0,
        "wape": 0.08,
        "wape_baseline": 0.12,
        "coverage": 0.8,
    }


def columns(share: float, units: float) -> np.ndarray:
    """Counts of every feature; of the first one `share` of the units are in its first bin."""
    out = []
    for place, (_, labels) in enumerate(COLUMNS.labels):
        even = np.full(len(labels), units / len(labels))
        if not place:
            even = np.array([share, *[(1 - share) / (len(labels) - 1)] * (len(labels) - 1)]) * units
        out.append(even)
    return np.concatenate(out)


@settings(deadline=None, max_examples=20)
@given(st.integers(0, 2**16))
def test_noise_alone_is_no_drift_and_a_shift_is(seed: int) -> None:
    rng, noise = np.random.default_rng(seed), 20.0
    first = columns(0.2, 5000.0)
    same, other = (one + noise * rng.standard_normal(one.size) for one in (first, columns(0.4, 5000.0)))
    before = Counts(first + noise * rng.standard_normal(first.size), noise)
    code = COLUMNS.labels[0][0]
    still, moved = (drift(Counts(one, noise), before, COLUMNS)[code] for one in (same, other))
    assert still["psi"] < 3 * still["noise_floor"]
    assert moved["psi"] > 10 * moved["noise_floor"]
    assert 0.1 < moved["psi"] < 0.35  # without noise 0.2136


def test_a_measurement_that_the_task_has_not_is_named() -> None:
    for spec, order, says in (
        (demand_spec(), ("columns", 0, ""), "columns is for credit tasks"),
        (credit_spec(), ("evaluation", 1, ""), "at least 2 score bins"),
        (credit_spec(), ("fairness", 5, ""), "names a column"),
        (credit_spec(), ("units", 0, "owner"), "names a column"),
        (credit_spec(), ("fairness", 5, "income"), "no category or flag"),
        (credit_spec(), ("rows", 0, ""), "none of"),
    ):
        with pytest.raises(PlanInvalid, match=says):
            statistic_of(spec, *order)
