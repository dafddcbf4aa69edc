"""When a schedule fires: clock changes, bounds, and what is refused before it could never fire."""

import datetime as dt

import pytest
from pydantic import ValidationError

from server.schedule import Patience, Schedule


def at(text: str) -> float:
    return dt.datetime.fromisoformat(text).timestamp()


def firings(schedule: Schedule, start: str, count: int) -> list[str]:
    """The next firings as UTC."""
    found, moment = [], at(start)
    for _ in range(count):
        after = schedule.next_after(moment)
        assert after is not None
        found.append(dt.datetime.fromtimestamp(after, dt.UTC).strftime("%Y-%m-%dT%H:%MZ"))
        moment = after
    return found


def test_every_monday_night() -> None:
    weekly = Schedule(cron="0 2 * * 1")
    assert firings(weekly, "2026-11-22T15:00+00:00", 2) == ["2026-11-23T02:00Z", "2026-11-30T02:00Z"]


def test_a_firing_is_after_the_moment_that_is_asked_about() -> None:
    weekly = Schedule(cron="0 2 * * 1")
    assert firings(weekly, "2026-11-23T02:00+00:00", 1) == ["2026-11-30T02:00Z"]


def test_a_time_that_the_clock_skips_fires_right_after() -> None:
    nightly = Schedule(cron="30 2 * * *", time_zone="Europe/Berlin")
    assert firings(nightly, "2026-03-28T00:00+00:00", 3) == [
        "2026-03-28T01:30Z",
        "2026-03-29T01:00Z",  # 02:30 does not exist that night: at 03:00, which is when the clocks have changed
        "2026-03-30T00:30Z",
    ]


def test_a_time_that_comes_twice_fires_once() -> None:
    nightly = Schedule(cron="30 2 * * *", time_zone="Europe/Berlin")
    assert firings(nightly, "2026-10-24T12:00+00:00", 2) == ["2026-10-25T00:30Z", "2026-10-26T01:30Z"]


def test_bounds_hold_and_dates_are_local() -> None:
    some = Schedule.model_validate(
        {
            "cron": "0 0 * * *",
            "time_zone": "Asia/Shanghai",
            "not_before": dt.date(2027, 1, 1),
            "until": dt.datetime(2027, 1, 3),
        }
    )
    assert firings(some, "2026-11-22T00:00+00:00", 2) == ["2026-12-31T16:00Z", "2027-01-01T16:00Z"]
    assert some.next_after(at("2027-01-01T16:00+00:00")) is None
    assert "from 2027-01-01" in some.text


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"cron": "0 2 * *"}, "5 fields"),
        ({"cron": "0 0 2 * * 1"}, "5 fields"),
        ({"cron": "61 2 * * *"}, "61"),
        ({"cron": "0 0 31 2 *"}, "0 0 31 2"),
        ({"cron": "0 2 * * 1", "time_zone": "Mars/Olympus"}, "no time zone"),
        ({"cron": "0 2 * * 1", "time_zone": "../etc/passwd"}, "no time zone"),
        ({"cron": "0 2 * * 1", "rounds": 0}, "rounds"),
        ({"cron": "0 2 * * 1", "not_before": dt.date(2027, 1, 2), "until": dt.date(2027, 1, 2)}, "after not_before"),
    ],
)
def test_what_could_never_be_meant_is_refused(fields: dict[str, object], words: str) -> None:
    with pytest.raises(ValidationError, match=words):
        Schedule.model_validate(fields)


def test_pauses_between_failures_double_up_to_the_longest() -> None:
    patience = Patience(first_pause_s=10, longest_pause_s=60)
    assert [patience.pause_s(one) for one in (1, 2, 3, 4, 1000)] == [10, 20, 40, 60, 60]
