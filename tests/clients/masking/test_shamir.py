"""Sharing over GF(256): the field of FIPS 197, and sharing against an implementation of its definition."""

from __future__ import annotations

import random
from itertools import combinations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from clients.masking.errors import PlanRefused
from clients.masking.shamir import combine, combine_one, multiply, split


def _slow_product(left: int, right: int) -> int:
    """Shift and add, as FIPS 197 section 4.2 describes."""
    product = 0
    while right:
        if right & 1:
            product ^= left
        left = left << 1 ^ (0x11B if left & 0x80 else 0)
        right >>= 1
    return product


def test_the_products_of_fips_197() -> None:
    assert multiply(0x57, 0x83) == 0xC1
    assert multiply(0x57, 0x13) == 0xFE


def test_every_product_matches_shift_and_add() -> None:
    assert all(multiply(a, b) == _slow_product(a, b) for a in range(256) for b in range(256))


@given(st.binary(min_size=1, max_size=40), st.integers(1, 12), st.integers(0, 11), st.integers())
def test_any_threshold_of_shares_gives_the_secret(secret: bytes, size: int, less: int, seed: int) -> None:
    threshold = max(1, size - less)
    shares = split(secret, size, threshold, random.Random(seed).randbytes)
    chosen = random.Random(seed).sample(range(size), threshold)
    assert combine_one({x + 1: shares[x] for x in chosen}) == secret


def test_shares_are_points_of_a_polynomial_with_the_secret_at_zero() -> None:
    secret, coefficients = bytes([7]), bytes([0x1D, 0xA2])
    shares = split(secret, 5, 3, lambda count: coefficients[:count])
    for x, share in enumerate(shares, start=1):
        square = _slow_product(x, x)
        assert share[0] == 7 ^ _slow_product(0xA2, x) ^ _slow_product(0x1D, square)


def test_fewer_shares_than_the_threshold_fit_every_secret() -> None:
    """With two of three shares given, each value of the third gives another secret: nothing is excluded."""
    shares = split(b"\x2a", 5, 3, random.Random(1).randbytes)
    secrets = {combine_one({1: shares[0], 2: shares[1], 3: bytes([guess])}) for guess in range(256)}
    assert len(secrets) == 256


def test_many_secrets_are_joined_at_once() -> None:
    rng = random.Random(2)
    secrets = [rng.randbytes(32) for _ in range(6)]
    table = [split(secret, 9, 4, rng.randbytes) for secret in secrets]
    for points in list(combinations(range(1, 10), 4))[::17]:
        raw = b"".join(shares[x - 1] for x in points for shares in table)
        joined = combine(points, np.frombuffer(raw, dtype=np.uint8).reshape(4, 6, 32))
        assert [row.tobytes() for row in joined] == secrets


def test_255_shares_work_and_256_do_not() -> None:
    shares = split(b"secret", 255, 2, random.Random(3).randbytes)
    assert combine_one({255: shares[254], 1: shares[0]}) == b"secret"
    with pytest.raises(PlanRefused, match="threshold 2 of 256"):
        split(b"secret", 256, 2, random.Random(3).randbytes)


@pytest.mark.parametrize("points", [[], [1, 1], [0, 1], [1, 256]])
def test_points_must_be_distinct_and_in_range(points: list[int]) -> None:
    with pytest.raises(PlanRefused, match="distinct and within"):
        combine(points, np.zeros((len(points), 1), dtype=np.uint8))
