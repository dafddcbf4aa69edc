"""Keys and commitments: HKDF-SHA256 for every key, one label for each use, parts framed by their lengths.

Every key is bound to a session id, and a session id never serves two updates.
"""

from __future__ import annotations

import hashlib

from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDFExpand

KEY_BYTES = 32
_LABEL = b"artesian/masking/v1/"


def derive_key(secret: bytes, use: str, *parts: bytes) -> bytes:
    """A 32-byte key for one `use`, bound to `parts` (RFC 5869, expand only: `secret` is uniform)."""
    return HKDFExpand(SHA256(), KEY_BYTES, _LABEL + framed(use.encode(), *parts)).derive(secret)


def commit(use: str, *parts: bytes) -> bytes:
    """SHA-256 over a label and length-prefixed parts. It hides a part only if that part is a random key."""
    return hashlib.sha256(_LABEL + framed(use.encode(), *parts)).digest()


def framed(*parts: bytes) -> bytes:
    """The parts, each after its length in 4 bytes: no two lists of parts give the same bytes."""
    return b"".join(len(part).to_bytes(4, "big") + part for part in parts)
