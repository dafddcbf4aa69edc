"""What each feature of a scorecard costs an applicant: its own bin, and a share of the trees that ask about it.

Costs are against one reference profile of bins that a record can be in, the same for every applicant: for a plain
feature the bin whose log-odds are least, its own and, of each tree that asks about it, the mean over all answers to
the tree's other questions; for a cross its best bin. What an applicant's leaf costs against the profile's is divided
among the tree's features by the Shapley value (Shapley 1953; Lundberg and Lee 2017): turn the answers into the
profile's one after the other, and take the mean over all orders of what each turn gains. Three things follow. All
costs add up to what lies between applicant and profile. A feature in the profile's bin costs nothing. A tree counts
for no feature that it does not ask about.
"""

from __future__ import annotations

from math import factorial

import numpy as np
from numpy.typing import NDArray

from clients.tasks.encoding import Encoder
from clients.tasks.trees import PublicTrees


class ScorecardPoints:
    """The costs of one scorecard.

    Attributes:
        profile: int64[groups], the bin of each feature in the reference profile, counted inside its group.
    """

    def __init__(self, encoder: Encoder, weights: NDArray[np.float64]) -> None:
        """Args: weights: float64[width], what each active column adds to the log-odds of default."""
        self._weights, self._trees = weights, encoder.trees
        self._starts = np.array([group.start for group in encoder.groups])
        costs = [weights[group.start : group.start + group.width].copy() for group in encoder.groups]
        if self._trees is not None:
            leaves = weights[self._trees.start :].reshape(-1, self._trees.leaves)
            _add_main_effects(costs, self._trees, leaves)
            self._leaves, self._division = leaves, _shapley(self._trees.depth)
        # Nobody is told to have lost points against a bin that nobody can be in; its weight is noise.
        held = [np.where(group.possible, one, np.inf) for group, one in zip(encoder.groups, costs, strict=True)]
        self.profile = np.array([int(np.argmin(one)) for one in held])

    def costs(self, codes: NDArray[np.int32]) -> NDArray[np.float64]:
        """float64[groups]: what each feature adds to an applicant's log-odds, against the profile.

        Args:
            codes: int32[groups + trees], the active columns.
        """
        groups = len(self._starts)
        out: NDArray[np.float64] = self._weights[codes[:groups]] - self._weights[self._starts + self.profile]
        if self._trees is not None:
            np.add.at(out, self._trees.features, self._tree_costs(codes[groups:], self._trees))
        return out

    def _tree_costs(self, codes: NDArray[np.int32], trees: PublicTrees) -> NDArray[np.float64]:
        """float64[trees, depth]: what each question costs."""
        starts = trees.starts
        own, best = codes - starts, trees.encode(self.profile[None, :])[0] - starts
        turned = np.arange(trees.leaves)  # which answers have become the profile's, as bits
        mixed = (own[:, None] & ~turned) | (best[:, None] & turned)
        return np.asarray(np.take_along_axis(self._leaves, mixed, axis=1) @ self._division)


def _add_main_effects(costs: list[NDArray[np.float64]], trees: PublicTrees, leaves: NDArray[np.float64]) -> None:
    """Add to each feature's bins, float64[bins], the mean of a tree's leaves for the bin's answer to its question."""
    cube = leaves.reshape(-1, *[2] * trees.depth)
    for level in range(trees.depth):
        others = tuple(axis for axis in range(1, trees.depth + 1) if axis != level + 1)
        means = cube.mean(axis=others)  # float64[trees, 2]
        for tree, questions in enumerate(trees.questions):
            costs[trees.features[tree, level]] += means[tree][np.array(questions[level].yes, dtype=np.int64)]


def _shapley(depth: int) -> NDArray[np.float64]:
    """float64[2^depth, depth]: what a value at each set of turned answers counts in each question's cost."""
    out = np.empty((2**depth, depth))
    for turned in range(2**depth):
        size = turned.bit_count()
        for level in range(depth):
            before = size - 1 if turned >> (depth - 1 - level) & 1 else size
            weight = factorial(before) * factorial(depth - before - 1) / factorial(depth)
            out[turned, level] = weight if before == size else -weight
    return out
