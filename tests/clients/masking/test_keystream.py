"""Masks and keys against published vectors, and against other implementations of the same standards."""

from __future__ import annotations

import hashlib
import hmac

import numpy as np
import pytest
from Crypto.Cipher import AES

from clients.masking.derivation import commit, derive_key, framed
from clients.masking.keystream import apply_masks


def _mask(key: bytes, dimension: int) -> np.ndarray[tuple[int], np.dtype[np.uint32]]:
    total = np.zeros(dimension, dtype="<u4")
    apply_masks(total, [key], [])
    return total


def test_the_first_block_of_aes_256_under_the_zero_key() -> None:
    assert _mask(bytes(32), 4).tobytes().hex() == "dc95c078a2408989ad48a21492842087"


@pytest.mark.parametrize("dimension", [1, 5, 32_768, 32_769, 70_001])
def test_masks_are_the_ctr_keystream_whatever_the_block(dimension: int) -> None:
    key = hashlib.sha256(b"key").digest()
    expected = AES.new(key, AES.MODE_CTR, nonce=b"", initial_value=0).encrypt(bytes(4 * dimension))
    assert _mask(key, dimension).tobytes() == expected


def test_masks_that_are_added_and_subtracted_cancel() -> None:
    keys = [bytes([number]) * 32 for number in range(4)]
    total = np.arange(40_000, dtype="<u4")
    apply_masks(total, keys, reversed(keys))
    assert np.array_equal(total, np.arange(40_000))


def test_keys_are_hkdf_expand() -> None:
    """RFC 5869 section 2.3, one block."""
    info = b"artesian/masking/v1/" + framed(b"use", b"sid", b"a")
    expected = hmac.digest(b"s" * 32, info + b"\x01", "sha256")
    assert derive_key(b"s" * 32, "use", b"sid", b"a") == expected


def test_parts_are_kept_apart() -> None:
    assert len({commit("use", b"ab", b"c"), commit("use", b"a", b"bc"), commit("usea", b"b", b"c")}) == 3
    secret = bytes(32)
    assert derive_key(secret, "x", b"1", b"2") != derive_key(secret, "x", b"12")
