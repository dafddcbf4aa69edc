"""Products of rows with one matrix, in which no row's result depends on the other rows.

A plain matrix product computes the rows at the edge of its blocks by another kernel: with a row more or less, the last
bits of *other* rows change. A parent model chosen for it (huge weights that cancel) turns a last bit into the sign of
an output, and so one unit would change what another one adds. Here every row is a BLAS call of its own, with the same
shape, strides, alignment and matrix, so its result is a function of that row and of the matrix.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

Floats = NDArray[np.float64]

_ALIGNMENT = 64
"""Bytes: some kernels treat the first values apart until they are aligned, so all rows are aligned alike."""


def row_products(rows: Any, matrix: Floats) -> Floats:
    """float64[n, out]: each row times the matrix; bit for bit the same whatever the other rows are.

    Args:
        rows: float64[n, in], dense or CSR (whose product goes row by row anyway).
        matrix: float64[in, out].
    """
    if sparse.issparse(rows):
        return np.asarray(rows @ matrix)
    return block_products(rows[:, None, :], matrix)[:, 0]


def block_products(blocks: Floats, matrices: Floats) -> Floats:
    """float64[n, rows, out]: each block of rows times the matrix, or its own one; a BLAS call for every block.

    Args:
        blocks: float64[n, rows, in] or, for all matrices, [rows, in].
        matrices: float64[in, out] or, one for each block, [n, in, out].
    """
    left, right = _aligned(blocks), _aligned(matrices)
    n = len(left) if left.ndim == 3 else len(right)
    out = _aligned_room((n, left.shape[-2], right.shape[-1]))
    return np.ascontiguousarray(np.matmul(left, right, out=out))


def _aligned(blocks: Floats) -> Floats:
    """A copy of the values, each block in row-major order from an aligned address."""
    out = _aligned_room(blocks.shape)
    out[...] = blocks
    return out


def _aligned_room(shape: tuple[int, ...]) -> Floats:
    """Room for float64[rows, columns] or [n, rows, columns]: row-major blocks that begin at aligned addresses."""
    rows, columns = shape[-2:]
    n = shape[0] if len(shape) == 3 else 1
    per_step = _ALIGNMENT // 8
    step = -(-rows * columns // per_step) * per_step
    memory = np.empty(n * step + per_step)
    first = -memory.ctypes.data % _ALIGNMENT // 8
    blocks = memory[first : first + n * step].reshape(n, step)[:, : rows * columns].reshape(n, rows, columns)
    return blocks if len(shape) == 3 else blocks[0]
