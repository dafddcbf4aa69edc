"""Masks: AES-256-CTR generates them. A key is of one session, which never serves two updates: none is used twice."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from cryptography.hazmat.primitives.ciphers import Cipher, CipherContext, algorithms, modes

from clients.masking.ring import Residues

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
