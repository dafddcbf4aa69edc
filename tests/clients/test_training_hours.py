"""Training hours: by the clock on the firm's wall, over midnight too; outside them it takes no part and says when."""

from __future__ import annotations

import datetime as dt
from types import SimpleNamespace
from typing import Any, cast
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clients.disclosure import told
from clients.firm import Firm
from clients.firm_config import Limits
from clients.training_hours import DAYS, OutOfHours, TrainingHours, require_hours

ZONE = "Asia/Shanghai"
WEEKDAYS = ("mon", "tue", "wed", "thu", "fri")


def at(text: str) -> float:
    """Seconds since 1970 of a moment in Shanghai; 2026-11-20 is a Friday."""
    return dt.datetime.fromisoformat(text).replace(tzinfo=ZoneInfo(ZONE)).timestamp()


@pytest.mark.parametrize(
    ("hours", "days", "moment", "trains"),
    [
        ("20:00-06:00", DAYS, "2026-11-20 19:59", False),
        ("20:00-06:00", DAYS, "2026-11-20 20:00", True),
        ("20:00-06:00", DAYS, "2026-11-21 05:59", True),
        ("20:00-06:00", DAYS, "2026-11-21 06:00", False),
        ("20:00-06:00", WEEKDAYS, "2026-11-21 05:00", True),  # the night that Friday began
        ("20:00-06:00", WEEKDAYS, "2026-11-21 21:00", False),  # Saturday evening
        ("20:00-06:00", WEEKDAYS, "2026-11-23 05:00", False),  # the night that Sunday began
        ("09:00-17:00", WEEKDAYS, "2026-11-20 12:00", True),
        ("09:00-17:00", WEEKDAYS, "2026-11-22 12:00", False),
        ("00:00-00:00", ("sun",), "2026-11-22 23:59", True),
        ("00:00-00:00", ("sun",), "2026-11-23 00:00", False),
    ],
)
def test_a_firm_trains_in_its_hours(hours: str, days: tuple[str, ...], moment: str, trains: bool) -> None:
    assert TrainingHours.read(hours, days, ZONE).contain(at(moment)) == trains


@given(
    begin=st.integers(0, 1439),
    end=st.integers(0, 1439),
    days=st.sets(st.sampled_from(DAYS), min_size=1),
    at_s=st.integers(1_700_000_000, 1_900_000_000),
)
def test_outside_its_hours_it_says_when_they_begin(begin: int, end: int, days: set[str], at_s: int) -> None:
    span = "-".join(f"{one // 60:02d}:{one % 60:02d}" for one in (begin, end))
    hours = TrainingHours.read(span, sorted(days), ZONE)
    if hours.contain(at_s):
        return
    begins_s = hours.next_begin(at_s).timestamp()
    assert at_s < begins_s <= at_s + 7 * 86400
    assert hours.contain(begins_s)
    assert not hours.contain(begins_s - 1) or begin == end or (begins_s - at_s) <= 1


def firm(at_s: float, **limits: Any) -> Firm:
    config = SimpleNamespace(limits=Limits(**limits))
    return cast(Firm, SimpleNamespace(config=config, member="firm-1", now=lambda: at_s))


def test_the_coordinator_is_told_from_when_on_the_firm_trains_again() -> None:
    friday = at("2026-11-20 12:00")
    with pytest.raises(OutOfHours) as refused:
        require_hours(firm(friday, hours="20:00-06:00", time_zone=ZONE))
    assert told(refused.value) == ("OutOfHours", "firm-1 trains again from Fri 2026-11-20 20:00 CST")
    require_hours(firm(friday))
    require_hours(firm(friday, hours="11:00-13:00", time_zone=ZONE))


@pytest.mark.parametrize(
    ("limits", "key"),
    [
        ({"hours": "8-17"}, "hours"),
        ({"hours": "20:00-25:00"}, "hours"),
        ({"hours": "20:00-06:00", "days": ["monday"]}, "days"),
        ({"hours": "20:00-06:00", "days": []}, "days"),
        ({"hours": "20:00-06:00", "time_zone": "Mars/Olympus"}, "time_zone"),
        ({"hours": "20:00-06:00", "time_zone": "../etc/passwd"}, "time_zone"),
        ({"days": ["mon"]}, "hours"),
    ],
)
def test_hours_that_cannot_be_are_named(limits: dict[str, Any], key: str) -> None:
    with pytest.raises(ValueError, match=key):
        Limits(**limits)
