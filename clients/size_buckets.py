"""Round figures for the number of a firm's units: what is declared is public, and an exact count says too much."""

from __future__ import annotations

from bisect import bisect_right

_SMALL = (1, 2, 5, 10)


def buckets_around(count: int) -> tuple[int, int]:
    """The round figures at or below `count` (1 at least) and above it: two digits and zeros; below 100, fives."""
    if count < _SMALL[-1]:
        place = bisect_right(_SMALL, count)
        return _SMALL[place - 1], _SMALL[place]
    step = max(10 ** (len(str(count)) - 2), 5)
    below = count // step * step
    return below, below + step


def bucket(count: int) -> int:
    """The nearest round figure, the larger one of two."""
    below, above = buckets_around(count)
    return below if count - below < above - count else above
