"""Masks and keys: AES-256-CTR as the mask generator, HKDF-SHA256 for every key, one label for each use.

Every key is bound to a session id, and a session id never serves two updates, so no keystream is used twice.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable

import numpy as np
from cryptography.hazmat.primitives.ciphers import Cipher, CipherContext, algorithms, modes
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDFExpand

from clients.masking.ring import Residues

KEY_BYTES = 32
_LABEL = b"artesian/masking/v1/"
_ZERO_COUNTER = bytes(16)


_BLOCK_VALUES = 1 << 15  # a block of the sum and of one mask, 256 KiB together, stay in the processor's cache


def apply_masks(total: Residues, added: Iterable[bytes], subtracted: Iterable[bytes]) -> None:
    """Adds and subtracts masks, in place.

    The mask of a 32-byte key is its keystream from counter zero, read as little-endian words of 32 bits.

    Args:
        total: uint32[d], contiguous.
        added: keys of the masks to add.
        subtracted: keys of the masks to subtract.
    """
    plus, minus = [_keystream(key) for key in added], [_keystream(key) for key in subtracted]
    mask: Residues = np.empty(min(len(total), _BLOCK_VALUES), dtype="<u4")
    zeros, buffer = memoryview(bytes(mask.nbytes)), mask.view(np.uint8).data
    for start in range(0, len(total), _BLOCK_VALUES):
        block = total[start : start + _BLOCK_VALUES]
        for keystream in plus:
            keystream.update_into(zeros[: block.nbytes], buffer)
            np.add(block, mask[: len(block)], out=block)
        for keystream in minus:
            keystream.update_into(zeros[: block.nbytes], buffer)
            np.subtract(block, mask[: len(block)], out=block)


def _keystream(key: bytes) -> CipherContext:
    return Cipher(algorithms.AES(key), modes.CTR(_ZERO_COUNTER)).encryptor()


def derive_key(secret: bytes, use: str, *parts: bytes) -> bytes:
    """A 32-byte key for one `use`, bound to `parts` (RFC 5869, expand only: `secret` is uniform)."""
    return HKDFExpand(SHA256(), KEY_BYTES, _LABEL + framed(use.encode(), *parts)).derive(secret)


def commit(use: str, *parts: bytes) -> bytes:
    """SHA-256 over a label and length-prefixed parts. It hides a part only if that part is a random key."""
    return hashlib.sha256(_LABEL + framed(use.encode(), *parts)).digest()


def framed(*parts: bytes) -> bytes:
    """The parts, each after its length in 4 bytes: no two lists of parts give the same bytes."""
    return b"".join(len(part).to_bytes(4, "big") + part for part in parts)
