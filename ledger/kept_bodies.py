"""What is known of a body beside a log: bodies are no part of it, and can be kept, erased or missing.

An erased one leaves an empty row behind, so that it does not come back.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ledger.statement import Statement


class BodyState(StrEnum):
    """Where the body is that an entry names: taken just now, kept since before, erased, or missing."""

    TAKEN = "taken"
    KEPT = "kept"
    ERASED = "erased"
    MISSING = "missing"


@dataclass(frozen=True)
class Kept:
    """What is kept of a body.

    Attributes:
        size: its bytes; 0 once it was erased.
        owner: who handed it in, or erased it.
    """

    size: int
    owner: str

    @property
    def state(self) -> BodyState:
        """Kept or erased."""
        return BodyState.KEPT if self.size else BodyState.ERASED


def names_body(statement: Statement) -> bool:
    """Whether a statement commits to a body apart from the ledger."""
    return "body_sha256" in statement.payload
