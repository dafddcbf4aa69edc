"""The norms of units' mean gradients from inner products of their examples, two by two."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from clients.tasks.architecture import LayerPass
from clients.tasks.examples import row_squares
from clients.training.clipping import HAIR

Floats = NDArray[np.float64]

_PAIR_VALUE = 48.0
"""What one value of a pair costs, in multiplications of a matrix product: it is gathered, not streamed. Measured."""

_WRITTEN_VALUE = 42.0
"""What one value of a gradient that is written down costs beside the products, in the same measure."""

_WRITTEN_SPARSE = 2.0  # how much more where the layer's inputs are sparse and its gradient is not

_BLOCK_VALUES = 1 << 20  # gathered at once

_CANCELLED = 1e-3  # the least share that `_cancelled` gives: that of layers of up to some 9,000 values


def worth_pairing(passes: tuple[LayerPass, ...], counts: NDArray[np.int64]) -> NDArray[np.bool_]:
    """bool[units]: whose norm costs less by pairs of its examples than by writing its gradient down.

    Args:
        counts: int64[units], the examples of each unit.
    """
    if any(one.steps > 1 for one in passes):
        return np.zeros(len(counts), dtype=bool)  # every step would be paired with every other
    rows = len(passes[0].slopes)
    read = sum((_values(one.inputs) / rows + one.slopes.shape[1]) for one in passes)
    products = sum(_values(one.inputs) / rows * one.slopes.shape[1] for one in passes)
    written = sum(
        one.inputs.shape[1] * one.slopes.shape[1] * (_WRITTEN_SPARSE if sparse.issparse(one.inputs) else 1.0)
        for one in passes
    )
    by_pairs = counts * (counts - 1) / 2 * read * _PAIR_VALUE
    return np.asarray(by_pairs <= counts * products + written * _WRITTEN_VALUE)


def _values(inputs: Any) -> int:
    return int(inputs.nnz if sparse.issparse(inputs) else inputs.size)


def example_squares(passes: tuple[LayerPass, ...]) -> Floats:
    """float64[n]: the squared norm of each example's gradient; where a layer sees several steps, no less than it."""
    return np.asarray(sum(_squares(one) for one in passes))


def _squares(one: LayerPass) -> Floats:
    squares = (row_squares(one.inputs) + 1.0) * row_squares(one.slopes)
    if one.steps == 1:
        return squares
    return np.asarray(np.sqrt(squares).reshape(-1, one.steps).sum(axis=1) ** 2)


def squares_by_pairs(
    passes: tuple[LayerPass, ...], counts: NDArray[np.int64], chosen: NDArray[np.bool_], each: Floats
) -> tuple[Floats, NDArray[np.bool_]]:
    """Squared norms of the units' gradients, for those `chosen`, each the sum of its examples' gradients.

    Args:
        each: float64[n], the `example_squares` of the passes.

    Returns:
        float64[units], not finite where a gradient is not; and bool[units], whether its norm errs by less than `HAIR`.
    """
    unit = np.repeat(np.arange(len(counts)), counts)
    if len(unit) == len(counts):
        return each, np.ones(len(counts), dtype=bool)
    squares: Floats = np.bincount(unit, weights=each, minlength=len(counts)).astype(np.float64)
    largest = np.bincount(unit, weights=np.sqrt(each), minlength=len(counts)) ** 2
    first, second = _pairs(counts, chosen)
    block = max(1, _BLOCK_VALUES // max(p.slopes.shape[1] + p.inputs.shape[1] for p in passes))
    for start in range(0, len(first), block):
        i, j = first[start : start + block], second[start : start + block]
        products = sum(
            ((_dots(p.inputs[i], p.inputs[j]) + 1.0) * _dots(p.slopes[i], p.slopes[j]) for p in passes),
            np.zeros(len(i)),
        )
        squares += 2.0 * np.bincount(unit[i], weights=products, minlength=len(counts))
    return squares, ~(squares < _cancelled(passes, counts) * largest)


def _cancelled(passes: tuple[LayerPass, ...], counts: NDArray[np.int64]) -> Floats:
    """float64[units]: below this share of (sum of norms)**2 a unit's examples cancel, and its norm would lose digits.

    Whatever the order of its sums, a square errs by less than terms * 2**-52 times that square of norms, where terms
    are the values of the inner products and what is added up of them: the examples and their pairs (Higham 2002, 3.1).
    The norm errs by half of the square's share, so above terms * 2**-52 / (2 HAIR) by less than the hair.
    """
    terms = sum(p.inputs.shape[1] + p.slopes.shape[1] for p in passes) + counts * (counts + 1) / 2
    return np.asarray(np.maximum(_CANCELLED, terms * (2.0**-52 / (2.0 * HAIR))))


def _dots(a: Any, b: Any) -> Floats:
    """float64[rows]: the inner product of each row of `a` with that of `b`."""
    if sparse.issparse(a):
        return np.asarray(a.multiply(b).sum(axis=1), dtype=np.float64).ravel()
    return np.asarray(np.einsum("ij,ij->i", a, b))


def _pairs(counts: NDArray[np.int64], chosen: NDArray[np.bool_]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """All pairs of rows (first, second), first before second, inside each chosen unit."""
    later = np.repeat(np.cumsum(counts), counts) - np.arange(counts.sum()) - 1
    later = np.where(np.repeat(chosen, counts), later, 0)
    first = np.repeat(np.arange(len(later)), later)
    second = np.arange(len(first)) - np.repeat(np.cumsum(later) - later, later) + first + 1
    return first, second
