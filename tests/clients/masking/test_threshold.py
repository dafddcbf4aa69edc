"""The threshold keeps every opened group large, whatever a lying coordinator shows to whom."""

from __future__ import annotations

from itertools import combinations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from clients.masking.errors import PlanRefused
from clients.masking.threshold import GroupPolicy, threshold_for


def _opened_groups(size: int, colluders: int, threshold: int, shown: list[frozenset[int]]) -> list[set[int]]:
    """The groups of honest firms whose sum the coordinator can read.

    Args:
        shown: the closed set shown to each honest firm, 0 .. size - colluders - 1; it answers if the set
            holds itself and has at least `threshold` firms.
    """
    honest = range(size - colluders)
    answers = {firm: shown[firm] for firm in honest if firm in shown[firm] and len(shown[firm]) >= threshold}
    own_mask_off = {firm for firm in honest if colluders + sum(firm in seen for seen in answers.values()) >= threshold}
    neighbours: dict[int, set[int]] = {firm: set() for firm in honest}
    for one, other in combinations(honest, 2):
        opened = any(a in answers and b not in answers[a] for a, b in ((one, other), (other, one)))
        if not opened:
            neighbours[one].add(other)
            neighbours[other].add(one)
    groups, seen_firms = [], set[int]()
    for firm in honest:
        group, todo = {firm}, [firm]
        while todo:
            for other in neighbours[todo.pop()] - group:
                group.add(other)
                todo.append(other)
        if firm not in seen_firms and group <= own_mask_off:
            groups.append(group)
        seen_firms |= group
    return groups


@settings(max_examples=400, deadline=None)
@given(st.integers(5, 11), st.integers(0, 3), st.integers(2, 4), st.data())
def test_no_lie_opens_a_group_smaller_than_promised(
    size: int, colluders: int, smallest: int, data: st.DataObject
) -> None:
    if colluders + smallest > size:
        return
    threshold = threshold_for(size, colluders=colluders, smallest_group=smallest)
    if threshold > size:
        return
    firms = list(range(size))
    some_set = st.sets(st.sampled_from(firms), min_size=threshold).map(frozenset)
    shown = [data.draw(some_set) for _ in range(size - colluders)]
    for group in _opened_groups(size, colluders, threshold, shown):
        assert len(group) >= smallest


def test_every_lie_of_two_sets_is_tried_for_seven_firms() -> None:
    size, threshold = 7, threshold_for(7, colluders=1, smallest_group=2)
    sets = [frozenset(chosen) for k in range(threshold, size + 1) for chosen in combinations(range(size), k)]
    for one, other in combinations(sets, 2):
        for split in range(1 << 6):
            shown = [other if split >> firm & 1 else one for firm in range(6)]
            assert all(len(group) >= 2 for group in _opened_groups(size, 1, threshold, shown))


@settings(max_examples=400, deadline=None)
@given(st.integers(5, 11), st.integers(0, 3), st.data())
def test_no_order_of_a_growing_ledger_opens_less_than_its_first_set(
    size: int, colluders: int, data: st.DataObject
) -> None:
    """Every set shown is final: contributions that were held back join one by one, between one answer and the next.

    Whatever opens holds all honest firms of the smallest set, and so the noise that the plan counts on; and never two
    sums, whose difference would be the update of a firm that was held back.
    """
    threshold = threshold_for(size, colluders=colluders, smallest_group=2)
    order = data.draw(st.permutations(range(size)))
    grown = [frozenset(order[:count]) for count in range(threshold, size + 1)]
    shown = [data.draw(st.sampled_from(grown)) for _ in range(size - colluders)]
    honest_first = {firm for firm in order[:threshold] if firm < size - colluders}
    groups = _opened_groups(size, colluders, threshold, shown)
    assert len(groups) <= 1
    assert all(group >= honest_first for group in groups)


def test_a_lower_threshold_opens_a_single_update() -> None:
    """The model of the attack finds it when the rule is broken: 6 firms, t = 3, two sets."""
    left, right = frozenset({0, 1, 2}), frozenset({3, 4, 5})
    shown = [left] * 3 + [right] * 3
    assert [len(group) for group in _opened_groups(6, 0, 3, shown)] == [3, 3]
    victim = frozenset({0, 4, 5})
    shown = [victim, frozenset({1, 2, 3}), frozenset({1, 2, 3}), frozenset({1, 2, 3}), victim, victim]
    assert [len(group) for group in _opened_groups(6, 2, 3, shown[:4])] == [1, 3]


@pytest.mark.parametrize(
    ("size", "colluders", "smallest", "expected"),
    [(3, 0, 2, 3), (4, 1, 2, 4), (5, 1, 2, 4), (5, 1, 3, 5), (8, 1, 3, 6), (10, 3, 5, 9), (100, 33, 5, 69)],
)
def test_thresholds(size: int, colluders: int, smallest: int, expected: int) -> None:
    assert threshold_for(size, colluders=colluders, smallest_group=smallest) == expected


@pytest.mark.parametrize(
    ("size", "colluders", "smallest", "reason"),
    [
        (2, 0, 2, "at least 3"),
        (5, -1, 2, "colluders -1"),
        (5, 0, 1, "smallest_group 1"),
        (5, 3, 3, "cannot hold"),
    ],
)
def test_impossible_plans_are_refused(size: int, colluders: int, smallest: int, reason: str) -> None:
    with pytest.raises(PlanRefused, match=reason):
        threshold_for(size, colluders=colluders, smallest_group=smallest)


def test_a_firm_holds_a_session_to_its_own_policy() -> None:
    policy = GroupPolicy()
    policy.admit(8, 6)
    with pytest.raises(PlanRefused, match="threshold: 5 of 8 firms, this firm's policy asks for 6"):
        policy.admit(8, 5)
    with pytest.raises(PlanRefused, match="cohort: 4 firms, this firm's policy asks for 5"):
        policy.admit(4, 4)
    GroupPolicy(min_cohort=3, colluders=0, smallest_group=2).admit(3, 3)
