"""When a firm trains: hours and days of its own time zone, from `[limits]` in `firm.toml`. Outside it takes no part."""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Self
from zoneinfo import ZoneInfo

from clients.errors import ClientError

if TYPE_CHECKING:
    from clients.firm import Firm

DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")

_SPAN = re.compile(r"([01]\d|2[0-3]):([0-5]\d)-([01]\d|2[0-3]):([0-5]\d)")
_DAY = dt.timedelta(days=1)


class OutOfHours(ClientError):
    """The firm does not train at this hour, or on this day. Nothing was read, computed or spent."""

    exit_code = 1


@dataclass(frozen=True)
class TrainingHours:
    """A span of hours, on some days of the week; one that does not end after it begins goes on into the next day.

    Attributes:
        begin, end: of a day, by the firm's clock on the wall.
        days: on which it begins; 0 is Monday.
        zone: the firm's time zone.
    """

    begin: dt.time
    end: dt.time
    days: frozenset[int]
    zone: ZoneInfo

    @classmethod
    def read(cls, hours: str, days: Sequence[str], zone: str) -> Self:
        """Take apart what stands in `firm.toml`, e.g. "20:00-06:00", ["mon", "fri"], "Asia/Shanghai".

        Raises:
            ValueError: naming what is wrong.
        """
        found = _SPAN.fullmatch(hours)
        if found is None:
            raise ValueError(f"hours: {hours!r} is not like 20:00-06:00")
        begin_hour, begin_minute, end_hour, end_minute = map(int, found.groups())
        unknown = [day for day in days if day not in DAYS]
        if unknown or not days:
            raise ValueError(f"days: {', '.join(unknown) or 'none'}: give some of {', '.join(DAYS)}")
        try:
            place = ZoneInfo(zone)
        except (ValueError, OSError, KeyError):
            raise ValueError(f"time_zone: {zone!r} is not the name of a time zone, like Asia/Shanghai") from None
        span = dt.time(begin_hour, begin_minute), dt.time(end_hour, end_minute)
        return cls(*span, frozenset(DAYS.index(day) for day in days), place)

    def contain(self, at_s: float) -> bool:
        """Whether the firm trains at a moment (seconds since 1970)."""
        moment = dt.datetime.fromtimestamp(at_s, self.zone)
        clock, today = moment.time(), moment.weekday()
        if self.begin < self.end:
            return today in self.days and self.begin <= clock < self.end
        began_today = today in self.days and clock >= self.begin
        return began_today or ((today - 1) % 7 in self.days and clock < self.end)

    def next_begin(self, at_s: float) -> dt.datetime:
        """The next moment at which they begin, after one outside them."""
        moment = dt.datetime.fromtimestamp(at_s, self.zone)
        for later in range(9):
            day = (moment + later * _DAY).date()
            begin = dt.datetime.combine(day, self.begin, self.zone)
            if day.weekday() in self.days and begin > moment:
                return begin
        raise AssertionError("there is a day in every week")


def require_hours(firm: Firm) -> None:
    """Insist that the firm trains now.

    Raises:
        OutOfHours: it does not; says from when on.
    """
    hours = firm.config.limits.training_hours
    if hours is not None and not hours.contain(firm.now()):
        begin = hours.next_begin(firm.now())
        raise OutOfHours(f"{firm.member} trains again from {begin:%a %Y-%m-%d %H:%M} {begin.tzname()}")
