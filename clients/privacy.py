"""Privacy accounting: what a noisy sum costs, in integer nano-RDP on one fixed grid of orders.

Rényi differential privacy adds up over mechanisms at each order; epsilon does not. So everything
that is recorded, here and on the ledger, is a tuple of integers: RDP at each of `ORDERS`, in units of
1e-9, rounded up. Epsilon is derived from a total only to be shown or compared with a cap.

Adjacency is add or remove one privacy unit. Replacing one costs more (a record counts twice).
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from fractions import Fraction
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from clients.errors import ClientError

ORDERS: tuple[int, ...] = (*range(2, 65), 80, 96, 128, 192, 256, 512)
"""Rényi orders of every account. Part of the records' format: never reorder, remove or insert."""

NANO = 10**9
"""Nano-RDP in one unit of RDP (a nat)."""

NanoRdp = tuple[int, ...]
"""RDP at each of `ORDERS`, in 1e-9 nats, rounded up; length `len(ORDERS)`, every entry >= 0."""

NOTHING: NanoRdp = (0,) * len(ORDERS)
"""The account of something that touched no data."""

# What floating point may lose in one step of the subsampled mechanism's series: at most 513 terms whose
# logarithms reach some thousands, each good to 1e-16 relative. Tests compare with 60 digits.
_RELATIVE_SLACK = 1e-11
_ABSOLUTE_SLACK = 1e-11

_SMALLEST_SIGMA, _LARGEST_SIGMA = 1e-3, 1e9  # the limits of `clients.calibration` in millionths


class PrivacyError(ClientError):
    """A privacy parameter that is out of range, or a target that no noise can reach."""


def gaussian_rdp(sigma: float, sampling_rate: float, steps: int) -> NanoRdp:
    """RDP of `steps` releases of a Poisson-sampled sum with Gaussian noise.

    Args:
        sigma: noise multiplier: standard deviation of the noise over the L2 bound of one unit; 1e-3 to 1e9.
        sampling_rate: probability that one unit takes part in one step; 0 <= rate <= 1, 1 is full batch.
        steps: number of releases; >= 0.

    Returns:
        Nano-RDP at each of `ORDERS`, rounded up *per step*, so that it is exactly linear in `steps`: a plan
        that is paid for round by round costs to the digit what was computed for the whole plan.

    Raises:
        PrivacyError: a parameter is out of range.

    Source: Mironov, Talwar, Zhang 2019 (arXiv 1908.10530), section 3.3, as implemented by Opacus.
    """
    if not _SMALLEST_SIGMA <= sigma <= _LARGEST_SIGMA:
        raise PrivacyError(
            f"noise multiplier must lie between {_SMALLEST_SIGMA:g} and {_LARGEST_SIGMA:g}, not {sigma}: "
            "without noise nothing is private"
        )
    if not 0 <= sampling_rate <= 1:
        raise PrivacyError(f"sampling rate must lie between 0 and 1, not {sampling_rate}")
    if steps < 0:
        raise PrivacyError(f"number of steps must not be negative, not {steps}")
    return tuple(steps * nano for nano in _one_step(float(sigma), float(sampling_rate)))


@lru_cache(maxsize=1024)
def _one_step(sigma: float, sampling_rate: float) -> NanoRdp:
    if sampling_rate == 0:
        return NOTHING
    if sampling_rate == 1:
        unit = Fraction(NANO) / (2 * Fraction(sigma) ** 2)  # exact: a float is a fraction
        return tuple(math.ceil(order * unit) for order in ORDERS)
    # Imported here: importing Opacus costs seconds, and full-batch training, the default, never needs it.
    from opacus.accountants.analysis import rdp

    raw = rdp.compute_rdp(q=sampling_rate, noise_multiplier=sigma, steps=1, orders=list(ORDERS))
    return tuple(_round_up(float(value), order) for value, order in zip(raw, ORDERS, strict=True))


def _round_up(value: float, order: int) -> int:
    if not math.isfinite(value):
        raise PrivacyError(f"the privacy cost at order {order} is not finite: use more noise")
    return math.ceil((max(value, 0.0) * (1 + _RELATIVE_SLACK) + _ABSOLUTE_SLACK / (order - 1)) * NANO)


def check_nano_rdp(nano_rdp: Sequence[int]) -> NanoRdp:
    """Return `nano_rdp` as a tuple if it is an account on this grid.

    Raises:
        PrivacyError: wrong length, an entry that is not an integer, or a negative one.
    """
    if len(nano_rdp) != len(ORDERS):
        raise PrivacyError(f"a privacy account has {len(ORDERS)} orders, not {len(nano_rdp)}")
    if set(map(type, nano_rdp)) != {int} or min(nano_rdp) < 0:
        raise PrivacyError("a privacy account holds whole numbers of nano-RDP that are not negative")
    return tuple(nano_rdp)


def add(accounts: Iterable[NanoRdp]) -> NanoRdp:
    """Sum of accounts on the same privacy units: exact, in any order. No accounts: `NOTHING`."""
    return tuple(map(sum, zip(NOTHING, *accounts, strict=True)))


def epsilon(nano_rdp: NanoRdp, delta: float) -> float:
    """Smallest epsilon, over `ORDERS`, such that the account implies (epsilon, delta)-DP.

    Args:
        nano_rdp: an account on this grid.
        delta: probability of failure, 0 < delta < 1.

    Returns:
        Epsilon in nats, >= 0; exactly 0 for an account of nothing.

    Raises:
        PrivacyError: delta is out of range or the account is not on this grid.

    Source: Balle et al. 2020 (arXiv 1905.09982), theorem 21; the conversion that Opacus uses.
    """
    check_delta(delta)
    if not any(check_nano_rdp(nano_rdp)):
        return 0.0
    costs = np.array(nano_rdp, dtype=np.float64) / NANO
    best = float((costs + _conversion(delta)).min())
    return max(best, 0.0)


def epsilon_under_cap(nano_rdp: NanoRdp, most: float, delta: float) -> float:
    """The epsilon at `delta` that an account implies at the one order that a cap of `most` is held at, in nats.

    To stop where this reaches `most` is sound even where each release is chosen by the results of those before: a Rényi
    filter (Feldman and Zrnic 2021, theorem 4.3). It has one order, fixed before: which is the best of several could
    itself follow from results. It is the order at which a Gaussian account may grow largest under the cap.

    Raises:
        PrivacyError: delta is out of range or the account is not on this grid.
    """
    check_delta(delta)
    if not any(check_nano_rdp(nano_rdp)):
        return 0.0
    place = _place_of_cap(most, delta)
    return max(nano_rdp[place] / NANO + float(_conversion(delta)[place]), 0.0)


@lru_cache(maxsize=64)
def _place_of_cap(most: float, delta: float) -> int:
    return int(np.argmax((most - _conversion(delta)) / np.array(ORDERS, dtype=np.float64)))


@lru_cache(maxsize=64)
def _conversion(delta: float) -> NDArray[np.float64]:
    """float64[orders]: what turns RDP at each order into epsilon at `delta`."""
    orders = np.array(ORDERS, dtype=np.float64)
    terms: NDArray[np.float64] = np.log1p(-1.0 / orders) - (math.log(delta) + np.log(orders)) / (orders - 1.0)
    return terms


def check_delta(delta: float) -> None:
    """Raise `PrivacyError` unless 0 < delta < 1."""
    if not 0 < delta < 1:
        raise PrivacyError(f"delta must lie strictly between 0 and 1, not {delta}")
