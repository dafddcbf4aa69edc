"""Integers modulo 2^bits: addition that wraps, and the few bytes in which they travel.

Sums are held in uint32 for either ring. Reducing modulo 2^32 and then modulo 2^24 is the same as reducing
modulo 2^24 once, so the additions of the hot path run at memory speed and the reduction is left to the end.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from clients.masking.errors import MalformedMessage, PlanRefused

Residues = NDArray[np.uint32]
Integers = NDArray[np.int64]
RING_BITS = (24, 32)


@dataclass(frozen=True)
class Ring:
    """The integers modulo 2^bits.

    Attributes:
        bits: 24 or 32.
    """

    bits: int

    def __post_init__(self) -> None:
        if self.bits not in RING_BITS:
            raise PlanRefused(f"ring_bits: {self.bits} is not supported, use 24 or 32")

    @property
    def value_bytes(self) -> int:
        """Bytes of one packed value: 3 or 4."""
        return self.bits // 8

    def zeros(self, dimension: int) -> Residues:
        """An empty sum: uint32[dimension]."""
        return np.zeros(dimension, dtype="<u4")

    def from_signed(self, values: Integers) -> Residues:
        """Residues uint32[d] of signed integers int64[d] (two's complement)."""
        return values.astype("<u4", casting="unsafe")

    def add(self, total: Residues, other: Residues) -> None:
        """Adds `other` to `total` in place; wraps."""
        np.add(total, other, out=total)

    def subtract(self, total: Residues, other: Residues) -> None:
        """Subtracts `other` from `total` in place; wraps."""
        np.subtract(total, other, out=total)

    def centre(self, residues: Residues) -> Integers:
        """The representatives int64[d] in [-2^(bits-1), 2^(bits-1))."""
        lifted = residues.view("<i4") if residues.flags.c_contiguous else residues.astype("<i4")
        shift = 32 - self.bits
        return ((lifted << shift) >> shift).astype(np.int64)  # the arithmetic shift carries the sign

    def pack(self, residues: Residues) -> bytes:
        """`value_bytes` bytes a value, little-endian, highest bits dropped."""
        if self.bits == 32:
            return residues.astype("<u4", copy=False).tobytes()
        count = len(residues)
        padded = np.zeros((-(-count // 4), 4), dtype="<u4")
        padded.reshape(-1)[:count] = residues & np.uint32(0xFFFFFF)
        # Four values of 24 bits are three words of 32: shifts over words beat moving single bytes five times.
        words = np.empty((len(padded), 3), dtype="<u4")
        words[:, 0] = padded[:, 0] | (padded[:, 1] << 24)
        words[:, 1] = (padded[:, 1] >> 8) | (padded[:, 2] << 16)
        words[:, 2] = (padded[:, 2] >> 16) | (padded[:, 3] << 8)
        return words.tobytes()[: 3 * count]

    def unpack(self, packed: bytes, dimension: int) -> Residues:
        """Residues uint32[dimension] of what `pack` made.

        Raises:
            MalformedMessage: another number of bytes than `dimension` values take.
        """
        if len(packed) != dimension * self.value_bytes:
            expected = dimension * self.value_bytes
            raise MalformedMessage(f"packed values: {len(packed)} bytes, expected {expected}")
        if self.bits == 32:
            return np.frombuffer(packed, dtype="<u4")
        # Words of 4 bytes that start every 3 bytes: each reads one byte too many, which the mask clears.
        overlapping: Residues = np.ndarray((dimension,), dtype="<u4", buffer=packed + b"\0", strides=(3,))
        return overlapping & np.uint32(0xFFFFFF)
