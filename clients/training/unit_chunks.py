"""Cutting examples into chunks of whole units, by how many rows a chunk may hold."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from clients.tasks.examples import Examples


def unit_chunks(examples: Examples, rows: int) -> Iterator[tuple[slice, slice]]:
    """Slices of units and of their rows that cover everything; at most `rows` rows each, or one unit with more."""
    ends = np.searchsorted(examples.unit, np.arange(examples.units), side="right")
    first = 0
    while first < examples.units:
        start = int(ends[first - 1]) if first else 0
        stop = max(int(np.searchsorted(ends, start + rows, side="right")), first + 1)
        yield slice(first, stop), slice(start, int(ends[stop - 1]))
        first = stop
