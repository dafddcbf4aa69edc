"""Shamir's secret sharing over GF(256), byte by byte (Shamir 1979; the field of FIPS 197 section 4).

The field's products are table look-ups, so their timing can depend on secrets through the CPU cache. Firms
make shares on their own machines, and what the coordinator joins is published afterwards.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from clients.masking.errors import PlanRefused

RandomBytes = Callable[[int], bytes]
"""Draws n bytes from a cryptographically secure source."""

MAX_SHARES = 255
_FIELD_POLYNOMIAL = 0x11B
_Field = NDArray[np.uint8]


def _tables() -> tuple[_Field, _Field]:
    powers = np.zeros(255, dtype=np.uint8)
    logs = np.zeros(256, dtype=np.int64)
    power = 1
    for exponent in range(255):
        powers[exponent] = power
        logs[power] = exponent
        power ^= power << 1  # times the generator x + 1
        if power & 0x100:
            power ^= _FIELD_POLYNOMIAL
    product = powers[(logs[:, None] + logs[None, :]) % 255]
    product[0, :] = 0
    product[:, 0] = 0
    inverse = powers[(-logs) % 255]
    inverse[0] = 0
    return product, inverse


_PRODUCT, _INVERSE = _tables()


def multiply(left: int, right: int) -> int:
    """The product of two elements of GF(256)."""
    return int(_PRODUCT[left, right])


def split(secret: bytes, shares: int, threshold: int, random_bytes: RandomBytes) -> list[bytes]:
    """Splits `secret` so that any `threshold` of the shares give it back and fewer say nothing about it.

    Returns:
        `shares` byte strings as long as the secret; entry i is the share at x = i + 1.

    Raises:
        PlanRefused: not 1 <= threshold <= shares <= 255.
    """
    if not 1 <= threshold <= shares <= MAX_SHARES:
        raise PlanRefused(f"sharing: threshold {threshold} of {shares} shares, need 1 <= t <= n <= {MAX_SHARES}")
    random_part = np.frombuffer(random_bytes(len(secret) * (threshold - 1)), dtype=np.uint8)
    coefficients = np.vstack([random_part.reshape(threshold - 1, len(secret)), np.frombuffer(secret, dtype=np.uint8)])
    points = np.arange(1, shares + 1, dtype=np.uint8)[:, None]
    values = np.zeros((shares, len(secret)), dtype=np.uint8)
    for coefficient in coefficients:  # Horner's rule over all points and all bytes at once
        values = _PRODUCT[values, points] ^ coefficient
    return [row.tobytes() for row in values]


def combine(points: Sequence[int], shares: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Joins the shares of many secrets that were split to the same points.

    Args:
        points: the distinct x of the shares, 1 to 255; exactly as many as the threshold.
        shares: uint8[len(points), ...], the share at each point.

    Returns:
        uint8[...], the secrets. A wrong share gives a wrong secret: check it against a commitment.

    Raises:
        PlanRefused: points are missing, repeated or outside 1..255.
    """
    if not points or len(set(points)) != len(points) or not all(1 <= x <= MAX_SHARES for x in points):
        raise PlanRefused(f"sharing: points {list(points)} must be distinct and within 1..{MAX_SHARES}")
    weights = lagrange_at_zero(points).reshape(-1, *([1] * (shares.ndim - 1)))
    joined: NDArray[np.uint8] = np.bitwise_xor.reduce(_PRODUCT[weights, shares], axis=0)
    return joined


def combine_one(shares: Mapping[int, bytes]) -> bytes:
    """Joins the shares {x: share} of one secret; see `combine`."""
    table = np.frombuffer(b"".join(shares.values()), dtype=np.uint8).reshape(len(shares), -1)
    return combine(list(shares), table).tobytes()


def lagrange_at_zero(points: Sequence[int]) -> _Field:
    """The weights uint8[k] that carry values at `points` to the value at 0."""
    weights = np.ones(len(points), dtype=np.uint8)
    for i, x in enumerate(points):
        for j, other in enumerate(points):
            if i != j:  # subtraction is exclusive or in this field
                factor = _PRODUCT[other, _INVERSE[x ^ other]]
                weights[i] = _PRODUCT[weights[i], factor]
    return weights
