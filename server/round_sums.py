"""The sums that a round is made of: each has its own session, its own aggregator and its own opening."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from clients.encryption.contexts import public_context
from clients.masking.session import Session
from server.aggregation.encrypted import EncryptedAggregator
from server.aggregation.evidence import ContributionRefused
from server.aggregation.masked import Aggregator
from server.aggregation.plain import PlainAggregator
from server.artifacts import ArtifactStore

AnyAggregator = Aggregator | EncryptedAggregator | PlainAggregator


def aggregator_of(session: Session, artifacts: ArtifactStore) -> AnyAggregator:
    """The empty sum of a session; the public context of an encrypted one is in the store."""
    if session.protection == "encrypted":
        return EncryptedAggregator(session, public_context(artifacts.get(session.context, "public context")))
    return Aggregator(session) if session.protection == "masked" else PlainAggregator(session)


class RoundSums:
    """The sums of one round. Every firm of the cohort is in exactly one of them."""

    def __init__(self, sessions: Sequence[Session], artifacts: ArtifactStore) -> None:
        self._sums = tuple(aggregator_of(session, artifacts) for session in sessions)

    def __iter__(self) -> Iterator[AnyAggregator]:
        return iter(self._sums)

    def of(self, member: str) -> AnyAggregator:
        """The sum that a firm's contribution goes into.

        Raises:
            ContributionRefused: the firm is in none of them.
        """
        for one in self._sums:
            if member in one.session:
                return one
        raise ContributionRefused(f"contribution of {member}: not in the session's roster")

    def close(self) -> list[dict[str, bytes]]:
        """Close every sum; returns the encoded headers by included firm, of each.

        Nothing of any sum is asked for before all of them have their threshold of contributions.

        Raises:
            RoundVoid: one of them cannot be closed.
        """
        return [one.close() for one in self._sums]
