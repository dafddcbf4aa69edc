"""Yes-or-no questions about the public bins of a feature: what random trees are made of, from a spec alone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from clients.tasks.spec import Feature, TaskSpec


@dataclass(frozen=True)
class Question:
    """A question about the feature `code`: `yes[k]` is the answer of its bin k, `text` the question in words."""

    code: str
    text: str
    yes: tuple[bool, ...]


def can_be_missing(spec: TaskSpec) -> dict[str, bool]:
    """Whether a record can be without a value of each column and each derived number, by name."""
    missing = {column.name: column.missing == "allowed" for column in spec.column}
    for derived in spec.derived:
        # A ratio has no value where its denominator is not positive.
        missing[derived.name] = derived.op == "ratio" or any(missing[name] for name in derived.of)
    return missing


def questions_of(spec: TaskSpec) -> dict[str, tuple[Question, ...]]:
    """The questions about each feature that trees may ask about, in the order of the spec.

    A number is asked whether it reaches each of its inner edges; a missing one does not. A category or a flag is asked
    whether it is in each of its bins; of two bins the first is enough. Where a value can be missing, that is a question
    too. Crosses are not asked about, nor features of a single bin: every answer would be the same.
    """
    missing = can_be_missing(spec)
    flags = {column.name for column in spec.column if column.kind == "flag"}
    values = {column.name: column.values for column in spec.column if column.kind == "category"}
    computed = {derived.name for derived in spec.derived}
    chosen = () if spec.trees is None else spec.trees.features
    out = {}
    for feature in spec.feature:
        if feature.source is None or (chosen and feature.code not in chosen):
            continue
        source = feature.source
        if feature.bins:
            questions = _of_number(feature, missing[source], "cannot be computed" if source in computed else "missing")
        else:
            choices = feature.groups or tuple((value,) for value in values.get(source, ()))
            labels = ("no", "yes") if source in flags else tuple("/".join(members) for members in choices)
            questions = _of_choice(feature, labels, missing[source])
        if questions:
            out[feature.code] = questions
    return out


def _of_number(feature: Feature, can_be_missing: bool, absent: str) -> tuple[Question, ...]:
    absent_bin = len(feature.bins) + 1
    asked = []
    for k, edge in enumerate(feature.bins):
        reaches = tuple(k < place < absent_bin for place in range(absent_bin + 1))
        asked.append(Question(feature.code, f"{feature.text}: {edge:g} or more", reaches))
    return (*asked, *([_of_bin(feature, absent, absent_bin, absent_bin + 1)] if can_be_missing else []))


def _of_choice(feature: Feature, labels: Sequence[str], can_be_missing: bool) -> tuple[Question, ...]:
    bins = len(labels) + 1
    possible = [*labels, "missing"] if can_be_missing else [*labels]
    asked = tuple(_of_bin(feature, label, place, bins) for place, label in enumerate(possible))
    return asked if len(asked) > 2 else asked[:-1]


def _of_bin(feature: Feature, label: str, place: int, bins: int) -> Question:
    return Question(feature.code, f"{feature.text}: {label}", tuple(k == place for k in range(bins)))
