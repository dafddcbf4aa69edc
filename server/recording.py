"""Keeping a run on record: append statements, collect the firms' cosignatures, hand out receipts."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
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

    def news_for(self, members: Sequence[str]) -> dict[str, dict[str, Any]]:
        """The message that brings each member's witness up to date; most members lack the same entries."""
        note, size = self.ledger.checkpoint(), self.ledger.size
        known = {member: min(self._mirrored.get(member, 0), size) for member in members}
        news = {
            start: {
                "entries": self.ledger.entries(start, size),
                "checkpoint": note,
                "proof": self.ledger.consistency(start, size),
            }
            for start in set(known.values())
        }
        return {member: news[start] for member, start in known.items()}

    def take(self, replies: Sequence[tuple[str, Mapping[str, Any]]]) -> None:
        """Keep the cosignatures in members' replies; a wrong one is dropped and said, never counted."""
        lines = {member: reply["cosignature"] for member, reply in replies}
        mirrored = {member: reply["mirrored"] for member, reply in replies}
        try:
            self.ledger.add_cosignatures(lines.values(), self.ledger.size)
        except LedgerError:
            self._take_one_by_one(lines, mirrored)
        else:
            self._mirrored.update(mirrored)

    def _take_one_by_one(self, lines: Mapping[str, str], mirrored: Mapping[str, int]) -> None:
        for member, line in lines.items():
            try:
                self.ledger.add_cosignatures([line], self.ledger.size)
            except LedgerError as error:
                log.warning("cosignature of %s refused: %s", member, error)
            else:
                self._mirrored[member] = mirrored[member]

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
