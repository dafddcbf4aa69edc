"""A bank may ask at its rate and no faster; others do not feel it."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from server.scoring.quota import OverQuota, Quota


def test_a_burst_then_the_rate() -> None:
    now = 0.0
    quota = Quota(rate_per_s=10, burst=2, clock_s=lambda: now)
    quota.take("a")
    quota.take("a")
    with pytest.raises(OverQuota, match=r"ask again in 0\.10 s"):
        quota.take("a")
    quota.take("b")
    now = 0.1
    quota.take("a")
    with pytest.raises(OverQuota):
        quota.take("a")


@given(
    st.floats(0.1, 1000),
    st.integers(1, 50),
    st.lists(st.floats(0, 1, allow_nan=False), min_size=1, max_size=200),
)
def test_never_more_than_burst_and_rate_allow(rate_per_s: float, burst: int, pauses_s: list[float]) -> None:
    now, passed = 0.0, 0
    quota = Quota(rate_per_s, burst, clock_s=lambda: now)
    for pause_s in pauses_s:
        now += pause_s
        try:
            quota.take("a")
            passed += 1
        except OverQuota:
            pass
    assert passed <= burst + rate_per_s * sum(pauses_s) + 1e-6


@pytest.mark.parametrize(("rate_per_s", "burst"), [(0.0, 1), (1.0, 0), (-1.0, 5)])
def test_a_quota_that_admits_nobody_is_a_mistake(rate_per_s: float, burst: int) -> None:
    with pytest.raises(ValueError, match="admits nobody"):
        Quota(rate_per_s, burst, clock_s=lambda: 0.0)
