"""Ciphertexts that no encryption makes: written byte by byte, in the format of SEAL 4.1 inside TenSEAL's.

(c0, c1) = (0, K) decrypts to K times the secret key. Whoever learns a sum with such a part in it learns the key.
"""

from __future__ import annotations

import struct

import numpy as np
from numpy.typing import NDArray

from clients.encryption.contexts import Context
from clients.encryption.scheme import RING_DEGREE, SLOTS
from clients.masking import wire

PRIME = 18014398509293569


def _header(version: bytes, size: int) -> bytes:
    """SEAL's header of a stream that is not compressed."""
    return struct.pack("<HB2sBHQ", 0xA15E, 16, version, 0, 0, 16 + size)


def _varint(number: int) -> bytes:
    out = b""
    while number > 127:
        out, number = out + bytes([number & 127 | 128]), number >> 7
    return out + bytes([number])


def forge(context: Context, scale: float, second: NDArray[np.uint64]) -> bytes:
    """A block (0, second), `second` being a polynomial's values in the library's NTT order, uint64[4096]."""
    import tenseal

    honest = tenseal.ckks_vector(context.native, [0.0] * SLOTS, scale)
    raw, terms = honest.serialize(), honest.ciphertext()[0].parms_id()
    stream = raw.index(b"\x5e\xa1\x10")
    version, sizes = raw[stream + 3 : stream + 5], raw[: 2 + raw[1]]
    values = np.concatenate([np.zeros(RING_DEGREE, dtype="<u8"), second.astype("<u8")]).tobytes()
    array = struct.pack("<Q", 2 * RING_DEGREE) + values
    array = _header(version, len(array)) + array
    body = struct.pack("<4Q?QQQdQ", *terms, True, 2, RING_DEGREE, 1, scale, 1) + array
    body = _header(version, len(body)) + body
    return sizes + raw[len(sizes) : len(sizes) + 1] + _varint(len(body)) + body + raw[-9:]


def key_multiples(context: Context, scale: float, factor: int) -> bytes:
    """A piece of two blocks, whose real slots are the real and the imaginary parts of factor * key / scale."""
    root = next(pow(g, (PRIME - 1) // 4, PRIME) for g in range(2, 50) if pow(g, (PRIME - 1) // 2, PRIME) == PRIME - 1)
    half = np.arange(RING_DEGREE) < RING_DEGREE // 2
    # X^(N/2) is a square root of -1: times that, the imaginary part comes where the real one was.
    turned = np.where(half, np.uint64(factor * root % PRIME), np.uint64(PRIME - factor * root % PRIME))
    blocks = [forge(context, scale, np.full(RING_DEGREE, factor, dtype=np.uint64)), forge(context, scale, turned)]
    return wire.encode({"blocks": blocks})


def key_from(slots: NDArray[np.complex128], coefficients: int = 512) -> NDArray[np.float64]:
    """The first coefficients, float64, of the polynomial with these values in the slots."""
    powers = np.array([pow(3, k, 2 * RING_DEGREE) for k in range(SLOTS)])
    turns = np.outer(np.arange(coefficients), powers) % (2 * RING_DEGREE)
    out: NDArray[np.float64] = 2 / RING_DEGREE * (np.exp(-1j * np.pi / RING_DEGREE * turns) @ slots).real
    return out
