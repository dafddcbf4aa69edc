"""Noise that is correlated over rounds by a banded Toeplitz matrix, and what each round of it costs.

The stream that is released is C G + Z: in its row t a firm sends c_0 G_t + c_1 G_(t-1) + ... of its clipped sums, with
fresh noise Z_t, and the server solves for G + C^-1 Z, which is post-processing (Choquette-Choo et al. 2023, banded
matrix factorisation; McKenna 2024, banded Toeplitz). So noise stays independent, integer, and accounted as it is added.

Units are dealt into as many parts as there are bands, and round t takes those of part t modulo them: each unit is in
each row at most once. Whatever was released before, it moves a row by at most one coefficient times the clip: a
Gaussian mechanism of that sensitivity. Which coefficient is the same in every run of the rows, so they add up.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from clients.mechanism import MICRO

MOST_BANDS = 64
Vector = NDArray[np.float64]


@dataclass(frozen=True)
class Correlation:
    """A banded Toeplitz matrix.

    Attributes:
        coefficients_micro: of a round and those before it, in 1e-6: the first is 1,000,000, none of them 0 or larger.

    Raises:
        ValueError: the coefficients are not such.
    """

    coefficients_micro: tuple[int, ...]

    def __post_init__(self) -> None:
        own = self.coefficients_micro
        if not 2 <= len(own) <= MOST_BANDS or own[0] != MICRO or not all(1 <= one <= MICRO for one in own):
            raise ValueError(f"correlation: 2 to {MOST_BANDS} coefficients, the first of them {MICRO} and none larger")

    @classmethod
    def parse(cls, text: str) -> Correlation:
        """The inverse of `text`."""
        return _parsed(text)

    @property
    def text(self) -> str:
        """The coefficients in 1e-6, with spaces between: how a plan states them."""
        return " ".join(map(str, self.coefficients_micro))

    @property
    def bands(self) -> int:
        return len(self.coefficients_micro)

    @property
    def reach(self) -> float:
        """The largest value of a row over the largest of a clipped sum."""
        return sum(self.coefficients_micro) / MICRO

    @property
    def least(self) -> float:
        """The least that a unit in a row moves it by, over the clip."""
        return min(self.coefficients_micro) / MICRO

    def sensitivity_micro(self, row: int) -> int:
        """What row `row` (from 0) adds to every unit's account: a release of that sensitivity, in 1e-6 of the clip.

        After any row the units of part 0 have paid most: those of part k pay the same k rows later. What the first pay
        is asked of all.
        """
        return self.coefficients_micro[row % self.bands]

    def squared_sensitivity(self, rows: int) -> float:
        """What the accounts of that many rows add up to, in clips squared."""
        return float(sum(self.sensitivity_micro(row) ** 2 for row in range(rows))) / MICRO**2

    def encode(self, sums: list[Vector]) -> Vector:
        """A row before noise, from the sum of this round and those before it, newest first."""
        return self._weighted(sums, 0)

    def decode(self, row: Vector, before: list[Vector]) -> Vector:
        """The round's sum with noise, from an opened row and what was decoded before it, newest first."""
        return row - self._weighted(before, 1) if before else row

    def _weighted(self, sums: list[Vector], first: int) -> Vector:
        total = np.zeros_like(sums[0])
        for coefficient, one in zip(self.coefficients_micro[first:], sums, strict=False):
            total += (coefficient / MICRO) * one
        return total


@lru_cache(maxsize=16)
def _parsed(text: str) -> Correlation:
    words = text.split(" ")
    if not all(word.isascii() and word.isdigit() and len(word) <= 7 for word in words):
        raise ValueError("correlation: coefficients are whole numbers with a space between")
    return Correlation(tuple(map(int, words)))
