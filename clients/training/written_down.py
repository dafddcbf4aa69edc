"""Unit gradients written down one by one, by products over all rows of a unit at once."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from clients.tasks.architecture import LayerPass
from clients.tasks.row_products import block_products
from clients.training.clipping import clip_factors

Floats = NDArray[np.float64]

BYTES = 1 << 23  # of gradients at once


def written_down_sum(
    passes: tuple[LayerPass, ...], counts: NDArray[np.int64], chosen: NDArray[np.bool_], clip: float
) -> Floats:
    """The sum over the `chosen` units, bool[units], of their clipped gradients, each the sum of its rows' ones.

    What is clipped is what was written down, so rounding cannot take a unit past the clip, whatever cancels in it; and
    each unit is written down by itself, so that no other unit changes what is left of it.
    The gradients are finite, and so are their squared norms.
    """
    size = sum((one.inputs.shape[1] + 1) * one.slopes.shape[1] for one in passes)
    total = np.zeros(size)
    at_once = max(1, BYTES // (8 * size))
    starts = np.cumsum(counts) - counts
    for count in np.unique(counts[chosen]):
        firsts = starts[chosen & (counts == count)]
        for part in range(0, len(firsts), at_once):
            total += _alike(passes, firsts[part : part + at_once], int(count), clip)
    return total


def _alike(passes: tuple[LayerPass, ...], firsts: NDArray[np.int64], count: int, clip: float) -> Floats:
    """The clipped sum of units of `count` examples each that begin at the examples `firsts`."""
    units = len(firsts)
    every = (firsts[:, None] + np.arange(count)).ravel()
    rows: Any = slice(int(every[0]), int(every[-1]) + 1) if every[-1] - every[0] + 1 == len(every) else every
    tensors: list[Floats] = []
    for one in passes:
        slopes = _rows(one.slopes, rows, one.steps).reshape(units, count * one.steps, -1)
        if sparse.issparse(one.inputs):
            tensors.append(_sparse_products(one.inputs[rows], slopes))
        else:
            inputs = _rows(one.inputs, rows, one.steps).reshape(units, count * one.steps, -1)
            tensors.append(block_products(slopes.transpose(0, 2, 1), inputs).reshape(units, -1))
        tensors.append(block_products(np.ones((1, slopes.shape[1])), slopes)[:, 0])
    squares = sum((np.einsum("ij,ij->i", one, one) for one in tensors), np.zeros(units))
    factors = clip_factors(np.sqrt(squares), clip)
    return np.concatenate([factors @ one for one in tensors])


def _rows(values: Floats, rows: Any, steps: int) -> Floats:
    """The steps of the examples `rows`, a slice or int64[n]."""
    return np.asarray(values.reshape(-1, steps, values.shape[1])[rows])


def _sparse_products(inputs: Any, slopes: Floats) -> Floats:
    """Each unit's product of slopes [units, count, out] with CSR inputs [units * count, in], as [units, out * in].

    Every unit gets columns of its own, so that one sparse product serves all.
    """
    units, count, out = slopes.shape
    width = inputs.shape[1]
    which = np.repeat(np.arange(len(inputs.indptr) - 1) // count, np.diff(inputs.indptr))
    own = (inputs.data, inputs.indices + which * width, inputs.indptr)
    apart = sparse.csr_array(own, shape=(units * count, units * width))
    products = np.asarray(apart.T @ slopes.reshape(units * count, out)).reshape(units, width, out)
    return products.transpose(0, 2, 1).reshape(units, -1)
