"""Arithmetic modulo 2^24 and 2^32 against Python's integers."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from clients.masking.errors import MalformedMessage, PlanRefused
from clients.masking.ring import Ring

BITS = st.sampled_from([24, 32])
VECTORS = st.lists(st.integers(-(2**40), 2**40), max_size=23)


def _centred(value: int, bits: int) -> int:
    half = 1 << (bits - 1)
    return (value + half) % (2 * half) - half


@given(BITS, VECTORS)
def test_packing_keeps_the_value_modulo_the_ring(bits: int, values: list[int]) -> None:
    ring = Ring(bits)
    packed = ring.pack(ring.from_signed(np.array(values, dtype=np.int64)))
    assert len(packed) == len(values) * bits // 8
    unpacked = ring.unpack(packed, len(values))
    assert unpacked.tolist() == [value % 2**bits for value in values]
    assert ring.centre(unpacked).tolist() == [_centred(value, bits) for value in values]


@given(BITS, VECTORS, st.integers(-(2**40), 2**40))
def test_adding_and_subtracting_wrap(bits: int, values: list[int], other: int) -> None:
    ring = Ring(bits)
    vector = np.array(values, dtype=np.int64)
    total, step = ring.from_signed(vector), ring.from_signed(np.full(len(values), other, dtype=np.int64))
    ring.add(total, step)
    assert ring.centre(total).tolist() == [_centred(value + other, bits) for value in values]
    ring.subtract(total, step)
    ring.subtract(total, step)
    assert ring.centre(total).tolist() == [_centred(value - other, bits) for value in values]


def test_packing_is_little_endian_three_bytes() -> None:
    ring = Ring(24)
    values = np.array([1, -1, 0x123456], dtype=np.int64)
    assert ring.pack(ring.from_signed(values)).hex() == "010000ffffff563412"


@pytest.mark.parametrize("bits", [24, 32])
def test_the_ends_of_the_range_are_centred(bits: int) -> None:
    ring = Ring(bits)
    ends = np.array([2 ** (bits - 1) - 1, -(2 ** (bits - 1)), 2 ** (bits - 1)], dtype=np.int64)
    assert ring.centre(ring.from_signed(ends)).tolist() == [ends[0], ends[1], ends[1]]


def test_refusals() -> None:
    with pytest.raises(PlanRefused, match="ring_bits: 16 is not supported"):
        Ring(16)
    with pytest.raises(MalformedMessage, match="7 bytes, expected 6"):
        Ring(24).unpack(bytes(7), 2)
