"""Keeping a run on record: append statements, have them made final by the firms' cosignatures, hand out receipts."""

from __future__ import annotations

import logging
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any

from ledger.errors import LedgerError
from ledger.keys import PublicKey
from ledger.log import Log
from ledger.open_ledger import OpenLedger
from server.errors import ServerError

log = logging.getLogger("artesian.coordinator")


class NotWitnessed(ServerError):
    """Too few firms cosigned: the ledger is not final, and nothing goes on from here."""

    exit_code = 3


class Record(ABC):
    """The ledger as a run uses it, and how far each member's witness is."""

    def __init__(self, ledger: OpenLedger) -> None:
        self.ledger = ledger

    @abstractmethod
    def has_mirrored(self, member: str, size: int) -> None:
        """Remember how many entries a member's witness has, by its own word."""

    @abstractmethod
    def follows(self, member: str) -> bool:
        """Whether a member's witness has every entry that was last to be made final."""

    @abstractmethod
    def require_final(self) -> str:
        """Insist that everything so far is final; returns the checkpoint with its cosignatures.

        Raises:
            NotWitnessed: naming how much is not.
        """

    def append(self, statements: Sequence[bytes]) -> list[int]:
        """Put statements on the ledger; returns their entries."""
        return self.ledger.append(statements)

    def enrolled_key(self, member: str) -> PublicKey | None:
        """The signing key under which a firm is enrolled now; None if no active firm has this id."""
        state = self.ledger.state
        known = state.members.get(member)
        return known.key if known is not None and state.is_enrolled(member, "firm") else None


class MessagedRecord(Record):
    """A ledger that this process has opened; members' witnesses get its news, and answer, in Flower's messages.

    Knows how far each member has mirrored, and so what is news to whom.
    """

    def __init__(self, ledger: Log) -> None:
        super().__init__(ledger)
        self._log = ledger
        self._mirrored: dict[str, int] = {}
        self._unconfirmed: set[str] = set()

    def has_mirrored(self, member: str, size: int) -> None:
        """Remember how many entries a member's witness has, by its own word."""
        self._mirrored[member] = size
        self._unconfirmed.discard(member)

    def unconfirmed(self, members: Sequence[str]) -> list[str]:
        """Those who were sent news and did not confirm it: they may have mirrored it or not, and must be asked."""
        return [member for member in members if member in self._unconfirmed]

    def follows(self, member: str) -> bool:
        """Whether a member's witness has every entry."""
        return self._mirrored.get(member) == self._log.size and member not in self._unconfirmed

    def news_for(self, members: Sequence[str]) -> dict[str, dict[str, Any]]:
        """The message that brings each member's witness up to date; most members lack the same entries."""
        note, size, final = self._log.checkpoint(), self._log.size, self._log.final() or ""
        known = {member: max(0, min(self._mirrored.get(member, 0), size)) for member in members}
        news = {
            start: {
                "entries": self._log.entries(start, size),
                "checkpoint": note,
                "proof": self._log.consistency(start, size),
                "final": final,
            }
            for start in set(known.values())
        }
        self._unconfirmed.update(members)
        return {member: news[start] for member, start in known.items()}

    def take(self, replies: Sequence[tuple[str, Mapping[str, Any]]]) -> None:
        """Keep the cosignatures in members' replies; a wrong one is dropped and said, never counted."""
        lines = {member: reply["cosignature"] for member, reply in replies}
        try:
            self._log.add_cosignatures(lines.values(), self._log.size)
        except LedgerError:
            confirmed = [member for member, line in lines.items() if self._is_kept(member, line)]
        else:
            confirmed = list(lines)
        for member, reply in replies:
            if member in confirmed:
                self.has_mirrored(member, reply["mirrored"])

    def _is_kept(self, member: str, line: str) -> bool:
        try:
            self._log.add_cosignatures([line], self._log.size)
        except LedgerError as error:
            log.warning("cosignature of %s refused: %s", member, error)
            return False
        return True

    def require_final(self) -> str:
        """Insist that everything so far is final; returns the checkpoint with its cosignatures.

        Raises:
            NotWitnessed: naming how much is not.
        """
        size, final = self._log.size, self._log.final_size
        note = self._log.final()
        if note is None or final < size:
            raise NotWitnessed(
                f"ledger: {size - final} of {size} entries are not final: too few firms cosigned; "
                "see that their clients run, then start again"
            )
        return note
