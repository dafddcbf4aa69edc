"""`[task.schedule]` and `[runner]` in `coordinator.toml`: when tasks are trained, and how long the runner has patience.

Cron's five fields, read as Debian's cron does: a time that a clock change skips fires right after it, one that it
repeats fires once (`cronsim`).
"""

from __future__ import annotations

import datetime as dt
from typing import Self
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from cronsim import CronSim, CronSimError
from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

_FIELDS = 5
_LEAST_BETWEEN_S = 60

Moment = dt.datetime | dt.date
"""In TOML a date, a local date and time (both in the schedule's time zone), or one with an offset."""


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class Schedule(_Part):
    """When a task is trained.

    Attributes:
        cron: minute, hour, day of the month, month, day of the week, like `0 2 * * 1`.
        time_zone: of `cron` and of dates without an offset, like `Europe/Berlin`.
        rounds: how many rounds one firing trains; without it, all that are left of the run, to its release.
        not_before: no firing before this moment.
        until: no firing at or after this moment.
    """

    cron: str
    time_zone: str = "UTC"
    rounds: int | None = Field(default=None, strict=True, ge=1)
    not_before: Moment | None = None
    until: Moment | None = None

    @field_validator("cron")
    @classmethod
    def _is_cron(cls, cron: str) -> str:
        if len(cron.split()) != _FIELDS:
            raise ValueError(f"{cron!r}: cron has {_FIELDS} fields: minute hour day month weekday, like '0 2 * * 1'")
        try:
            next(CronSim(cron, dt.datetime(2024, 1, 1, tzinfo=dt.UTC)))
        except CronSimError as error:
            raise ValueError(f"{cron!r}: {error}") from None
        except StopIteration:
            raise ValueError(f"{cron!r}: no such day ever comes") from None
        return cron

    @field_validator("time_zone")
    @classmethod
    def _is_known(cls, name: str) -> str:
        try:
            ZoneInfo(name)
        except (ZoneInfoNotFoundError, ValueError, OSError):
            raise ValueError(f"{name!r} is no time zone, like 'Europe/Berlin' or 'UTC'") from None
        return name

    @model_validator(mode="after")
    def _is_some_time(self) -> Self:
        if self.not_before is not None and self.until is not None and self._at(self.until) <= self._at(self.not_before):
            raise ValueError("until: it must be after not_before")
        return self

    @property
    def text(self) -> str:
        """The schedule in one line; another text is another schedule."""
        rounds = f", {self.rounds} rounds each" if self.rounds else ""
        bounds = "".join(f", {name} {at}" for name, at in (("from", self.not_before), ("until", self.until)) if at)
        return f"{self.cron} ({self.time_zone}){rounds}{bounds}"

    def next_after(self, moment_s: float) -> float | None:
        """The first firing after a moment, both in seconds since 1970; None if there is none any more."""
        zone, start = ZoneInfo(self.time_zone), dt.datetime.fromtimestamp(moment_s, dt.UTC)
        if self.not_before is not None:
            start = max(start, self._at(self.not_before) - dt.timedelta(seconds=1))
        try:
            found = next(CronSim(self.cron, start.astimezone(zone)))
        except StopIteration:
            return None
        if self.until is not None and found.astimezone(dt.UTC) >= self._at(self.until):
            return None
        return found.timestamp()

    def _at(self, moment: Moment) -> dt.datetime:
        """A moment of the schedule in UTC."""
        whole = moment if isinstance(moment, dt.datetime) else dt.datetime.combine(moment, dt.time())
        local = whole if whole.tzinfo is not None else whole.replace(tzinfo=ZoneInfo(self.time_zone))
        return local.astimezone(dt.UTC)


class Patience(_Part):
    """How long the runner waits, and for what.

    Attributes:
        wait_for_firms_s: an order that has waited so long for enough firms to be there is given up.
        most_failures: a run that failed so often in a row, without a round in between, is given up.
        first_pause_s, longest_pause_s: before a failed run begins again; doubles from the first to the longest. One
            whose process was ended begins again at once, the first time.
    """

    wait_for_firms_s: int = Field(default=1800, ge=_LEAST_BETWEEN_S, le=14 * 86_400)
    most_failures: int = Field(default=5, ge=1, le=100)
    first_pause_s: int = Field(default=15, ge=1, le=3600)
    longest_pause_s: int = Field(default=600, ge=1, le=86_400)

    def pause_s(self, failures: int) -> int:
        """Seconds between the last of so many failures in a row and the next try."""
        return min(self.longest_pause_s, self.first_pause_s << min(failures - 1, 20))
