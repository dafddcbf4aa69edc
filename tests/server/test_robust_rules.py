"""The rules about opened groups: what they bound, exactly, and that their bits are the same on every machine."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from consortium_world import a_plan
from hypothesis import given
from hypothesis import strategies as st

from clients.model_files import ModelFileInvalid, write_vector
from clients.plan import MICRO, PlanInvalid
from server.aggregation.evidence import ArtifactMismatch
from server.aggregation.group_sums import Electorate, Evidence, GroupSum, after_round, group_mean
from server.aggregation.robust import GroupMean, capped, combine, cosine, median, norm
from server.descent import Descent

NOBODY = Electorate("test", bytes(16), {})
VECTORS = st.lists(st.floats(-1e6, 1e6, allow_nan=False), min_size=1, max_size=70)


def plan(**changes: Any) -> Any:
    return a_plan(**{"groups": 4, "combine": "mean", **changes})


def means(*rows: list[float], units: float = 10.0) -> list[GroupMean]:
    return [GroupMean(np.array(row, dtype=np.float64), units) for row in rows]


@given(VECTORS)
def test_a_norm_is_one(values: list[float]) -> None:
    vector = np.array(values)
    kept = vector.copy()
    assert norm(vector) == pytest.approx(math.sqrt(math.fsum(v * v for v in values)), rel=1e-12)
    assert (vector == kept).all()


def test_a_norm_is_the_sum_by_halves_on_any_machine() -> None:
    """Ten thousand numbers whose sum depends on the order: the bits stand here for good."""
    vector = np.array([((k * 7919) % 10007) / 10007.0 for k in range(10_000)])
    by_halves = [v * v for v in vector.tolist()]
    while len(by_halves) > 1:
        half = len(by_halves) // 2
        tail = by_halves[len(by_halves) - half :]
        by_halves = [a + b for a, b in zip(by_halves, tail, strict=False)] + by_halves[half : len(by_halves) - half]
    assert norm(vector) == math.sqrt(by_halves[0])


def test_a_long_group_is_shortened_and_keeps_its_direction() -> None:
    groups = means([3, 4], [0, 5], [5, 0], [300, 400])
    gradients, norms = capped(groups, plan(norm_cap_milli=1200))
    assert norms == [5, 5, 5, 500]
    assert [norm(one) for one in gradients] == pytest.approx([5, 5, 5, 6])
    assert cosine(gradients[3], groups[3].gradient) == pytest.approx(1)
    assert (gradients[0] == groups[0].gradient).all()


def test_without_a_cap_nothing_is_shortened() -> None:
    gradients, _ = capped(means([3, 4], [300, 400]), plan(groups=2))
    assert norm(gradients[1]) == 500


@given(st.lists(st.floats(-100, 100), min_size=3, max_size=3), st.floats(1, 1e12))
def test_one_group_of_five_moves_a_capped_mean_no_further_than_its_share(lie: list[float], scale: float) -> None:
    honest = [[1.0, 0, 0], [0, 1.0, 0], [0, 0, 1.0], [1.0, 0, 0]]
    terms = plan(groups=5, norm_cap_milli=1500)
    poisoned = combine(means(*honest, [scale * v for v in lie]), terms).gradient
    clean = combine(means(*honest, [0, 0, 0]), terms).gradient
    assert norm(poisoned - clean) <= 1.5 / 5 * (1 + 1e-9)


def test_a_median_stays_between_honest_groups_whatever_two_of_five_send() -> None:
    honest = means([1, -1], [2, -2], [3, -3])
    for lie in (1e9, -1e9, 0.0):
        found = combine([*honest, *means([lie, lie], [lie, -lie])], plan(groups=5, combine="median")).gradient
        assert 1 <= found[0] <= 3
        assert -3 <= found[1] <= -1


def test_a_median_of_four_is_the_mean_of_the_two_in_the_middle() -> None:
    assert combine(means([1], [2], [4], [100]), plan(combine="median")).gradient.tolist() == [3]
    assert median([1, 2, 4, 100]) == 3


def test_groups_that_point_away_from_the_root_do_not_count() -> None:
    root = np.array([1.0, 0.0])
    found = combine(means([1, 0], [1, 1], [0, 5], [-9, 0]), plan(), root)
    assert found.weights[2:] == (0, 0)
    assert found.weights[1] == pytest.approx(10 / math.sqrt(2))
    assert found.gradient[0] == pytest.approx(1)


def test_a_step_is_nothing_where_no_group_is_left() -> None:
    found = combine(means([-1, 0], [-1, 1]), plan(groups=2), np.array([1.0, 0.0]))
    assert (found.gradient.tolist(), found.weights) == ([0, 0], (0, 0))
    assert combine(means([1.0], [2.0]), plan(groups=2), votes=(0.0, 0.5)).gradient.tolist() == [2]


def test_a_firm_that_declares_a_million_units_does_not_take_the_mean_over() -> None:
    groups = [*means([1], [1], [1]), GroupMean(np.array([-1.0]), 1e6)]
    assert combine(groups, plan()).gradient[0] == pytest.approx((3 * 10 - 20) / 50)


def test_a_nothing_has_no_direction() -> None:
    assert cosine(np.zeros(3), np.ones(3)) == 0
    gradients, norms = capped(means([0.0], [0.0], [1.0]), plan(groups=3, norm_cap_milli=1000))
    assert (norms, gradients[2].tolist()) == ([0, 0, 1], [0])


def test_a_round_in_groups_that_are_summed_steps_as_one_without() -> None:
    before, terms = Descent.start(np.zeros(2)), a_plan(groups=2, units=30)
    sums = [GroupSum(np.array([1.0, 2.0]), 10), GroupSum(np.array([3.0, 4.0]), 20)]
    found = after_round(before, terms, sums, Evidence(), NOBODY)
    assert found.digest == before.step(np.array([4.0, 6.0]), terms).digest


def test_a_mean_of_even_groups_steps_as_their_sum() -> None:
    before = Descent.start(np.zeros(2))
    sums = [GroupSum(np.array([1.0, 2.0]), 15), GroupSum(np.array([3.0, 4.0]), 15)]
    found = after_round(before, a_plan(groups=2, combine="mean", units=30), sums, Evidence(), NOBODY)
    assert found.parameters == pytest.approx(before.step(np.array([4.0, 6.0]), a_plan(units=30)).parameters)


def test_the_root_gradient_is_read_from_what_is_stored() -> None:
    before, terms = Descent.start(np.zeros(2)), a_plan(groups=2, combine="mean", root=bytes(32))
    sums = [GroupSum(np.array([1.0, 0.0]), 1), GroupSum(np.array([-1.0, 0.0]), 1)]
    found = after_round(before, terms, sums, Evidence(write_vector(np.array([2.0, 0.0]))), NOBODY)
    assert found.parameters.tolist() == [-1, 0]


@pytest.mark.parametrize("root", [b"", write_vector(np.ones(3)), write_vector(np.array([np.nan, 1.0]))], ids=len)
def test_a_root_gradient_that_is_none_is_refused(root: bytes) -> None:
    sums = [GroupSum(np.ones(2), 1), GroupSum(np.ones(2), 1)]
    with pytest.raises((ArtifactMismatch, ModelFileInvalid)):
        after_round(Descent.start(np.zeros(2)), plan(groups=2, root=bytes(32)), sums, Evidence(root), NOBODY)


def test_held_out_units_are_not_counted_as_trained_on() -> None:
    terms = plan(groups=2, held_out_micro=MICRO // 4, vote_clip_micro=1, sampling_micro=MICRO // 2)
    assert group_mean(GroupSum(np.array([30.0]), 40), terms).gradient.tolist() == [2]


@pytest.mark.parametrize(
    "changes",
    [
        {"combine": "krum"},
        {"combine": "sum", "norm_cap_milli": 1},
        {"combine": "sum", "root": bytes(32)},
        {"combine": "sum", "held_out_micro": 1, "vote_clip_micro": 1},
        {"combine": "mean", "groups": 1},
        {"combine": "median", "groups": 2},
        {"root": b"short"},
        {"held_out_micro": 1},
        {"vote_clip_micro": 1},
        {"held_out_micro": MICRO // 2 + 1, "vote_clip_micro": 1},
        {"groups": 0},
        {"norm_cap_milli": -1},
    ],
    ids=str,
)
def test_no_plan_with_rules_that_contradict_each_other(changes: dict[str, Any]) -> None:
    with pytest.raises(PlanInvalid):
        plan(**changes)


def test_the_noise_is_that_of_a_group() -> None:
    one, six = a_plan(threshold=4), a_plan(threshold=4, groups=6)
    assert six.noise_std(5) == one.noise_std(5)
    assert six.excess(30) == pytest.approx(one.excess(5) * math.sqrt(6))
    assert six.round_rdp() == one.round_rdp()
