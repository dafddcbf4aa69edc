"""The encrypted update that a firm is committed to: kept between its commitment and the closing of the set."""

from __future__ import annotations

import hashlib
from pathlib import Path

from clients.encryption.errors import CiphertextRefused
from ledger.whole_file import write_whole

_HASH_BYTES = 32


class KeptVector:
    """One vector with its header's hash, in a file, or in memory where `path` is None."""

    def __init__(self, path: Path | None) -> None:
        self._path = path
        self._memory = b""

    def keep(self, header: bytes, vector: bytes) -> None:
        """Keep a vector in place of the one before."""
        raw = hashlib.sha256(header).digest() + vector
        if self._path is None:
            self._memory = raw
            return
        write_whole(self._path, raw)

    def of(self, commit: bytes) -> bytes:
        """The vector whose header has this SHA-256.

        Raises:
            CiphertextRefused: it is not the one that was kept.
        """
        raw = self._memory if self._path is None else self._path.read_bytes() if self._path.exists() else b""
        if len(commit) != _HASH_BYTES or raw[:_HASH_BYTES] != commit:
            raise CiphertextRefused("update: the closed set does not hold the one that this firm is committed to")
        return raw[_HASH_BYTES:]
