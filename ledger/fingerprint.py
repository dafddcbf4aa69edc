"""How a hash is shown to people who compare two of them, by telephone or on paper."""

from __future__ import annotations


def grouped(digits: str) -> str:
    """Hex digits in groups of four."""
    return "-".join(digits[place : place + 4] for place in range(0, len(digits), 4))
