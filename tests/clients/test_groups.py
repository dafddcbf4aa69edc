"""How a cohort is divided: every firm once, evenly, alike for everybody, and by nobody's choice alone."""

from __future__ import annotations

import pytest
from consortium_world import a_plan
from hypothesis import given
from hypothesis import strategies as st

from clients.firm_config import SIMULATION
from clients.groups import FEWEST_IN_A_GROUP, GroupsImpossible, Roster, draw_groups, group_sizes, is_next
from clients.masking.session import RosterEntry
from clients.plan import Plan


def roster(firms: int, epoch: int = 1) -> Roster:
    names = sorted(f"firm-{k}" for k in range(firms))
    return tuple(RosterEntry(name, bytes(32), f"key of {name} in epoch {epoch}".encode()) for name in names)


def members(groups: tuple[Roster, ...]) -> list[list[str]]:
    return [[one.member for one in group] for group in groups]


@given(st.integers(1, 8), st.integers(0, 40), st.integers(1, 10**6))
def test_every_firm_is_in_one_group(groups: int, more: int, number: int) -> None:
    firms = groups * FEWEST_IN_A_GROUP + more
    drawn = draw_groups("c", "credit", number, groups, roster(firms))
    assert sorted(name for names in members(drawn) for name in names) == [one.member for one in roster(firms)]
    assert all(names == sorted(names) for names in members(drawn))
    sizes = [len(group) for group in drawn]
    assert (min(sizes), max(sizes)) == group_sizes(firms, groups)
    assert max(sizes) - min(sizes) <= 1


def test_one_group_is_the_cohort_in_its_order() -> None:
    assert draw_groups("c", "credit", 1, 1, roster(3)) == (roster(3),)


def test_a_group_is_never_smaller_than_five() -> None:
    with pytest.raises(GroupsImpossible, match="14 firms in 3 groups leave 4"):
        draw_groups("c", "credit", 1, 3, roster(14))


def test_the_draw_follows_from_what_stood_before_the_round() -> None:
    first = members(draw_groups("c", "credit", 1, 4, roster(40)))
    assert first == members(draw_groups("c", "credit", 1, 4, roster(40)))  # a round that is tried again
    others = [("d", "credit", 1, 1), ("c", "demand", 1, 1), ("c", "credit", 2, 1), ("c", "credit", 1, 2)]
    for cid, task, number, epoch in others:
        assert members(draw_groups(cid, task, number, 4, roster(40, epoch))) != first


def test_in_a_simulation_the_draw_is_the_same_with_other_keys() -> None:
    first, second = (members(draw_groups(SIMULATION, "credit", 1, 4, roster(40, epoch))) for epoch in (1, 2))
    assert first == second
    assert first != members(draw_groups(SIMULATION, "credit", 2, 4, roster(40)))


def test_a_number_follows_from_the_round_before() -> None:
    def plan(number: int, of: int = 9) -> Plan:
        return a_plan(number=number, rounds=of)

    assert is_next(plan(1), None)
    assert is_next(plan(1), plan(7))
    assert is_next(plan(8), plan(7))
    for number, before in ((2, None), (7, plan(7)), (9, plan(7)), (8, plan(7, 8))):
        assert not is_next(plan(number), before)


def test_without_masking_keys_the_names_decide() -> None:
    bare = tuple(RosterEntry(one.member, bytes(32)) for one in roster(20))
    assert members(draw_groups("c", "credit", 1, 4, bare)) == members(draw_groups("c", "credit", 1, 4, bare))


def test_every_two_firms_meet_sooner_or_later() -> None:
    """A fixed pair of groups would leave the others of a poisoned one poisoned for good."""
    together = set()
    for number in range(1, 60):
        for names in members(draw_groups("c", "credit", number, 4, roster(20))):
            together |= {(one, other) for one in names for other in names if one < other}
    assert len(together) == 20 * 19 // 2
