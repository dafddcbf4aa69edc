"""Which firms have contributed to one sum, and when that set is closed: alike for sums under masks, keys or neither."""

from __future__ import annotations

from clients.masking.contribution import Header
from clients.masking.session import Session
from clients.masking.unmasking import closed_set_hash
from server.aggregation.evidence import AggregationError, ContributionRefused, RoundVoid


class ClosingSum:
    """The base of every aggregator: each firm of the session contributes once, until the set is closed.

    Attributes:
        session: the terms.
    """

    def __init__(self, session: Session, protection: str) -> None:
        if session.protection != protection:
            raise AggregationError(f"session: it is {session.protection}; this aggregator takes {protection} ones")
        self.session = session
        self._headers: dict[str, Header] = {}
        self._encoded: dict[str, bytes] = {}  # the headers as they came
        self._commits: dict[str, bytes] = {}
        self._closed_set: bytes | None = None

    def _require_open_to(self, member: str) -> None:
        if self._closed_set is not None:
            raise ContributionRefused(f"contribution of {member}: the set is closed")
        if member in self._headers:
            raise ContributionRefused(f"contribution of {member}: it has already contributed")

    def _include(self, member: str, header: Header, encoded: bytes, commit: bytes) -> None:
        self._headers[member], self._encoded[member], self._commits[member] = header, encoded, commit

    def close(self) -> dict[str, bytes]:
        """Closes the set; later contributions are refused.

        Returns:
            {included member: encoded header}, in roster order, for the ledger and for the second trip.

        Raises:
            RoundVoid: fewer contributions than the threshold.
        """
        if len(self._headers) < self.session.threshold:
            raise RoundVoid(
                f"round: {len(self._headers)} contributions, the threshold is {self.session.threshold}; "
                f"missing {', '.join(self.dropped)}",
                self.dropped,
            )
        self._closed_set = closed_set_hash(self.session, self._commits)
        return {member: self._encoded[member] for member in self.included}

    @property
    def closed_set(self) -> bytes:
        """The hash of the closed set.

        Raises:
            RoundVoid: it is not closed yet.
        """
        if self._closed_set is None:
            raise RoundVoid("round: the set is not closed yet")
        return self._closed_set

    @property
    def included(self) -> tuple[str, ...]:
        """The firms that contributed, in roster order."""
        return tuple(member for member in self.session.members if member in self._headers)

    @property
    def dropped(self) -> tuple[str, ...]:
        """The firms that have not contributed, in roster order."""
        return tuple(member for member in self.session.members if member not in self._headers)
