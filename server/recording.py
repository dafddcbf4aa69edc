"""Keeping a run on record: append statements, collect the firms' cosignatures, hand out receipts."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from ledger.errors import LedgerError
from ledger.log import Log
from server.errors import ServerError

log = logging.getLogger("artesian.coordinator")


class NotWitnessed(ServerError):
    """Too few firms cosigned: the ledger is not final, and nothing goes on from here."""

    exit_code = 3


class Record:
    """The ledger as a run uses it. Knows how far each member has mirrored, and so what is news to whom."""

    def __init__(self, ledger: Log) -> None:
        self.ledger = ledger
        self._mirrored: dict[str, int] = {}

    def has_mirrored(self, member: str, size: int) -> None:
        """Remember how many entries a member's witness has."""
        self._mirrored[member] = size

    def append(self, statements: Sequence[bytes]) -> list[int]:
        """Put statements on the ledger; returns their entries."""
        return self.ledger.append(statements)

    def news_for(self, member: str) -> dict[str, Any]:
        """The message that brings a member's witness up to date."""
        note = self.ledger.checkpoint()
        known = min(self._mirrored.get(member, 0), self.ledger.size)
        return {
            "entries": self.ledger.entries(known, self.ledger.size),
            "checkpoint": note,
            "proof": self.ledger.consistency(known, self.ledger.size),
        }

    def take(self, replies: Iterable[tuple[str, Mapping[str, Any]]]) -> None:
        """Keep the cosignatures in members' replies; a wrong one is dropped and said, never counted."""
        for member, reply in replies:
            try:
                self.ledger.add_cosignatures([reply["cosignature"]], self.ledger.size)
            except LedgerError as error:
                log.warning("cosignature of %s refused: %s", member, error)
            else:
                self.has_mirrored(member, reply["mirrored"])

    def require_final(self) -> None:
        """Insist that everything so far is final.

        Raises:
            NotWitnessed: naming how much is not.
        """
        size, final = self.ledger.size, self.ledger.final_size
        if final < size:
            raise NotWitnessed(
                f"ledger: {size - final} of {size} entries are not final: too few firms cosigned; "
                "see that their clients run, then start again"
            )
