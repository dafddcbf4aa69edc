"""The integers that protected updates are made of, and why noise on them is accounted as it is added."""

from __future__ import annotations

from dataclasses import dataclass

TAIL_STDS = 9.0  # of noise, less 0.35 of a step; further out (8e-18 a coordinate) is refused, never wrapped
GRID_STEPS = 8  # grid steps in one standard deviation of a firm's noise: then shares add up to a discrete Gaussian
DISCRETE_STEPS = 2.0  # deviation of the noise that a firm adds above what is accounted, for it is discrete
ROUNDING_STEPS = 1.5  # most that rounding to the grid adds to one coordinate of a difference of two sums, see `Grid`


@dataclass(frozen=True)
class Grid:
    """The integers that one firm's protected update is made of.

    A firm rounds its bounded sum to the grid and adds noise that is integer from the start, a discrete Gaussian. One
    unit moves the rounded sum by at most unit_norm / step + `ROUNDING_STEPS` * sqrt(values) steps in Euclidean norm: a
    step a coordinate by rounding, and half of one for what float64 loses in summing up to 2**20 units. The noise is
    measured against that, so what is accounted is what is added (Kairouz, Liu, Steinke 2021, section 4).

    Of any `threshold` firms in an opened sum those that do not collude add up to k shares of parameter sigma. Their sum
    is a discrete Gaussian of k sigma^2 but for a divergence of at most 10 k exp(-pi^2 sigma^2) a coordinate (theorem
    11 there): below 1e-260 for sigma >= `GRID_STEPS` and every dimension allowed, so that rounding an account up to
    whole nano-RDP covers it. A discrete Gaussian costs no more Rényi divergence than the continuous one at any integer
    shift (Canonne, Kamath, Steinke 2020, theorem 4), sampled or not, at the integer orders that accounts are kept at.

    Its epsilon at a delta can be above that of the continuous one. But a discrete Gaussian of sigma^2 is a continuous
    one of sigma^2 - `DISCRETE_STEPS`^2, rounded to integers at random, but for 2e-34 a coordinate (Peikert 2010,
    theorem 3.1). Each firm adds that more, so accounts of continuous noise hold: docs/adr/0018-tight-accounting.md.

    Attributes:
        bound: largest magnitude of a firm's protected value, in the unit of the update.
        step: distance of two grid points, in that unit.
        sigma: parameter of one firm's noise in steps, about its standard deviation; 0 without privacy. Where a firm
            takes several local steps it is that of each, and the protected value their sum.
    """

    bound: float
    step: float
    sigma: int
