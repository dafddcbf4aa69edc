"""A sum of unprotected updates behind the masked aggregator's interface: for simulations and comparison.

There is no second trip: nobody is waited for after closing, and whoever runs this reads every update.
"""

from __future__ import annotations

from clients.masking.contribution import Contribution, Header
from clients.masking.session import Session
from server.aggregation.closing import ClosingSum
from server.aggregation.evidence import (
    ContributionRefused,
    ReplyRefused,
    Unmasking,
    check_contribution,
    open_sum,
)
from server.aggregation.masked import OpenedSum


class PlainAggregator(ClosingSum):
    """One unprotected sum: add contributions, close, open. See `server.aggregation.masked.Aggregator`.

    Attributes:
        session: the terms; its protection is `plain`.
    """

    unanswered: tuple[str, ...] = ()

    def __init__(self, session: Session) -> None:
        super().__init__(session, "plain")
        self._total = session.ring.zeros(session.dimension)

    def add(self, member: str, contribution: Contribution, commit: bytes) -> None:
        """Checks a contribution against its ledger commitment and adds it to the sum.

        Raises:
            ContributionRefused: names the first thing that does not match; the sum is unchanged.
        """
        header = self.check(member, contribution, commit)
        ring = self.session.ring
        ring.add(self._total, ring.unpack(contribution.masked, self.session.dimension))
        self._include(member, header, contribution.header, commit)

    def check(self, member: str, contribution: Contribution, commit: bytes) -> Header:
        """What `add` would say of a contribution, without adding it; returns its header.

        Raises:
            ContributionRefused: as `add`.
        """
        self._require_open_to(member)
        header, values, hashes = contribution.header, contribution.masked, contribution.pair_hashes
        return check_contribution(self.session, member, header, values, hashes, commit, ContributionRefused)

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
        unmasking = Unmasking(self.session.sid, self.closed_set, {}, {})
        total = open_sum(self.session, self._total.copy(), unmasking, len(self._headers))
        return OpenedSum(total, self.included, unmasking.to_bytes())
