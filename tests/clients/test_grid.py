"""Why accounts of continuous noise hold for discrete noise: what the decision on accounting is made of, in numbers."""

from __future__ import annotations

import math

import mpmath
import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.special import log_ndtr

from clients.grid import DISCRETE_STEPS, GRID_STEPS


def pmf(sigma: float, reach: int) -> NDArray[np.float64]:
    """float64[2 reach + 1]: the discrete Gaussian on -reach to reach."""
    weights = np.exp(-(np.arange(-reach, reach + 1, dtype=float) ** 2) / (2 * sigma**2))
    return np.asarray(weights / weights.sum())


def discrete_delta(noise: NDArray[np.float64], shift: int, epsilon: float) -> float:
    """The least delta at epsilon of noise on a lattice and the same, shifted."""
    one, other = np.pad(noise, (0, shift)), np.pad(noise, (shift, 0))
    return float(np.maximum(one - math.exp(epsilon) * other, 0).sum())


def gaussian_delta(mu: float, epsilon: float) -> float:
    """Balle and Wang 2018, theorem 8."""
    return float(np.exp(log_ndtr(mu / 2 - epsilon / mu)) - np.exp(epsilon + log_ndtr(-mu / 2 - epsilon / mu)))


def test_a_continuous_gaussian_rounded_at_random_is_the_discrete_one() -> None:
    """To 34 digits: the mixture over y of discrete Gaussians around y, where y has the variance that is left."""
    with mpmath.workdps(50):
        whole, own = mpmath.mpf(GRID_STEPS) ** 2 + 4, mpmath.mpf(DISCRETE_STEPS)
        left = whole - own**2

        def around(y: mpmath.mpf, x: int) -> mpmath.mpf:
            near = int(mpmath.nint(y))
            total = mpmath.fsum(mpmath.exp(-((k - y) ** 2) / (2 * own**2)) for k in range(near - 30, near + 31))
            return mpmath.exp(-((x - y) ** 2) / (2 * own**2)) / total

        normal = mpmath.fsum(mpmath.exp(-(mpmath.mpf(k) ** 2) / (2 * whole)) for k in range(-200, 201))
        for x in (0, 3):
            # The trapezoid rule on a smooth, fast falling function is exact to all these digits.
            places = [mpmath.mpf(k) / 4 for k in range(-4 * 32, 4 * 32)]
            mixed = mpmath.fsum(mpmath.exp(-(y**2) / (2 * left)) * around(y, x) for y in places) / 4
            mixed /= mpmath.sqrt(2 * mpmath.pi * left)
            assert abs(mixed / (mpmath.exp(-(mpmath.mpf(x) ** 2) / (2 * whole)) / normal) - 1) < mpmath.mpf("1e-32")
            assert mpmath.exp(-2 * mpmath.pi**2 * own**2) * 2 < mpmath.mpf("2e-34")


@pytest.mark.parametrize("noise", [float(GRID_STEPS), 11.3, 40.0])
@pytest.mark.parametrize("mu", [0.25, 1.0, 4.0])
def test_no_delta_is_above_that_of_the_accounted_continuous_noise(noise: float, mu: float) -> None:
    sigma, shift = math.hypot(noise, DISCRETE_STEPS), round(mu * noise)
    once, accounted = pmf(sigma, math.ceil(30 * sigma)), shift / noise
    above = 0.0
    for a in np.linspace(-accounted / 2, 5.0, 150):
        epsilon = accounted * (a + accounted / 2)
        found = discrete_delta(once, shift, epsilon)
        assert found <= gaussian_delta(accounted, epsilon) * (1 + 1e-9)
        above = max(above, found / gaussian_delta(shift / sigma, epsilon) - 1)
    if noise == GRID_STEPS:
        assert above > 0.01  # without the steps that are added the statement would be false


@pytest.mark.parametrize("shifts", [(8, 8), (11, 3), (1, 0), (16, 16)])
def test_nor_is_one_of_several_coordinates(shifts: tuple[int, int]) -> None:
    """In two dimensions the loss is a weighted sum of two coordinates: its distribution, exactly."""
    noise = float(GRID_STEPS)
    sigma = math.hypot(noise, DISCRETE_STEPS)
    reach = math.ceil(12 * sigma)
    places, chances = np.arange(-reach, reach + 1, dtype=float), pmf(sigma, reach)
    norm = math.hypot(*shifts)
    products = (shifts[0] * places[:, None] + shifts[1] * places[None, :]).ravel()
    loss = (norm**2 + 2 * products) / (2 * sigma**2)
    weights = (chances[:, None] * chances[None, :]).ravel()
    for a in np.linspace(-norm / noise / 2, 4.0, 40):
        epsilon = norm / noise * (a + norm / noise / 2)
        found = float((weights * -np.expm1(np.minimum(epsilon - loss, 0))).sum())
        assert found <= gaussian_delta(norm / noise, epsilon) * (1 + 1e-9)
