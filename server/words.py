"""Moments in the words of a status: the time alone for today's, else the day too; in the machine's time zone."""

from __future__ import annotations

import datetime as dt


def clock_time(at_s: float, now_s: float) -> str:
    """A moment as people say it who read it at `now_s`; both in seconds since 1970."""
    at, now = (dt.datetime.fromtimestamp(one).astimezone() for one in (at_s, now_s))
    return at.strftime("%H:%M" if at.date() == now.date() else "%Y-%m-%d %H:%M")


def unknown_node(node: int) -> str:
    """What a node is called that has not said who it is."""
    return f"node {node}"


def span(seconds: float) -> str:
    """A length of time, like `40 s`, `12 min`, `3 h`, `5 days`."""
    for unit, size in (("days", 86_400.0), ("h", 3600.0), ("min", 60.0)):
        if seconds >= 2 * size:
            return f"{seconds / size:.0f} {unit}"
    return f"{max(0.0, seconds):.0f} s"


def times_in_a_row(count: int) -> str:
    """How often something has happened without a break; `count` is at least 1."""
    return "once" if count == 1 else f"{count} times in a row"
