"""The ids of the firms of a federation on one machine."""

from __future__ import annotations


def firm_names(count: int) -> tuple[str, ...]:
    """The ids of so many firms, in order."""
    width = len(str(count))
    return tuple(f"firm-{k + 1:0{width}d}" for k in range(count))
