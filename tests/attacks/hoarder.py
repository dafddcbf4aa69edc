"""A coordinator that keeps all it is ever sent, and takes off every mask that this lets it take off."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

import numpy as np

from clients.masking.contribution import Contribution, Header, commit_self_seed
from clients.masking.keystream import apply_masks
from clients.masking.ring import Integers
from clients.masking.session import Session
from clients.masking.shamir import combine_one
from clients.masking.unmasking import UnmaskingReply


@dataclass
class Hoard:
    """What a dishonest coordinator holds of one session.

    Attributes:
        session: the terms that the contributions were made under.
        contributions: by member.
        shares: {owner: {holder: its share of the owner's self seed}}.
        pair_seeds: {the two members: the seed of the mask between them}.
    """

    session: Session
    contributions: Mapping[str, Contribution]
    shares: dict[str, dict[str, bytes]] = field(default_factory=dict)
    pair_seeds: dict[frozenset[str], bytes] = field(default_factory=dict)

    def keep(self, reply: UnmaskingReply) -> None:
        """Adds what a firm has opened, in whatever session and for whatever set it believed to answer."""
        for owner, share in reply.shares.items():
            self.shares.setdefault(owner, {})[reply.member] = share
        for dropped, seed in reply.pair_seeds.items():
            self.pair_seeds[frozenset({reply.member, dropped})] = seed

    def self_seed(self, owner: str) -> bytes | None:
        """The seed of `owner`, where some number of the shares held gives the one that it committed to."""
        promised = Header.from_bytes(self.contributions[owner].header).self_seed
        held = [(self.session.position(holder) + 1, one) for holder, one in sorted(self.shares.get(owner, {}).items())]
        for count in range(1, len(held) + 1):
            seed = combine_one(dict(held[:count]))
            if commit_self_seed(self.session, owner, seed) == promised:
                return seed
        return None

    def guess(self, members: Iterable[str]) -> Integers:
        """The best guess int64[d] at the sum of these members' updates; exact when no mask is left on it."""
        group, ring = set(members), self.session.ring
        total = ring.zeros(self.session.dimension)
        for member in group:
            ring.add(total, ring.unpack(self.contributions[member].masked, self.session.dimension))
            seed = self.self_seed(member)
            apply_masks(total, [], [seed] if seed else [])
            for other in set(self.session.members) - group:
                known = self.pair_seeds.get(frozenset({member, other}))
                if known is not None:
                    apply_masks(total, *(([], [known]) if member < other else ([known], [])))
        return ring.centre(total)


def is_read(guess: Integers, truth: Integers) -> bool:
    """Whether a guess says anything about the truth: values that agree, or a correlation beyond chance.

    Chance is one value in 2^24, and a correlation of 6 / sqrt(d) once in some 10^9 tries.
    """
    agree = int(np.count_nonzero(guess == truth))
    correlation = float(np.corrcoef(guess, truth)[0, 1])
    return agree > 3 or abs(correlation) > 6 / np.sqrt(len(truth))
