"""What a credit scorer answers: a score, a probability of default and the reasons for them."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True)
class Reason:
    """One reason for a score: a stable `code`, a `text` for people, the `points` it adds."""

    code: str
    text: str
    points: int


@dataclass(frozen=True)
class Score:
    """A score (higher is safer), the probability of default `pd` in [0, 1], the reasons, heaviest first."""

    score: int
    pd: float
    reasons: tuple[Reason, ...]


class Scorer(Protocol):
    """A published model that scores one applicant."""

    def score(self, features: Mapping[str, float | str | None]) -> Score:
        """Score one applicant: a number, a text, or None for a value that is missing.

        Raises:
            ClientError: a feature is unknown, of a wrong kind or out of its bounds; one line says which.
        """
        ...
