"""What training sees of a table: model inputs, targets, and which privacy unit each example belongs to."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import sparse


@dataclass(frozen=True)
class Examples:
    """`n` examples of `units` privacy units.

    Attributes:
        inputs: float64[n, d], dense or scipy CSR.
        targets: float64[n].
        offset: float64[n, outputs], a public part of the prediction that is not learned.
        unit: int64[n], ascending, in [0, units): the privacy unit of each example; every unit has one at least.
        units: number of privacy units.
        names: str[units], what each unit is called in the table, whatever its place there; None where a unit is a row,
            which has no name but what it says.
    """

    inputs: Any
    targets: NDArray[np.float64]
    offset: NDArray[np.float64]
    unit: NDArray[np.int64]
    units: int
    names: NDArray[np.str_] | None = None

    def __post_init__(self) -> None:
        # Everything about privacy hangs on these numbers: a gap among them would pass for one example a unit.
        steps = np.diff(self.unit, prepend=-1)
        if len(steps) and (steps[0] != 1 or steps.min() < 0 or steps.max() > 1):
            raise ValueError("examples must be sorted by their privacy unit, and no unit may be empty")
        if self.units != (int(self.unit[-1]) + 1 if len(self.unit) else 0):
            raise ValueError("examples: the number of privacy units is not that of the units named")
        if not self.inputs.shape[0] == len(self.targets) == len(self.offset) == len(self.unit):
            raise ValueError("examples: inputs, targets, offsets and units differ in length")
        if self.names is not None and len(self.names) != self.units:
            raise ValueError("examples: there are as many names as privacy units")

    @cached_property
    def row_norms(self) -> NDArray[np.float64]:
        """float64[n], the Euclidean norm of each row of the inputs."""
        return np.sqrt(row_squares(self.inputs))

    @cached_property
    def transposed(self) -> Any:
        """float64[d, n], the inputs' columns as rows: a gradient is a product with it."""
        return self.inputs.T.tocsr() if sparse.issparse(self.inputs) else self.inputs.T

    @cached_property
    def digest(self) -> bytes:
        """SHA-256 over all that is here, in this order."""
        inputs = (
            [self.inputs.data, self.inputs.indices, self.inputs.indptr]
            if sparse.issparse(self.inputs)
            else [self.inputs]
        )
        out = hashlib.sha256(repr((self.inputs.shape, None if self.names is None else self.names.tolist())).encode())
        for one in (*inputs, self.targets, self.offset, self.unit):
            out.update(hashlib.sha256(np.ascontiguousarray(one).data).digest())
        return out.digest()

    @property
    def one_each(self) -> bool:
        """Whether every unit has exactly one example."""
        return self.units == len(self.targets)

    def sample(self, chosen: NDArray[np.bool_]) -> Examples:
        """The examples of the units that `chosen` (bool[units]) names, renumbered."""
        keep = chosen[self.unit]
        renumbered = np.cumsum(chosen) - 1
        return Examples(
            self.inputs[keep],
            self.targets[keep],
            self.offset[keep],
            renumbered[self.unit[keep]].astype(np.int64),
            int(chosen.sum()),
            None if self.names is None else self.names[chosen],
        )


@dataclass(frozen=True)
class Divided:
    """A firm's examples: those that it trains on, and those that it holds out to vote with or to measure on, if any.

    Attributes:
        aside: bool[units] of the whole table, which units are held out; None where none are.
    """

    trained: Examples
    held_out: Examples | None
    aside: NDArray[np.bool_] | None = None

    @cached_property
    def digest(self) -> bytes:
        """SHA-256 of the table's examples and of how they are divided."""
        aside = b"" if self.held_out is None else self.held_out.digest
        return hashlib.sha256(self.trained.digest + aside).digest()


@dataclass(frozen=True)
class Dealt:
    """A firm's examples, each unit in one of several parts.

    Attributes:
        digest: 32 bytes that follow from the secret of the lots, the examples, and the number of parts: two deals that
            have the same are the same.
    """

    parts: tuple[Examples, ...]
    digest: bytes


def row_squares(inputs: Any) -> NDArray[np.float64]:
    """float64[n], the squared Euclidean norm of each row of float64[n, d], dense or CSR; each row is added up alone."""
    if sparse.issparse(inputs):
        squared = sparse.csr_array((inputs.data**2, inputs.indices, inputs.indptr), shape=inputs.shape)
        return np.asarray(squared @ np.ones(inputs.shape[1]))
    return np.asarray(np.einsum("ij,ij->i", inputs, inputs))


def one_hot(codes: NDArray[np.int32], width: int) -> sparse.csr_array:
    """Rows with one active column per group, scaled so that every row has Euclidean norm 1.

    Args:
        codes: int32[n, groups], the active column of each group.

    Returns:
        float64 CSR [n, width].
    """
    rows, groups = codes.shape
    data = np.full(rows * groups, 1.0 / np.sqrt(groups))
    pointers = np.arange(rows + 1, dtype=np.int64) * groups
    return sparse.csr_array((data, codes.ravel(), pointers), shape=(rows, width))


def average_within_units(unit: NDArray[np.int64], units: int) -> sparse.csr_array:
    """The matrix [units, n] that averages the examples of each unit."""
    counts = np.bincount(unit, minlength=units)
    weights = 1.0 / counts[unit]
    return sparse.csr_array((weights, (unit, np.arange(len(unit)))), shape=(units, len(unit)))
