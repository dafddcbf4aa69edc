"""A sum of unprotected updates behind the masked aggregator's interface: for simulations and comparison.

There is no second trip: nobody is waited for after closing, and whoever runs this reads every update.
"""

from __future__ import annotations

from clients.masking.contribution import Contribution, Header
from clients.masking.session import Session
from clients.masking.unmasking import closed_set_hash
from server.aggregation.evidence import (
    AggregationError,
    ContributionRefused,
    ReplyRefused,
    RoundVoid,
    Unmasking,
    check_contribution,
    open_sum,
)
from server.aggregation.masked import OpenedSum


class PlainAggregator:
    """One unprotected sum: add contributions, close, open. See `server.aggregation.masked.Aggregator`.

    Attributes:
        session: the terms; its protection is `plain`.
    """

    unanswered: tuple[str, ...] = ()

    def __init__(self, session: Session) -> None:
        if session.protection != "plain":
            raise AggregationError("session: it is a masked one, use server.aggregation.masked")
        self.session = session
        self._total = session.ring.zeros(session.dimension)
        self._headers: dict[str, bytes] = {}
        self._commits: dict[str, bytes] = {}
        self._closed = False

    def add(self, member: str, contribution: Contribution, commit: bytes) -> None:
        """Checks a contribution against its ledger commitment and adds it to the sum.

        Raises:
            ContributionRefused: names the first thing that does not match; the sum is unchanged.
        """
        self.check(member, contribution, commit)
        ring = self.session.ring
        ring.add(self._total, ring.unpack(contribution.masked, self.session.dimension))
        self._headers[member], self._commits[member] = contribution.header, commit

    def check(self, member: str, contribution: Contribution, commit: bytes) -> Header:
        """What `add` would say of a contribution, without adding it; returns its header.

        Raises:
            ContributionRefused: as `add`.
        """
        if self._closed:
            raise ContributionRefused(f"contribution of {member}: the set is closed")
        if member in self._headers:
            raise ContributionRefused(f"contribution of {member}: it has already contributed")
        header, values, hashes = contribution.header, contribution.masked, contribution.pair_hashes
        return check_contribution(self.session, member, header, values, hashes, commit, ContributionRefused)

    def close(self) -> dict[str, bytes]:
        """Closes the set; returns {included member: encoded header} in roster order.

        Raises:
            RoundVoid: fewer contributions than the threshold.
        """
        if len(self._headers) < self.session.threshold:
            raise RoundVoid(
                f"round: {len(self._headers)} contributions, the threshold is {self.session.threshold}",
                self.dropped,
            )
        self._closed = True
        return {member: self._headers[member] for member in self.included}

    @property
    def included(self) -> tuple[str, ...]:
        """The firms that contributed, in roster order."""
        return tuple(member for member in self.session.members if member in self._headers)

    @property
    def dropped(self) -> tuple[str, ...]:
        """The firms that have not contributed, in roster order."""
        return tuple(member for member in self.session.members if member not in self._headers)

    def inbound_for(self, member: str) -> dict[str, bytes]:
        """Nothing: there are no shares."""
        return {}

    def accept(self, member: str, reply: bytes) -> None:
        """Refuses: nobody is asked a second time.

        Raises:
            ReplyRefused: always.
        """
        raise ReplyRefused(f"reply of {member}: a plain session has no second trip")

    def open(self) -> OpenedSum:
        """The sum, with an unmasking record that holds no seed.

        Raises:
            RoundVoid: the set is not closed, or a value is beyond what the firms can send.
        """
        if not self._closed:
            raise RoundVoid("round: the set is not closed yet")
        unmasking = Unmasking(self.session.sid, closed_set_hash(self.session, self._commits), {}, {})
        total = open_sum(self.session, self._total.copy(), unmasking, len(self._headers))
        return OpenedSum(total, self.included, unmasking.to_bytes())
