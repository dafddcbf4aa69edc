"""Features of a forecast window: calendar, known future, and ratios to the recent past, all on public scales."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

FEATURES = 55
MONTHS = 12
_MONTH_EDGES = np.array([4, 7, 11, 15, 19, 24, 29])  # days of the month where spending changes: pay days
_LEVEL_SCALE = 5.0  # ratios to the past spread about a fifth as wide as flags
_NORM_SCALE = 1.0 / np.sqrt(8.0)  # about eight flags are active on a day: keeps input norms near 1
LARGEST_RATIO = 4.0
Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Windows:
    """`w` windows of `lookback` past days and `h` future days; arrays are [w, lookback + h]."""

    lookback: int
    day: NDArray[np.int64]  # days since 1970-01-01
    present: NDArray[np.bool_]
    value: Floats
    open: Floats
    promotion: Floats
    holiday: Floats

    def take(self, keep: NDArray[np.bool_]) -> Windows:
        """The windows where `keep` (bool[w]) holds."""
        return Windows(
            self.lookback,
            self.day[keep],
            self.present[keep],
            self.value[keep],
            self.open[keep],
            self.promotion[keep],
            self.holiday[keep],
        )

    @property
    def past_open(self) -> NDArray[np.bool_]:
        return self.open[:, : self.lookback] > 0

    @property
    def counted(self) -> NDArray[np.bool_]:
        """bool[w, h]: the future days that are learned and judged."""
        return self.open[:, self.lookback :] > 0

    @property
    def future_value(self) -> Floats:
        return self.value[:, self.lookback :]

    @cached_property
    def scale(self) -> Floats:
        """float64[w]: mean value of the past open days."""
        is_open = self.past_open
        total = (self.value[:, : self.lookback] * is_open).sum(axis=1)
        return np.asarray(total / np.maximum(is_open.sum(axis=1), 1))

    def seasonal_naive(self) -> Floats:
        """float64[w, h]: the newest past open day of the same weekday; the window's mean where there is none."""
        out = np.broadcast_to(self.scale[:, None], self.future_value.shape).copy()
        weekday = np.arange(out.shape[1]) % 7
        for weeks in range(self.lookback // 7, 0, -1):  # the newest week is written last
            back = self.lookback - 7 * weeks + weekday
            out = np.where(self.past_open[:, back], self.value[:, back], out)
        return out


def _mean(values: Floats, mask: NDArray[np.bool_], otherwise: Floats) -> Floats:
    """Mean over the last axis where `mask` holds; `otherwise` where it holds nowhere."""
    count = mask.sum(axis=-1)
    return np.asarray(np.where(count > 0, (values * mask).sum(axis=-1) / np.maximum(count, 1), otherwise))


def features(windows: Windows, *, months: bool = False) -> tuple[Floats, Floats]:
    """Inputs and offsets of every future day.

    Args:
        months: say the month, too. Under a year of history that would only say when a window was.

    Returns:
        inputs float64[w, h, FEATURES], or with the months FEATURES + MONTHS, and base float64[w, h], the ratio that the
        past alone suggests: the mean of past days of the same weekday and promotion, where there are any.
    """
    past = _Past(windows)
    day = windows.day[:, windows.lookback :]
    weekday = (day + 3) % 7  # 1970-01-01 was a Thursday; Monday is 0
    promotion = windows.promotion[:, windows.lookback :] > 0
    levels, base = past.levels(weekday, promotion)
    parts = [
        levels * _LEVEL_SCALE,
        _indicator(weekday * 2 + promotion, 14),
        _indicator(weekday, 7) * (windows.holiday[:, windows.lookback :] > 0)[:, :, None],
        _neighbours(windows, promotion),
        _month_days(day),
        _promotion_edges(windows),
        _winter(day),
        past.uplift(promotion) * _LEVEL_SCALE,
        np.ones((*day.shape, 1)),
    ]
    parts += [_indicator(day.astype("datetime64[D]").astype("datetime64[M]").astype(np.int64) % 12, MONTHS)] * months
    inputs = np.concatenate(parts, axis=2) * _NORM_SCALE
    assert inputs.shape[2] == FEATURES + MONTHS * months
    return inputs, base


class _Past:
    """Ratios of the past days to the window's scale, grouped by weekday and promotion."""

    def __init__(self, windows: Windows) -> None:
        n = windows.lookback
        self.is_open = windows.past_open
        safe = np.maximum(windows.scale, 1e-9)[:, None]
        self.ratio = np.clip(windows.value[:, :n] / safe, 0.0, LARGEST_RATIO)
        self.promotion = windows.promotion[:, :n] > 0
        self.weekday = (windows.day[:, :n] + 3) % 7
        ones = np.ones(len(self.ratio))
        self.on_promotion = _mean(self.ratio, self.is_open & self.promotion, 1.1 * ones)
        self.off_promotion = _mean(self.ratio, self.is_open & ~self.promotion, 0.9 * ones)

    def levels(self, weekday: NDArray[np.int64], promotion: NDArray[np.bool_]) -> tuple[Floats, Floats]:
        """[w, h, 6] deviations from 1, and the base ratio [w, h]."""
        by_promotion = np.where(promotion, self.on_promotion[:, None], self.off_promotion[:, None])
        same_day = self.is_open[:, None, :] & (self.weekday[:, None, :] == weekday[:, :, None])
        same_both = same_day & (self.promotion[:, None, :] == promotion[:, :, None])
        ratio = np.broadcast_to(self.ratio[:, None, :], same_day.shape)
        by_day = _mean(ratio, same_day, by_promotion)
        by_both = _mean(ratio, same_both, by_promotion)
        found = same_both.any(axis=2)
        newest = same_both.shape[2] - 1 - np.argmax(same_both[:, :, ::-1], axis=2)
        last = np.where(found, np.take_along_axis(self.ratio, np.where(found, newest, 0), axis=1), by_promotion)
        zero = np.ones(len(self.ratio))
        fortnight = _mean(self.ratio[:, -14:], self.is_open[:, -14:], zero)
        week = _mean(self.ratio[:, -7:], self.is_open[:, -7:], zero)
        trends = [np.broadcast_to(t[:, None], by_day.shape) for t in (fortnight, week)]
        return np.stack([by_promotion, by_day, by_both, last, *trends], axis=2) - 1.0, by_both

    def uplift(self, promotion: NDArray[np.bool_]) -> Floats:
        """[w, h, 2]: the past effect of promotions, on days with and without one."""
        effect = (self.on_promotion - self.off_promotion)[:, None]
        return np.stack([effect * promotion, effect * ~promotion], axis=2)


def _indicator(which: NDArray[np.int64], width: int) -> Floats:
    return np.asarray(which[:, :, None] == np.arange(width), dtype=np.float64)


def _neighbours(windows: Windows, promotion: NDArray[np.bool_]) -> Floats:
    """[w, h, 8]: unusual closures one and two days around (inside the window only), and Sunday trade."""
    n = windows.lookback
    sunday = (windows.day + 3) % 7 == 6
    closed = np.pad((windows.open <= 0) & ~sunday, ((0, 0), (2, 2)))
    horizon = promotion.shape[1]

    def shifted(days: int) -> Floats:
        return closed[:, n + 2 + days : n + 2 + days + horizon].astype(np.float64)

    after, before = shifted(1), shifted(-1)
    opens_sunday = (windows.past_open & sunday[:, :n]).any(axis=1)[:, None] * np.ones((1, horizon))
    columns = [after, before, shifted(2), shifted(-2), after * promotion, before * promotion]
    return np.stack([*columns, opens_sunday, opens_sunday * sunday[:, n:]], axis=2)


def _month_days(day: NDArray[np.int64]) -> Floats:
    dates = day.astype("datetime64[D]")
    of_month = (dates - dates.astype("datetime64[M]")).astype(np.int64) + 1
    return _indicator(np.searchsorted(_MONTH_EDGES, of_month, side="right"), len(_MONTH_EDGES) + 1)


def _promotion_edges(windows: Windows) -> Floats:
    """[w, h, 4]: first and last day of a promotion, the day after one, and the second week of the horizon."""
    n = windows.lookback
    promotion = windows.promotion > 0
    now = promotion[:, n:]
    before = promotion[:, n - 1 : -1]
    after = np.concatenate([now[:, 1:], now[:, -1:]], axis=1)
    later = np.broadcast_to(np.arange(now.shape[1]) >= 7, now.shape)
    return np.stack([now & ~before, now & ~after, ~now & before, later], axis=2).astype(np.float64)


def _winter(day: NDArray[np.int64]) -> Floats:
    """[w, h, 5]: the weeks before and after Christmas, and early January."""
    dates = day.astype("datetime64[D]")
    month = dates.astype("datetime64[M]").astype(np.int64) % 12
    of_month = (dates - dates.astype("datetime64[M]")).astype(np.int64) + 1
    december = month == 11
    spans = [(1, 10), (11, 17), (18, 24), (25, 31)]
    columns = [december & (of_month >= a) & (of_month <= b) for a, b in spans]
    return np.stack([*columns, (month == 0) & (of_month <= 10)], axis=2).astype(np.float64)
