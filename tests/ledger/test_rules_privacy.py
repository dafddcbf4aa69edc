"""Declared privacy spend: caps that only fall, and that no order of spends goes over."""

import pytest
from consortium_simulator import Consortium
from hypothesis import given, settings
from hypothesis import strategies as st
from refusals import refused


@pytest.fixture
def consortium() -> Consortium:
    made = Consortium()
    made.task()
    return made


def cap(
    consortium: Consortium, rdp: list[int], *, org: str = "firm-0", issuer: str = "firm-0", delta: int = 10
) -> bytes:
    return consortium.statement("cap", issuer, org=org, task="credit", rdp_cap=rdp, delta=delta)


def test_a_cap_may_only_fall(consortium: Consortium) -> None:
    consortium.log.append([cap(consortium, [10, 20])])
    assert refused(consortium, cap(consortium, [10, 21])).rule == "cap"
    assert refused(consortium, cap(consortium, [10, 20], delta=11)).rule == "cap"
    assert refused(consortium, cap(consortium, [10])).rule == "grid"
    assert refused(consortium, cap(consortium, [])).rule == "cap"
    assert refused(consortium, cap(consortium, [5, 5], org="firm-1")).rule == "issuer"
    consortium.log.append([cap(consortium, [9, 20])])
    assert refused(consortium, cap(consortium, [10, 20])).rule == "cap"


@settings(max_examples=25, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 6), st.integers(0, 6)), min_size=1, max_size=6))
def test_spend_never_goes_over_the_cap(spends: list[tuple[int, int]]) -> None:
    made = Consortium(firms=2, min_cohort=1)
    made.task()
    made.log.append([cap(made, [8, 12])])
    total = [0, 0]
    for spend in spends:
        round_id = made.round(cohort=["firm-0"])
        fits = total[0] + spend[0] <= 8 and total[1] + spend[1] <= 12
        if fits:
            made.contribute(round_id, "firm-0", rdp=spend)
            total = [total[0] + spend[0], total[1] + spend[1]]
        else:
            assert refused(made, made.contribution(round_id, "firm-0", rdp=spend)).rule == "cap"
        assert list(made.log.state.spent.get(("firm-0", "credit"), (0, 0))) == total
        made.append("abort", round=round_id, reason="next")


def test_the_grid_of_orders_is_fixed(consortium: Consortium) -> None:
    first = consortium.round()
    consortium.contribute(first, "firm-0", rdp=(1, 2, 3))
    consortium.append("abort", round=first, reason="test")
    second = consortium.round()
    assert refused(consortium, consortium.contribution(second, "firm-0", rdp=(1, 2))).rule == "grid"
