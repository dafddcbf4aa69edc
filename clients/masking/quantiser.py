"""Real values to integers whose sum cannot wrap, and back.

Each of `cohort_size` firms sends integers in [-largest, largest], where cohort_size * largest < 2^(bits-1).
So every possible sum has exactly one centred representative: the proof is the choice of `largest`.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from clients.masking.errors import PlanRefused, ValueOutOfBounds
from clients.masking.ring import RING_BITS, Integers

Reals = NDArray[np.float64]
UniformSource = Callable[[int], Reals]
"""Draws n independent uniform float64 in [0, 1)."""

MIN_LEVELS = 16


def largest_of(cohort_size: int, ring_bits: int) -> int:
    """The largest integer one firm may send: `cohort_size` of them stay below half the ring."""
    return ((1 << (ring_bits - 1)) - 1) // cohort_size


@dataclass(frozen=True)
class Quantiser:
    """A grid of 2 * `largest` + 1 points over [-bound, bound].

    Error of one value: at most step / 2 rounded to nearest; less than one step, with mean zero (as far as 53 bits of
    a draw can say), rounded stochastically. The error of a sum over k firms is at most k times that.

    Attributes:
        bound: the largest magnitude a firm may send, in the unit of the update.
        cohort_size: how many firms at most are added up.
        ring_bits: 24 or 32.
    """

    bound: float
    cohort_size: int
    ring_bits: int

    def __post_init__(self) -> None:
        if self.ring_bits not in RING_BITS:
            raise PlanRefused(f"ring_bits: {self.ring_bits} is not supported, use 24 or 32")
        if self.cohort_size < 1:
            raise PlanRefused(f"cohort_size: {self.cohort_size}, need at least 1")
        if not (math.isfinite(self.bound) and self.bound > 0):
            raise PlanRefused(f"bound: {self.bound} must be a finite number above 0")
        if self.largest < MIN_LEVELS:
            raise PlanRefused(
                f"quantiser: {self.cohort_size} firms leave {self.largest} levels of {self.ring_bits} bits, "
                f"need {MIN_LEVELS}; use more bits or fewer firms"
            )
        if not math.isfinite(self.largest / self.bound) or self.step < np.finfo(np.float64).tiny:
            raise PlanRefused(f"bound: {self.bound} is too small to divide into {self.largest} steps")

    @property
    def largest(self) -> int:
        """The largest integer one firm may send."""
        return largest_of(self.cohort_size, self.ring_bits)

    @property
    def step(self) -> float:
        """The distance of two neighbouring grid points, in the unit of the update."""
        return self.bound / self.largest

    def quantise(self, values: Reals, uniform: UniformSource | None = None) -> Integers:
        """Puts values float64[d] on the grid.

        With a `uniform` source, rounds up with the probability that makes the result unbiased; without one,
        rounds to nearest, which is meant for values that already carry noise of many steps.

        Returns:
            int64[d] in [-largest, largest].

        Raises:
            ValueOutOfBounds: a value is not finite or exceeds `bound` in magnitude; clip before calling.
        """
        magnitudes = np.abs(values)
        if not bool(np.all(magnitudes <= self.bound)):  # written so that NaN fails it too
            first = int(np.flatnonzero(~(magnitudes <= self.bound))[0])
            raise ValueOutOfBounds(
                f"update: value {first} is {float(values[first])}, outside +/-{self.bound}; clip it first"
            )
        # Multiplying can exceed `largest` by a rounding error; the clip removes it.
        scaled = np.clip(values * (self.largest / self.bound), -self.largest, self.largest)
        if uniform is None:
            return np.rint(scaled).astype(np.int64)
        below = np.floor(scaled)
        # Not floor(scaled + u): that sum itself rounds, and can step past `largest`.
        return (below + (uniform(len(values)) < scaled - below)).astype(np.int64)

    def dequantise(self, total: Integers) -> Reals:
        """The real values float64[d] of a sum int64[d] of at most `cohort_size` quantised vectors.

        Raises:
            ValueOutOfBounds: a total is larger than `cohort_size` firms can make it.
        """
        limit = self.largest * self.cohort_size
        if len(total) and int(np.max(np.abs(total))) > limit:
            raise ValueOutOfBounds(f"sum: a value exceeds {limit}, more than {self.cohort_size} firms can send")
        return total.astype(np.float64) * self.step
