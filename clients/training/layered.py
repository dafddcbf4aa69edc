"""The closed form of layered models: unit gradients' norms from what each layer saw (Goodfellow 2015).

An example's gradient by a weight is slope (outer) input, so its squared norm is the product of theirs, and the inner
product of two examples' gradients is (a_i . a_j)(d_i . d_j): a unit's mean gradient is measured without being written
down, and one product of inputs with clipped slopes gives the sum. Units of many rows are written down: it is cheaper.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from clients.tasks.architecture import LayeredArchitecture, LayerPass
from clients.tasks.examples import Examples
from clients.training.clipping import clip_factors
from clients.training.pairs import example_squares, squares_by_pairs, worth_pairing
from clients.training.unit_chunks import unit_chunks
from clients.training.written_down import written_down_sum

CHUNK_BYTES = 1 << 24
"""What the passes over one chunk of units keep: near a processor's cache, and enough rows for fast products."""

_LONGEST = 1e150
"""A unit whose examples' gradients have norms that add up to more, or to no number, adds nothing.

So far nothing overflows, in whatever order it is added. That a sum overflows may hang on what else is computed with it.
"""


def layered_gradient_sum(
    architecture: LayeredArchitecture, parameters: NDArray[np.float64], examples: Examples, clip: float
) -> NDArray[np.float64]:
    """The sum of clipped unit gradients, float64[size]; computed in float64, see docs/privacy.md."""
    total = np.zeros(architecture.size)
    for units, rows in unit_chunks(examples, CHUNK_BYTES // (8 * architecture.pass_values)):
        inputs = examples.inputs if rows.stop - rows.start == len(examples.unit) else examples.inputs[rows]
        with np.errstate(over="ignore", invalid="ignore"):
            passes = architecture.layer_passes(parameters, inputs, examples.offset[rows], examples.targets[rows])
            _add_chunk(total, passes, np.bincount(examples.unit[rows] - units.start), clip)
    return total


def _add_chunk(
    total: NDArray[np.float64], passes: tuple[LayerPass, ...], counts: NDArray[np.int64], clip: float
) -> None:
    """Add the clipped sum of whole units of `counts` examples each, in the order of the rows; spends the passes."""
    if counts.max() > 1:
        shares = np.repeat(1.0 / counts, counts)
        for one in passes:
            np.multiply(one.slopes, np.repeat(shares, one.steps)[:, None], out=one.slopes)
    each = example_squares(passes)
    lengths = np.bincount(np.repeat(np.arange(len(counts)), counts), weights=np.sqrt(each), minlength=len(counts))
    fit = lengths < _LONGEST
    paired = worth_pairing(passes, counts)
    if not paired.any():
        total += written_down_sum(passes, counts, fit, clip)
        return
    squares, exact = squares_by_pairs(passes, counts, paired, each)
    written = ~(paired & exact) & fit
    if written.any():
        total += written_down_sum(passes, counts, written, clip)
    factors = np.repeat(np.where(fit & ~written, clip_factors(np.sqrt(squares), clip), 0.0), counts)
    _add_products(total, passes, factors, None if fit.all() else np.repeat(fit, counts))


def _add_products(
    total: NDArray[np.float64],
    passes: tuple[LayerPass, ...],
    factors: NDArray[np.float64],
    left_in: NDArray[np.bool_] | None,
) -> None:
    """Add the rows' gradients times `factors`, float64[rows], layer by layer: weight, then bias.

    Rows that are not `left_in` may hold infinities, and zero times those is not zero.
    """
    start = 0
    for one in passes:
        slopes, inputs = np.multiply(one.slopes, factors[:, None], out=one.slopes), one.inputs
        if left_in is not None:
            slopes = np.where(left_in[:, None], slopes, 0.0)
            inputs = inputs if sparse.issparse(inputs) else np.where(left_in[:, None], inputs, 0.0)
        shape = slopes.shape[1], inputs.shape[1]
        bias = start + shape[0] * shape[1]
        weight = total[start:bias].reshape(shape)
        weight += (inputs.T @ slopes).T if sparse.issparse(inputs) else slopes.T @ inputs
        total[bias : bias + shape[0]] += slopes.sum(axis=0)
        start = bias + shape[0]
