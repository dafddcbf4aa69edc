"""The server half of masked aggregation: a streamed sum of what it cannot read, and its replay."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import combinations, islice

import numpy as np

from clients.errors import ClientError
from clients.masking.contribution import Contribution, Header, commit_self_seed, hash_shares
from clients.masking.derivation import KEY_BYTES
from clients.masking.ring import Integers
from clients.masking.session import Session
from clients.masking.shamir import combine
from clients.masking.unmasking import UnmaskingReply, closed_set_hash
from server.aggregation.closing import ClosingSum
from server.aggregation.evidence import (
    AggregationError,
    ArtifactMismatch,
    ContributionRefused,
    ReplyRefused,
    RoundVoid,
    Unmasking,
    check_contribution,
    check_unmasking,
    open_sum,
    pair_hash,
)

__all__ = [
    "AggregationError",
    "Aggregator",
    "ArtifactMismatch",
    "ContributionRefused",
    "OpenedSum",
    "ReplyRefused",
    "RoundArtifacts",
    "RoundVoid",
    "recompute",
]

MAX_SHARE_SUBSETS = 500
"""How many sets of shares are tried when some shares are wrong, before the round is given up."""


@dataclass(frozen=True)
class OpenedSum:
    """The outcome of a round.

    Attributes:
        total: int64[dimension], the exact sum of the quantised updates.
        included: the firms in the sum, in roster order.
        unmasking: what opened it, to be stored; its SHA-256 goes into the aggregate statement.
    """

    total: Integers
    included: tuple[str, ...]
    unmasking: bytes


@dataclass(frozen=True)
class RoundArtifacts:
    """What an audit reads from the store to compute a sum again; each mapping is by included member.

    Attributes:
        headers: encoded headers.
        masked: packed masked vectors; may load lazily, each is read once.
        pair_hashes: commitments to pair seeds.
        unmasking: the encoded unmasking record.
    """

    headers: Mapping[str, bytes]
    masked: Mapping[str, bytes]
    pair_hashes: Mapping[str, bytes]
    unmasking: bytes


class Aggregator(ClosingSum):
    """One masked sum: add contributions, close, relay shares, accept replies, open.

    It keeps headers, hashes and encrypted shares; masked vectors are added and let go.

    Attributes:
        session: the terms.
    """

    def __init__(self, session: Session) -> None:
        super().__init__(session, "masked")
        self._total = session.ring.zeros(session.dimension)
        self._contributions: dict[str, Contribution] = {}
        self._replies: dict[str, UnmaskingReply] = {}

    def add(self, member: str, contribution: Contribution, commit: bytes) -> None:
        """Checks a contribution and adds it to the sum.

        Args:
            member: who sent it, by its authenticated connection.
            commit: the `commit` of its verified ledger statement, 32 bytes.

        Raises:
            ContributionRefused: names the first thing that does not match; the sum is unchanged.
        """
        header = self.check(member, contribution, commit)
        ring = self.session.ring
        ring.add(self._total, ring.unpack(contribution.masked, self.session.dimension))
        self._include(member, header, contribution.header, commit)
        self._contributions[member] = Contribution(
            contribution.header, b"", contribution.pair_hashes, contribution.shares
        )

    def check(self, member: str, contribution: Contribution, commit: bytes) -> Header:
        """What `add` would say of a contribution, without adding it; returns its header.

        Raises:
            ContributionRefused: as `add`.
        """
        self._require_open_to(member)
        masked, hashes = contribution.masked, contribution.pair_hashes
        header = check_contribution(
            self.session, member, contribution.header, masked, hashes, commit, ContributionRefused
        )
        if contribution.shares.keys() != set(self.session.peers(member)):
            raise ContributionRefused(f"contribution of {member}: its shares are not for all the others")
        if hash_shares(self.session, member, contribution.shares) != header.shares:
            raise ContributionRefused(f"contribution of {member}: the shares are not those of its header")
        return header

    def close(self) -> dict[str, bytes]:
        """Closes the set; later contributions are refused.

        Returns:
            {included member: encoded header}, in roster order, for the ledger and for the second trip.

        Raises:
            RoundVoid: fewer contributions than the threshold, or two firms committed to different seeds for
                the mask between them.
        """
        if len(self._headers) >= self.session.threshold:
            self._require_agreed_masks()
        return super().close()

    def _require_agreed_masks(self) -> None:
        for one, other in combinations(self.included, 2):
            mine = pair_hash(self.session, self._contributions[one].pair_hashes, one, other)
            if mine != pair_hash(self.session, self._contributions[other].pair_hashes, other, one):
                raise RoundVoid(f"round: {one} and {other} do not agree on the mask between them", (one, other))

    @property
    def unanswered(self) -> tuple[str, ...]:
        """The included firms whose reply is still missing, in roster order."""
        return tuple(member for member in self.included if member not in self._replies)

    def inbound_for(self, member: str) -> dict[str, bytes]:
        """{included sender: the encrypted share it made for `member`}, to relay on the second trip."""
        return {sender: self._contributions[sender].shares[member] for sender in self.included if sender != member}

    def accept(self, member: str, reply: bytes) -> None:
        """Checks and keeps a firm's reply of the second trip. The same reply again changes nothing.

        Raises:
            ReplyRefused: names the first thing that does not match.
        """
        try:
            read = UnmaskingReply.from_bytes(reply)
        except ClientError as error:
            raise ReplyRefused(f"reply of {member}: {error}") from None
        if self._closed_set is None:
            raise ReplyRefused(f"reply of {member}: the set is not closed yet")
        if (read.sid, read.closed_set) != (self.session.sid, self._closed_set):
            raise ReplyRefused(f"reply of {member}: for another session or closed set")
        if read.member != member or member not in self._headers:
            raise ReplyRefused(f"reply of {member}: it is {read.member}'s, or {member} did not contribute")
        if read.shares.keys() != self._headers.keys() or read.pair_seeds.keys() != set(self.dropped):
            raise ReplyRefused(f"reply of {member}: shares or pair seeds missing or superfluous")
        if self._replies.setdefault(member, read) != read:
            raise ReplyRefused(f"reply of {member}: it differs from the one before")

    def open(self) -> OpenedSum:
        """Opens the sum with the replies accepted so far. May be called again after more replies.

        Raises:
            RoundVoid: fewer replies than the threshold; or some firm dropped and an included one has not
                answered, so that their mask stays on; or shares or seeds that are not those committed to.
        """
        threshold, absent = self.session.threshold, self.unanswered
        if len(self._replies) < threshold or (self.dropped and absent):
            needed = len(self.included) if self.dropped else threshold
            raise RoundVoid(
                f"round: {len(self._replies)} replies, {needed} needed; missing {', '.join(absent)}",
                absent,
            )
        pair_seeds = {
            absent_member: {member: self._replies[member].pair_seeds[absent_member] for member in self.included}
            for absent_member in self.dropped
        }
        unmasking = Unmasking(self.session.sid, self.closed_set, self._self_seeds(), pair_seeds)
        hashes = {member: self._contributions[member].pair_hashes for member in self.included}
        check_unmasking(self.session, unmasking, self._headers, hashes, RoundVoid)
        total = open_sum(self.session, self._total.copy(), unmasking, len(self.included))
        return OpenedSum(total, self.included, unmasking.to_bytes())

    def _self_seeds(self) -> dict[str, bytes]:
        """Joins the shares; where a firm sent or made wrong ones, tries other sets of repliers."""
        repliers = sorted(self._replies)
        found: dict[str, bytes] = {}
        for chosen in islice(combinations(repliers, self.session.threshold), MAX_SHARE_SUBSETS):
            wanted = [member for member in self.included if member not in found]
            if not wanted:
                break
            raw = b"".join(self._replies[replier].shares[member] for replier in chosen for member in wanted)
            shares = np.frombuffer(raw, dtype=np.uint8).reshape(len(chosen), len(wanted), KEY_BYTES)
            seeds = combine([self.session.position(replier) + 1 for replier in chosen], shares)
            for member, row in zip(wanted, seeds, strict=True):
                seed = row.tobytes()
                if commit_self_seed(self.session, member, seed) == self._headers[member].self_seed:
                    found[member] = seed
        lost = tuple(member for member in self.included if member not in found)
        if lost:
            raise RoundVoid(f"round: the shares do not give the seed that {lost[0]} committed to", lost)
        return found


def recompute(session: Session, artifacts: RoundArtifacts, commits: Mapping[str, bytes]) -> Integers:
    """Computes a round's sum again from stored bytes only; masked and plain sessions alike.

    Args:
        commits: {member: `commit` of its contribution statement}, for exactly the aggregate's inputs on the
            ledger. The caller has checked `artifacts.unmasking` against the aggregate statement's hash.

    Returns:
        int64[dimension], the sum that the round must have had.

    Raises:
        ArtifactMismatch: names the first artifact that does not match.
        RoundVoid: everything matches, but the sum is beyond what the firms can have sent.
    """
    for name, stored in (("header", artifacts.headers), ("pair hashes", artifacts.pair_hashes)):
        for member in sorted(stored.keys() ^ commits.keys()):
            raise ArtifactMismatch(f"{name} of {member}: stored or recorded on the ledger, but not both")
    if len(commits) < session.threshold:
        raise ArtifactMismatch(f"round: {len(commits)} contributions, the threshold is {session.threshold}")
    total, headers = session.ring.zeros(session.dimension), {}
    for member in sorted(commits):
        if member not in artifacts.masked:
            raise ArtifactMismatch(f"masked values of {member}: not in the store")
        masked, hashes = artifacts.masked[member], artifacts.pair_hashes[member]
        headers[member] = check_contribution(
            session, member, artifacts.headers[member], masked, hashes, commits[member], ArtifactMismatch
        )
        session.ring.add(total, session.ring.unpack(masked, session.dimension))
    try:
        unmasking = Unmasking.from_bytes(artifacts.unmasking)
    except ClientError as error:
        raise ArtifactMismatch(str(error)) from None
    if (unmasking.sid, unmasking.closed_set) != (session.sid, closed_set_hash(session, commits)):
        raise ArtifactMismatch("unmasking record: for another session or closed set")
    check_unmasking(session, unmasking, headers, artifacts.pair_hashes, ArtifactMismatch)
    return open_sum(session, total, unmasking, len(commits))
