"""Masks and keys: AES-256-CTR as the mask generator, HKDF-SHA256 for every key, one label for each use.

Every key is bound to a session id, and a session id never serves two updates, so no keystream is used twice.
"""

from __future__ import annotations

import hashlib

import numpy as np
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDFExpand

from clients.masking.ring import Residues

KEY_BYTES = 32
_LABEL = b"artesian/masking/v1/"
_ZERO_COUNTER = bytes(16)


class MaskGenerator:
    """Writes masks into one buffer that it owns, so that a round of many masks allocates once.

    Attributes:
        dimension: values in a mask.
    """

    def __init__(self, dimension: int) -> None:
        self.dimension = dimension
        self._zeros = bytes(4 * dimension)
        self._mask: Residues = np.zeros(dimension, dtype="<u4")
        self._buffer = self._mask.view(np.uint8).data

    def mask(self, key: bytes) -> Residues:
        """The mask uint32[dimension] of a 32-byte key: the keystream from counter zero, little-endian.

        The array is overwritten by the next call.
        """
        encryptor = Cipher(algorithms.AES(key), modes.CTR(_ZERO_COUNTER)).encryptor()
        encryptor.update_into(self._zeros, self._buffer)
        return self._mask


def derive_key(secret: bytes, use: str, *parts: bytes) -> bytes:
    """A 32-byte key for one `use`, bound to `parts` (RFC 5869, expand only: `secret` is uniform)."""
    return HKDFExpand(SHA256(), KEY_BYTES, _LABEL + framed(use.encode(), *parts)).derive(secret)


def commit(use: str, *parts: bytes) -> bytes:
    """SHA-256 over a label and length-prefixed parts. It hides a part only if that part is a random key."""
    return hashlib.sha256(_LABEL + framed(use.encode(), *parts)).digest()


def framed(*parts: bytes) -> bytes:
    """The parts, each after its length in 4 bytes: no two lists of parts give the same bytes."""
    return b"".join(len(part).to_bytes(4, "big") + part for part in parts)
