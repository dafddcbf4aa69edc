"""Plans say exactly what they cost, and leave enough noise whoever drops out and whoever colludes."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from consortium_world import a_plan, a_summed_plan
from hypothesis import assume, example, given
from hypothesis import strategies as st
from opacus.accountants import RDPAccountant

from clients.calibration import noise_micro_for
from clients.composition import tightest_epsilon
from clients.grid import DISCRETE_STEPS, GRID_STEPS, TAIL_STDS, Grid
from clients.masking.quantiser import Quantiser
from clients.masking.threshold import threshold_for
from clients.plan import MICRO, Plan, PlanInvalid
from clients.privacy import NOTHING, PrivacyError, add, epsilon


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("number", 0),
        ("number", 4),
        ("rounds", 0),
        ("spec", b"short"),
        ("aggregation", "encrypted"),
        ("privacy", "central"),
        ("dimension", 0),
        ("dimension", (1 << 27) + 1),
        ("noise_micro", -1),
        ("noise_micro", 0),
        ("noise_micro", 10**12 + 1),
        ("clip_micro", 0),
        ("box_micro", 0),
        ("sampling_micro", 0),
        ("sampling_micro", MICRO + 1),
        ("delta_nano", 0),
        ("delta_nano", 10**9),
        ("colluders", -1),
        ("epoch", -1),
        ("epoch", 2**31 + 1),
        ("threshold", 0),
        ("ring_bits", 16),
        ("ring_bits", 64),
        ("units", 0),
        ("rate_micro", 0),
        ("momentum_micro", MICRO),
        ("average_from", -1),
        ("deadline_s", 0),
        ("weighting", "median"),
        ("weighting", "summed"),
        ("weight_micro", -1),
        ("weight_micro", 1),
        ("least_weight_micro", 1),
        ("least_weight_micro", 10**18 + 1),
    ],
)
def test_a_field_out_of_range_is_named(name: str, value: object) -> None:
    with pytest.raises(PlanInvalid) as caught:
        a_plan(**{name: value})
    assert str(caught.value).startswith("plan: ")
    assert "\n" not in str(caught.value)


def test_noise_and_privacy_agree() -> None:
    with pytest.raises(PlanInvalid, match="none means no noise"):
        a_plan(privacy="none")
    assert a_plan(privacy="none", noise_micro=0).round_rdp() == NOTHING


@pytest.mark.parametrize(
    "changes",
    [
        {"weight_micro": 0},
        {"least_weight_micro": 0},
        {"weighting": "declared"},
        {"weight_micro": MICRO + 1, "least_weight_micro": 2 * MICRO},  # declared units would not fit into the box
        {"weight_micro": MICRO // 8, "least_weight_micro": MICRO // 8 - 1},  # less than one unit
    ],
)
def test_weights_that_do_not_fit_are_refused(changes: dict[str, Any]) -> None:
    with pytest.raises(PlanInvalid, match=r"plan: .*weight"):
        a_summed_plan(**changes)


ADAM = {"optimiser": "adam", "second_micro": 900_000, "floor_nano": 1000}
LOCAL = {"privacy": "local", "local_steps": 4, "local_rate_micro": MICRO}
GROUPED = {"groups": 2, "combine": "mean", "threshold": 3}


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"optimiser": "sgd"}, "unknown optimiser"),
        ({**ADAM, "second_micro": 0}, "a decay of second moments and a floor"),
        ({**ADAM, "floor_nano": 0}, "a decay of second moments and a floor"),
        ({"second_micro": 5}, "a decay of second moments and a floor"),
        ({"correction_nano": 5}, "only adam"),
        ({**LOCAL, "local_rate_micro": 0}, "go together"),
        ({"local_rate_micro": 1}, "go together"),
        ({**LOCAL, "privacy": "distributed"}, "use local noise"),
        ({**LOCAL, "weighting": "summed", "weight_micro": 1, "least_weight_micro": 1}, "use weighting declared"),
        ({**ADAM, **GROUPED}, "no adam and no local steps"),
        ({**LOCAL, **GROUPED}, "no adam and no local steps"),
    ],
)
def test_algorithms_that_do_not_fit_are_refused(changes: dict[str, Any], says: str) -> None:
    with pytest.raises(PlanInvalid, match=says):
        a_plan(**changes)


def test_local_steps_are_paid_for_one_by_one() -> None:
    one, four = a_plan(privacy="local"), a_plan(**LOCAL)
    assert four.round_rdp() == add([one.round_rdp()] * 4)
    assert four.grid(6).sigma * four.grid(6).step == pytest.approx(one.grid(6).sigma * one.grid(6).step, rel=1e-2)
    assert four.grid(6).bound >= 4 * four.box


def test_a_plan_comes_back_from_its_record() -> None:
    for plan in (a_plan(sampling_micro=123_456, number=2), a_summed_plan(number=3)):
        assert Plan.from_map(plan.to_map()) == plan
        assert {type(value) for value in plan.to_map().values()} == {int, str, bytes}


def test_declared_weights_are_recorded_as_before_there_were_others() -> None:
    later = {"weighting", "weight_micro", "least_weight_micro"}
    assert not later & a_plan().to_map().keys()
    assert later <= a_summed_plan().to_map().keys()


@given(st.data())
def test_every_plan_comes_back_from_its_record(data: st.DataObject) -> None:
    draw = data.draw
    plan = a_plan(
        noise_micro=draw(st.integers(1, 10**12)),
        clip_micro=draw(st.integers(1, 10**12)),
        sampling_micro=draw(st.integers(1, MICRO)),
        colluders=draw(st.integers(0, 100_000)),
        threshold=draw(st.integers(1, 100_000)),
    )
    assert Plan.from_map(plan.to_map()) == plan


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"colour": 1}, "'colour' is missing or unknown"),
        ({"units": None}, "units must be int"),
        ({"units": True}, "units must be int"),
        ({"units": 1.0}, "units must be int"),
        ({"spec": "a" * 32}, "spec must be bytes"),
        ({"privacy": b"local"}, "privacy must be str"),
    ],
)
def test_a_record_that_is_no_plan(change: dict[str, Any], says: str) -> None:
    with pytest.raises(PlanInvalid, match=says):
        Plan.from_map({**a_plan().to_map(), **change})


def test_a_record_that_lacks_a_field() -> None:
    stored = a_plan().to_map()
    del stored["units"]
    with pytest.raises(PlanInvalid, match="'units' is missing or unknown"):
        Plan.from_map(stored)


# Noise.


def moved(plan: Plan, grid: Grid) -> float:
    """Most that one unit moves a firm's rounded sum by, in grid steps: clip and weight, and one a coordinate."""
    weights = int(plan.weighting == "summed")
    norm = math.sqrt(plan.clip**2 + plan.weight**2) if weights else plan.clip
    return norm / grid.step + math.sqrt(plan.dimension + weights)


@given(
    st.integers(5, 500),
    st.data(),
    st.floats(0.1, 50),
    st.floats(0.01, 10),
    st.integers(1, 10**6),
    st.sampled_from([a_plan, a_summed_plan]),
)
def test_noise_is_enough_whoever_drops_out_and_whoever_colludes(
    n: int, data: st.DataObject, multiplier: float, clip: float, dimension: int, make: Callable[..., Plan]
) -> None:
    """Of any set that can be opened, the noise of those who do not collude has the plan's deviation at least."""
    colluders = data.draw(st.integers(0, n // 2))
    least = threshold_for(n, colluders=min(colluders, n - 2), smallest_group=2)
    threshold = data.draw(st.integers(least, n))
    assume(threshold > colluders)
    micro = {"noise_micro": round(multiplier * MICRO), "clip_micro": round(clip * MICRO)}
    plan = make(colluders=colluders, threshold=threshold, ring_bits=32, dimension=dimension, **micro)
    try:
        grid = plan.grid(n)
    except PlanInvalid as error:
        assume("ring bits" not in str(error))
        raise
    promised = plan.noise_multiplier * moved(plan, grid)
    for contributions in range(threshold, n + 1):
        honest = contributions - colluders
        assert grid.sigma * math.sqrt(honest) >= promised
        assert honest * (grid.sigma**2 - DISCRETE_STEPS**2) >= promised**2 * (1 - 1e-12)  # continuous noise in it
    # All without drop-outs and the colluders missing: what the plan must stand at the very least.
    assert grid.sigma * math.sqrt(n - colluders) >= promised


def test_counting_on_all_but_the_colluders_would_fall_short_with_drop_outs() -> None:
    """Attack: of 8 firms 2 are reported missing and 2 collude; shares for 8 - 2 firms leave four of six."""
    plan = a_plan(colluders=2, threshold=6, ring_bits=32)
    promised = plan.noise_multiplier * plan.clip
    assert promised / math.sqrt(8 - 2) * math.sqrt(6 - 2) < 0.82 * promised
    assert plan.noise_std(8) * math.sqrt(6 - 2) == pytest.approx(promised, rel=1e-3)
    assert plan.excess(8) == pytest.approx(math.sqrt(8 / 4))


def test_local_noise_is_whole_and_none_is_none() -> None:
    local = a_plan(privacy="local", noise_micro=3 * MICRO, clip_micro=MICRO // 2, ring_bits=32)
    assert local.noise_std(6) == pytest.approx(1.5, rel=1e-3)
    assert local.noise_std(6) >= 1.5
    silent = a_plan(privacy="none", noise_micro=0)
    assert (silent.noise_std(6), silent.grid(6).sigma, silent.excess(6)) == (0.0, 0, 1.0)


@pytest.mark.parametrize(
    ("colluders", "aggregation", "threshold"), [(5, "masked", 5), (6, "plain", 1), (9, "masked", 6)]
)
def test_colluders_leave_someone_honest(colluders: int, aggregation: str, threshold: int) -> None:
    plan = a_plan(colluders=colluders, aggregation=aggregation, threshold=threshold)
    with pytest.raises(PlanInvalid, match="leave no honest firm"):
        plan.grid(6)


@given(
    st.integers(5, 200),
    st.integers(1, 10**9),
    st.integers(1, 10**8),
    st.integers(1, 10**7),
    st.sampled_from([24, 32]),
    st.sampled_from([a_plan, a_summed_plan]),
)
@example(67, 99_959_834, 169, 1, 32, a_summed_plan)  # a sigma that being discrete and whole raises most
def test_a_grid_holds_the_box_and_the_noise_and_is_fine_enough(
    n: int, box: int, noise: int, dimension: int, bits: int, make: Callable[..., Plan]
) -> None:
    plan = make(box_micro=box, noise_micro=noise, ring_bits=bits, threshold=n, dimension=dimension)
    try:
        grid = plan.grid(n)
    except PlanInvalid:
        return  # too coarse, and refused
    quantiser = Quantiser(grid.bound, n, bits)
    assert quantiser.step == pytest.approx(grid.step, rel=1e-12)
    assert grid.sigma >= GRID_STEPS
    boxed = int(np.abs(quantiser.quantise(np.array([plan.box, -plan.box]))).max())
    above = GRID_STEPS - math.sqrt((GRID_STEPS - 1) ** 2 - DISCRETE_STEPS**2) - 1  # what being discrete adds, less 1
    assert boxed + TAIL_STDS * (grid.sigma - above) <= quantiser.largest + 0.5  # half a step: boxed is whole
    assert TAIL_STDS * above + 0.5 <= TAIL_STDS * 0.35
    assert n * quantiser.largest < 1 << (bits - 1)


def test_a_ring_too_small_for_the_noise_is_refused() -> None:
    with pytest.raises(PlanInvalid, match="use 32 ring bits"):
        a_plan(noise_micro=10, box_micro=10**15).grid(6)
    with pytest.raises(PlanInvalid, match="use 32 ring bits"):
        a_plan(noise_micro=500 * MICRO, dimension=1 << 27).grid(6)


def test_bare_sums_may_have_any_grid() -> None:
    assert a_plan(privacy="none", noise_micro=0, box_micro=10**15).grid(6).bound == 1e9


@given(st.integers(0, 2**32), st.floats(0.01, 3.0))
def test_one_unit_moves_the_rounded_sum_by_no_more_than_the_noise_is_measured_against(seed: int, clip: float) -> None:
    rng = np.random.default_rng(seed)
    plan = a_plan(clip_micro=round(clip * MICRO), dimension=50)
    grid = plan.grid(6)
    quantiser = Quantiser(grid.bound, 6, plan.ring_bits)
    total, unit = rng.uniform(-plan.box / 2, plan.box / 2, 50), rng.normal(size=50)
    unit *= plan.clip / np.linalg.norm(unit)
    difference = quantiser.quantise(total + unit) - quantiser.quantise(total)
    assert np.linalg.norm(difference) <= moved(plan, grid)


@given(st.integers(0, 2**32), st.floats(0.01, 3.0), st.integers(1, 8), st.integers(0, 1000))
def test_one_unit_with_its_weight_moves_the_rounded_vector_by_no_more_either(
    seed: int, clip: float, divisor: int, units: int
) -> None:
    """Also where the box cuts, and on the coarsest grid that is not refused."""
    rng = np.random.default_rng(seed)
    clip_micro = round(clip * MICRO)
    weights = dict.fromkeys(("weight_micro", "least_weight_micro"), clip_micro // divisor)
    plan = a_summed_plan(clip_micro=clip_micro, dimension=50, box_micro=40 * MICRO, **weights)
    grid = plan.grid(6)
    quantiser = Quantiser(grid.bound, 6, plan.ring_bits)
    gradient = rng.normal(size=50)
    unit = np.append(gradient * plan.clip / np.linalg.norm(gradient), plan.weight)
    before = np.append(rng.uniform(-1.2 * plan.box, 1.2 * plan.box, 50), plan.weight * units)
    one, other = (quantiser.quantise(np.clip(total, -plan.box, plan.box)) for total in (before + unit, before))
    assert np.linalg.norm(unit) <= plan.unit_norm * (1 + 1e-12)
    assert np.linalg.norm(one - other) <= moved(plan, grid)


@pytest.mark.parametrize("bits", [24, 32])
def test_gradient_and_weight_are_noised_as_one_vector_of_their_common_norm(bits: int) -> None:
    weights = dict.fromkeys(("weight_micro", "least_weight_micro"), 3 * MICRO)
    summed = a_summed_plan(clip_micro=4 * MICRO, dimension=1, ring_bits=bits, **weights)
    assert summed.grid(6) == a_plan(clip_micro=5 * MICRO, dimension=2, ring_bits=bits).grid(6)
    assert summed.grid(6) != a_plan(clip_micro=5 * MICRO, dimension=1, ring_bits=bits).grid(6)


def test_a_weight_is_a_value_more_and_a_little_noise() -> None:
    declared, summed = a_plan(ring_bits=32), a_summed_plan(ring_bits=32)
    assert (declared.values, summed.values) == (declared.dimension, declared.dimension + 1)
    assert summed.noise_std(6) / declared.noise_std(6) == pytest.approx(math.sqrt(1 + 1 / 64), rel=1e-4)
    assert summed.round_rdp() == declared.round_rdp()
    assert (declared.unit_norm, declared.weight) == (declared.clip, 0.0)


@pytest.mark.parametrize("firms", [1, 2, 4])
def test_shares_on_the_coarsest_grid_cost_no_more_than_the_gaussian(firms: int) -> None:
    """Rényi divergence of the sum of discrete Gaussians, worked out term by term, beside the continuous one's."""
    grid = np.arange(-300, 301)
    share = np.exp(-(grid**2) / (2.0 * GRID_STEPS**2))
    share /= share.sum()
    total = share
    for _ in range(firms - 1):
        total = np.convolve(total, share)
    for shift in (1, 6, 13):
        one, other = total[shift:], total[:-shift]
        keep = (one > 1e-250) & (other > 1e-250)
        for order in (2, 8, 32):
            logs = order * np.log(one[keep]) + (1 - order) * np.log(other[keep])
            divergence = float(np.logaddexp.reduce(logs)) / (order - 1)
            assert divergence <= order * shift**2 / (2 * firms * GRID_STEPS**2) * (1 + 1e-9)


# Cost.


@pytest.mark.parametrize(
    ("rate", "rounds", "target"), [(1.0, 40, 1.0), (1.0, 20, 3.0), (0.1, 200, 2.0), (0.02, 50, 0.5)]
)
def test_the_rounds_of_a_plan_cost_the_epsilon_it_was_made_for(rate: float, rounds: int, target: float) -> None:
    sampling_micro = round(rate * MICRO)
    noise_micro = noise_micro_for(target, 1e-5, sampling_micro, rounds)
    plan = a_plan(noise_micro=noise_micro, sampling_micro=sampling_micro, rounds=rounds)
    mechanism = plan.round_mechanism()
    assert mechanism is not None
    assert target * 0.998 < tightest_epsilon([mechanism] * rounds, plan.delta) <= target


@pytest.mark.parametrize(("sigma", "rate", "rounds"), [(8.0, 1.0, 30), (1.5, 0.05, 400), (2.0, 0.3, 40)])
def test_the_cost_agrees_with_opacus(sigma: float, rate: float, rounds: int) -> None:
    accountant = RDPAccountant()
    accountant.history = [(sigma, rate, rounds)]
    plan = a_plan(noise_micro=round(sigma * MICRO), sampling_micro=round(rate * MICRO))
    ours = epsilon(add([plan.round_rdp()] * rounds), plan.delta)
    theirs = accountant.get_epsilon(plan.delta)
    assert theirs * 0.98 < ours < theirs * 1.05  # the grids of orders differ


def test_noise_that_is_no_noise_has_no_price() -> None:
    with pytest.raises(PrivacyError):
        a_plan(noise_micro=1).round_rdp()


HELD: dict[str, Any] = {"aggregation": "encrypted", "key_holder": "auditor", "context": bytes(32)}


def test_only_an_encrypted_plan_names_a_key_holder_and_it_comes_back() -> None:
    plan = a_plan(**HELD)
    assert Plan.from_map(plan.to_map()) == plan
    assert not {"key_holder", "context"} & a_plan().to_map().keys()
    for wrong in (
        {**HELD, "key_holder": ""},
        {**HELD, "context": b""},
        {"key_holder": "auditor"},
        {"context": bytes(32)},
    ):
        with pytest.raises(PlanInvalid, match="an encrypted sum names its key holder and its context"):
            a_plan(**wrong)
    with pytest.raises(PlanInvalid, match="groups are opened under masks"):
        a_plan(**HELD, groups=2)


def test_an_encrypted_sum_has_the_noise_of_a_masked_one_with_its_threshold() -> None:
    assert a_plan(**HELD).noise_std(6) == a_plan().noise_std(6)
    assert a_plan(**HELD, threshold=3).noise_std(6) > a_plan(**HELD, threshold=5).noise_std(6)
