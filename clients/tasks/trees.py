"""Public random trees: columns that widen a scorecard, drawn from a task spec alone.

An oblivious tree asks all records the same questions; the answers, read as a binary number with the first question in
front, name one of 2^depth leaves. The leaves are one one-hot group, like the bins of a feature. Ensembles of such trees
bring a linear model close to boosted ones (random features: Rahimi and Recht 2008; extremely randomised trees: Geurts
et al. 2006), and as no record is looked at, they cost no privacy.

How a tree is drawn is fixed for ever; a released model means nothing without it. Words are 8 bytes, little-endian, of
AES-256 in counter mode from zero, under the key SHA-256(`DOMAIN` || seed in ASCII). A number below n is the next word
modulo n; words from the last whole multiple of n below 2^64 on are passed over. Tree by tree, question by question: a
number below k takes a feature from the k of the spec that this tree has not taken yet, in the spec's order; a number
below the feature's questions takes one of these, in the order of `questions_of`.
"""

from __future__ import annotations

import hashlib

import numpy as np
from numpy.typing import NDArray

from clients.discrete_gaussian import below
from clients.noise import RandomStream
from clients.tasks.questions import Question, questions_of
from clients.tasks.spec import TaskSpec

DOMAIN = b"artesian public trees 1\n"


class PublicTrees:
    """The trees of a spec.

    Attributes:
        questions: of each tree, `depth` of them, all of different features.
        depth, leaves: questions and leaves of a tree; there are 2^depth leaves.
        start: the first of their columns.
        starts: int32[trees], the first column of each.
        features: int64[trees, depth], the position in the spec of the feature that each question is about.
    """

    def __init__(self, spec: TaskSpec, start: int) -> None:
        assert spec.trees is not None
        self.depth, self.leaves = spec.trees.depth, 1 << spec.trees.depth
        self.questions = draw_trees(spec)
        self.start = start
        self.starts = start + self.leaves * np.arange(len(self.questions), dtype=np.int32)
        position = {feature.code: place for place, feature in enumerate(spec.feature)}
        asked = list(dict.fromkeys(question for tree in self.questions for question in tree))
        self._of = np.array([position[question.code] for question in asked])
        self._yes = np.zeros((len(asked), max(len(question.yes) for question in asked)), dtype=np.bool_)
        for row, question in enumerate(asked):
            self._yes[row, : len(question.yes)] = question.yes
        index = {question: row for row, question in enumerate(asked)}
        self._asked = np.array([[index[question] for question in tree] for tree in self.questions])
        self.features = self._of[self._asked]

    @property
    def width(self) -> int:
        """One-hot columns of all trees."""
        return len(self.questions) * self.leaves

    def encode(self, bins: NDArray[np.int64]) -> NDArray[np.int32]:
        """int32[rows, trees]: the columns of records whose bins, counted inside each feature, are int64[rows, f]."""
        answers = np.stack([yes[bins[:, feature]] for feature, yes in zip(self._of, self._yes, strict=True)])
        leaf = np.zeros((len(self.questions), len(bins)), dtype=np.int32)
        for level in range(self.depth):
            leaf = 2 * leaf + answers[self._asked[:, level]]
        return np.asarray(leaf.T + self.starts)


def draw_trees(spec: TaskSpec) -> tuple[tuple[Question, ...], ...]:
    """The questions of every tree of a spec; those of fewer trees are the first ones of more."""
    assert spec.trees is not None
    stream = RandomStream(hashlib.sha256(DOMAIN + spec.trees.seed.encode("ascii")).digest())
    known = list(questions_of(spec).values())
    trees = []
    for _ in range(spec.trees.count):
        left = list(known)
        tree = []
        for _ in range(spec.trees.depth):
            questions = left.pop(_number_below(stream, len(left)))
            tree.append(questions[_number_below(stream, len(questions))])
        trees.append(tuple(tree))
    return tuple(trees)


def _number_below(stream: RandomStream, limit: int) -> int:
    while True:
        found = below(np.frombuffer(stream.bytes(8), dtype="<u8"), limit)
        if len(found):
            return int(found[0])
