"""Correlated noise: what a row costs covers every part of the units, and decoding takes nothing but noise along."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from consortium_world import a_plan
from hypothesis import given
from hypothesis import strategies as st

from clients.composition import tightest_epsilon
from clients.correlation import MICRO, MOST_BANDS, Correlation
from clients.kept_sums import DealtOtherwise, KeptSums, StreamBroken
from clients.mechanism import Mechanism
from clients.plan import Plan, PlanInvalid
from clients.plan_words import privacy_statement
from server.bands import correlation_for, noise_in_parameters
from server.steps import Steps

COEFFICIENTS = st.lists(st.integers(1, MICRO), min_size=1, max_size=6).map(lambda more: (MICRO, *more))
C = "1000000 600000 200000"


def matrix(own: Correlation, rows: int) -> Any:
    """C, float64[rows, rows]."""
    c = np.array(own.coefficients_micro) / MICRO
    return sum(np.diag(np.full(rows - k, value), -k) for k, value in enumerate(c[:rows]))


@given(COEFFICIENTS, st.integers(1, 20))
def test_no_unit_has_paid_less_than_it_moved_the_rows_by(coefficients: tuple[int, ...], rows: int) -> None:
    """After every row, of every part, and for any vectors within the clip: those of one sign are the worst."""
    own = Correlation(coefficients)
    for part in range(own.bands):
        taking = (np.arange(rows) % own.bands == part).astype(float)
        moved = np.cumsum((matrix(own, rows) @ taking) ** 2)
        paid = np.array([own.squared_sensitivity(row + 1) for row in range(rows)])
        assert np.all(moved <= paid + 1e-9)


@given(COEFFICIENTS, st.integers(1, 15), st.integers(0, 2**32 - 1))
def test_decoding_gives_the_sums_and_the_inverse_of_the_noise(
    coefficients: tuple[int, ...], rows: int, seed: int
) -> None:
    own, rng = Correlation(coefficients), np.random.default_rng(seed)
    sums, noise = rng.normal(size=(2, rows, 4))
    decoded: list[Any] = []
    for row in range(rows):
        sent = own.encode([sums[j] for j in range(row, max(row - own.bands, -1), -1)]) + noise[row]
        decoded.insert(0, own.decode(sent, decoded[: own.bands - 1]))
    wanted = sums + np.linalg.solve(matrix(own, rows), noise)
    np.testing.assert_allclose(decoded[::-1], wanted, rtol=1e-6, atol=1e-6 * (1 + np.abs(wanted).max()))


@pytest.mark.parametrize("text", ["", "1000000", "999999 5", "1000000 0", "1000000 1000001", "1000000  5"])
def test_coefficients_that_are_none_are_refused(text: str) -> None:
    with pytest.raises(ValueError, match="correlation: "):
        Correlation.parse(text)
    with pytest.raises(ValueError, match="correlation: "):
        Correlation((MICRO,) * (MOST_BANDS + 1))
    assert Correlation.parse(C).text == C


CHANGES: list[tuple[dict[str, Any], str]] = [
    ({"correlation": "1000000"}, "2 to 64 coefficients"),
    ({"sampling_micro": 500_000}, "correlated noise goes with"),
    ({"local_steps": 2, "local_rate_micro": 1, "privacy": "local"}, "correlated noise goes with"),
    ({"optimiser": "adam", "second_micro": 1, "floor_nano": 1}, "correlated noise goes with"),
    ({"privacy": "none", "noise_micro": 0}, "needs noise"),
    ({"weighting": "summed", "weight_micro": 1, "least_weight_micro": 1}, "declared weights"),
    ({"groups": 2}, "one group"),
    ({"stream_from": 0}, "begins with this round"),
    ({"stream_from": 2}, "begins with this round"),
    ({"correlation": ""}, "only correlated noise"),
]


@pytest.mark.parametrize(("changes", "says"), CHANGES)
def test_plans_that_do_not_fit_are_refused(changes: dict[str, Any], says: str) -> None:
    assert a_plan(correlation=C, stream_from=1).row == 0
    with pytest.raises(PlanInvalid, match=says):
        a_plan(**{"correlation": C, "stream_from": 1, **changes})


def test_a_plan_comes_back_from_its_record_and_says_nothing_new_without() -> None:
    plan = a_plan(correlation=C, stream_from=1)
    assert Plan.from_map(plan.to_map()) == plan
    assert not {"correlation", "stream_from"} & a_plan().to_map().keys()


@pytest.mark.parametrize("target", [0.3, 1.0, 3.0])
def test_the_rows_of_a_run_cost_the_epsilon_that_it_was_made_for(target: float) -> None:
    steps = Steps(bands=5, rounds=33)
    noise_micro = steps.noise_micro_for(target, 1e-5)
    own = steps.correlation
    assert own is not None
    plan = a_plan(correlation=own.text, stream_from=1, noise_micro=noise_micro, number=1, rounds=33)
    rows = plan.run_mechanisms()
    assert len(rows) == 33
    assert 0.999 * target <= tightest_epsilon(rows, 1e-5) <= target
    assert rows[0].noise_micro == noise_micro  # the unit's clipped gradient itself is in the first row
    assert rows[1].noise_micro == noise_micro * MICRO // own.coefficients_micro[1]


@pytest.mark.parametrize("privacy", ["local", "distributed"])
def test_the_noise_on_the_grid_is_what_every_row_says(privacy: str) -> None:
    """A unit moves a rounded row by its coefficient times the clip, and by what rounding adds to that."""
    for place, coefficient in enumerate((1.0, 0.6, 0.2)):
        plan = a_plan(correlation=C, stream_from=1, number=place + 1, privacy=privacy, ring_bits=32)
        grid, mechanism = plan.grid(6), plan.round_mechanism()
        assert mechanism is not None
        moved = coefficient * plan.unit_norm / grid.step + 1.5 * np.sqrt(plan.values)
        firms = 1 if privacy == "local" else plan.threshold - plan.colluders
        assert grid.sigma * np.sqrt(firms) / moved >= mechanism.noise_multiplier * (1 - 1e-12)
        assert grid.bound >= plan.box * 1.8


def test_the_matrix_that_is_chosen_disturbs_the_model_no_more_than_its_neighbours_and_than_none_would() -> None:
    own = correlation_for(4, 40, 0.8)
    best = noise_in_parameters(own, 40, 0.8)
    for place in (1, 2, 3):
        for step in (-2000, 2000):
            other = list(own.coefficients_micro)
            other[place] = min(other[place] + step, MICRO)
            assert noise_in_parameters(Correlation(tuple(other)), 40, 0.8) >= best * (1 - 1e-4)
    independent = Correlation((MICRO, 1, 1, 1))
    assert best < 0.8 * noise_in_parameters(independent, 40, 0.8)
    assert noise_in_parameters(None, 40, 0.8) < best  # all units in every round, of one cost, is better still


def test_an_opened_row_costs_what_the_firms_share_says_and_nothing_is_taken_off() -> None:
    """A unit of another part than the first may have moved the row by all of its clip, whatever the round has paid."""
    for number in (1, 2, 3):
        plan = a_plan(correlation=C, stream_from=1, number=number)
        share = Mechanism(round(plan.noise_micro / 2))  # of four honest firms in a sum
        assert plan.opening_rdp(6) == share.rdp()
        assert plan.opening_cost(6).mechanisms[0].noise_micro == pytest.approx(share.noise_micro, abs=2)


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"correlation": C, "stream_from": 1}, "keeps its bare sums of up to 3 rounds"),
        ({"privacy": "local", "local_steps": 3, "local_rate_micro": 1}, "3 steps of each firm by itself"),
        ({"sampling_micro": 100_000}, "0.1 of the units, which this firm draws and nobody else knows"),
        ({}, "pool theirs."),
    ],
)
def test_an_operator_reads_what_is_special_about_a_round(changes: dict[str, Any], says: str) -> None:
    assert says in privacy_statement(a_plan(**changes))


def test_kept_sums_go_on_without_a_gap_and_are_destroyed(tmp_path: Any) -> None:
    for path in (None, tmp_path / "sums"):
        kept, sums = KeptSums(path), [np.arange(3.0), np.ones(3)]
        assert kept.before(b"s", 0, b"o", b"d") == []
        kept.keep(b"s", 4, b"o", b"d", sums)
        if path is not None:
            assert path.stat().st_mode & 0o777 == 0o600
            kept = KeptSums(path)
        np.testing.assert_array_equal(kept.before(b"s", 5, b"next", b"d"), sums)
        np.testing.assert_array_equal(kept.before(b"s", 4, b"o", b"d"), sums[1:])  # the same round, once more
        for stream, row, offer in ((b"s", 4, b"next"), (b"s", 6, b"o"), (b"s", 3, b"o"), (b"other", 5, b"o")):
            with pytest.raises(StreamBroken, match="begin a new one"):
                kept.before(stream, row, offer, b"d")
        for row, offer in ((5, b"next"), (4, b"o")):
            with pytest.raises(DealtOtherwise):
                kept.before(b"s", row, offer, b"another")
        kept.destroy()
        with pytest.raises(StreamBroken):
            kept.before(b"s", 5, b"next", b"d")
    assert list(tmp_path.iterdir()) == []
