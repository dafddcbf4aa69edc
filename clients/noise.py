"""Random bits for privacy noise, stochastic rounding and sampling: AES-256-CTR under a fresh or a seeded key.

Torch's and numpy's global generators are never used for noise: one shared `manual_seed` would give every firm the
same noise, and their streams can be predicted from their output.
"""

from __future__ import annotations

import hashlib
import json
import os

import numpy as np
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from numpy.typing import NDArray


class RandomStream:
    """A stream of pseudorandom bytes from AES-256 in counter mode (NIST SP 800-38A) under a 32-byte key."""

    def __init__(self, key: bytes) -> None:
        self._encryptor = Cipher(algorithms.AES(key), modes.CTR(bytes(16))).encryptor()

    @classmethod
    def secure(cls) -> RandomStream:
        """A stream under a fresh key of the operating system's generator: what a firm uses."""
        return cls(os.urandom(32))

    @classmethod
    def seeded(cls, seed: int, *labels: str | int) -> RandomStream:
        """A reproducible stream for experiments; different labels give independent streams."""
        text = json.dumps(["artesian experiment", seed, *labels])  # no two lists of labels have one spelling
        return cls(hashlib.sha256(text.encode()).digest())

    def bytes(self, count: int) -> bytes:
        """The next `count` bytes."""
        return self._encryptor.update(bytes(count))

    def uniform(self, count: int) -> NDArray[np.float64]:
        """float64[count], uniform on the open interval (0, 1) in steps of 2**-52."""
        # 52 bits, not 53: with 53 the largest word plus a half rounds up, and 1.0 itself comes out.
        words = np.frombuffer(self.bytes(8 * count), dtype="<u8") >> np.uint64(12)
        return (words.astype(np.float64) + 0.5) * 2.0**-52

    def bernoulli(self, count: int, rate: float) -> NDArray[np.bool_]:
        """bool[count], each true with probability `rate`: a Poisson sample."""
        return np.asarray(self.uniform(count) < rate)
