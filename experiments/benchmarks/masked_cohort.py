"""A cohort of firms in memory with an epoch of pair secrets set up: for benchmarks and tests."""

from __future__ import annotations

import secrets as csprng
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field

import numpy as np

from clients.masking.answer_book import AnswerBook
from clients.masking.contribution import Contribution, Kept, protect
from clients.masking.epoch import EpochKeyPair, open_pair_secrets, seal_pair_secrets
from clients.masking.pair_secrets import PairSecrets
from clients.masking.ring import Integers
from clients.masking.session import RosterEntry, Session
from clients.masking.threshold import GroupPolicy, threshold_for
from clients.masking.unmasking import UnmaskingReply, answer
from ledger.keys import SigningKey
from server.aggregation.masked import Aggregator, OpenedSum, RoundArtifacts

CID = "cohort-in-memory"
LOOSEST = GroupPolicy(min_cohort=3, colluders=0, smallest_group=2)
"""The weakest policy that protects at all: a cohort measures and is attacked; it sets no firm's policy."""


@dataclass
class Firm:
    """One firm of the cohort.

    Attributes:
        member: its id.
        secrets: its pair secrets.
        book: its answer book, in memory.
        kept: what it keeps between the trips, by session id.
    """

    member: str
    secrets: PairSecrets
    book: AnswerBook = field(default_factory=AnswerBook)
    kept: dict[bytes, Kept] = field(default_factory=dict)

    def contribute(self, session: Session, values: Integers) -> Contribution:
        """The first trip."""
        contribution, kept = protect(
            session, self.member, values, self.secrets, csprng.token_bytes, policy=LOOSEST, book=self.book
        )
        self.kept[session.sid] = kept
        return contribution

    def answer(
        self,
        session: Session,
        headers: Mapping[str, bytes],
        commits: Mapping[str, bytes],
        inbound: Mapping[str, bytes],
    ) -> UnmaskingReply:
        """The second trip."""
        kept = self.kept.get(session.sid) or next(reversed(self.kept.values()))
        return answer(session, self.member, headers, commits, inbound, kept, self.secrets, self.book)


@dataclass(frozen=True)
class Cohort:
    """Firms and the roster that all of them authenticated.

    Attributes:
        firms: by member id.
        roster: sorted by member id.
        epoch: number of their key epoch.
    """

    firms: Mapping[str, Firm]
    roster: tuple[RosterEntry, ...]
    epoch: int

    def session(
        self,
        *,
        dimension: int,
        ring_bits: int = 24,
        threshold: int | None = None,
        round_number: int = 1,
        model: bytes = bytes(32),
        bound: float = 4.0,
    ) -> Session:
        """A masked session of the whole cohort, with the lowest threshold unless one is given."""
        lowest = threshold_for(len(self.roster), colluders=0, smallest_group=2)
        round_id = round_number.to_bytes(16, "big")
        terms = (dimension, ring_bits, threshold or lowest, bound)
        return Session(CID, self.epoch, round_id, self.roster, model, *terms)


class MaskedRound:
    """One masked round of a cohort, driven by hand up to any point: the first trip is made at once.

    Attributes:
        session: the terms.
        values: {member: int64[dimension]} of the firms that are present.
        contributions: what they sent, by member.
        commits: what their ledger statements hold, by member.
        aggregator: the coordinator's half; nothing is added to it yet.
    """

    def __init__(self, cohort: Cohort, session: Session, values: Mapping[str, Integers]) -> None:
        self.session, self.values = session, dict(values)
        self._firms = cohort.firms
        self.contributions = {m: self._firms[m].contribute(session, v) for m, v in self.values.items()}
        self.commits = {m: contribution.commit for m, contribution in self.contributions.items()}
        self.aggregator = Aggregator(session)

    @property
    def true_sum(self) -> Integers:
        """The sum int64[dimension] that must come out."""
        total: Integers = np.sum(list(self.values.values()), axis=0, dtype=np.int64)
        return total

    def close(self) -> dict[str, bytes]:
        """Adds every contribution and closes the set; returns its headers."""
        for member, contribution in self.contributions.items():
            self.aggregator.add(member, contribution, self.commits[member])
        return self.aggregator.close()

    def reply(self, member: str, headers: Mapping[str, bytes]) -> UnmaskingReply:
        """What `member` answers for the closed set."""
        inbound = self.aggregator.inbound_for(member)
        return self._firms[member].answer(self.session, headers, self.commits, inbound)

    def finish(self, silent: Collection[str] = ()) -> OpenedSum:
        """Closes, lets everyone but the `silent` answer, and opens the sum."""
        headers = self.close()
        for member in self.values:
            if member not in silent:
                self.aggregator.accept(member, self.reply(member, headers).to_bytes())
        return self.aggregator.open()

    def artifacts(self, opened: OpenedSum) -> RoundArtifacts:
        """What a store would hold of this round."""
        return RoundArtifacts(
            headers={m: c.header for m, c in self.contributions.items()},
            masked={m: c.masked for m, c in self.contributions.items()},
            pair_hashes={m: c.pair_hashes for m, c in self.contributions.items()},
            unmasking=opened.unmasking,
        )


def set_up_cohort(size: int, epoch: int = 1) -> Cohort:
    """Makes keys for `size` firms and runs the key set-up between them."""
    names = sorted(f"firm-{number}" for number in range(1, size + 1))
    signing = {name: SigningKey.generate() for name in names}
    keys = {name: EpochKeyPair.generate() for name in names}
    roster = tuple(RosterEntry(name, signing[name].public.raw, keys[name].public_bytes) for name in names)
    firms, mail = {}, {name: dict[str, bytes]() for name in names}
    for name in names:
        pair_secrets, messages = seal_pair_secrets(
            keys[name], CID, epoch, name, roster, signing[name].sign, csprng.token_bytes
        )
        firms[name] = Firm(name, pair_secrets)
        for peer, message in messages.items():
            mail[peer][name] = message
    for name in names:
        open_pair_secrets(keys[name], firms[name].secrets, roster, mail[name])
    return Cohort(firms, roster, epoch)


def draw_updates(session: Session, seed: int) -> dict[str, Integers]:
    """{member: int64[dimension]} uniform over the quantiser's range; each holds an end of the range."""
    rng = np.random.default_rng(seed)
    largest = session.quantiser.largest
    drawn = {m: rng.integers(-largest, largest, session.dimension, endpoint=True) for m in session.members}
    for values in drawn.values():
        values[rng.integers(session.dimension)] = rng.choice([-largest, largest])
    return drawn
