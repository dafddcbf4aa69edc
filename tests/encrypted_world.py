"""An encrypted sum without a coordinator, a ledger or homes: keys, a session, and firms that sign."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache

import numpy as np

from clients.encryption.contexts import Context, KeyPair, public_context, secret_context
from clients.encryption.contribution import seal
from clients.encryption.evidence import check_message, opening_message, reveal_message
from clients.encryption.vectors import decrypt_sum, hash_pieces
from clients.masking.answer_book import AnswerBook
from clients.masking.contribution import Contribution
from clients.masking.ring import Integers
from clients.masking.session import RosterEntry, Session
from ledger.keys import SigningKey
from server.aggregation.encrypted import EncryptedAggregator
from server.aggregation.masked import RoundArtifacts

HOLDER = "auditor"


@cache
def keys() -> KeyPair:
    """One key pair for all tests: it takes longer to make than to use."""
    return KeyPair.generate()


def public() -> Context:
    return public_context(keys().public)


def secret() -> Context:
    return secret_context(keys().secret)


def a_session(firms: int = 5, dimension: int = 10, ring_bits: int = 24, threshold: int = 3) -> Session:
    roster = tuple(RosterEntry(f"firm-{k + 1:03}", bytes(32)) for k in range(firms))
    context = public().hash
    terms = (dimension, ring_bits, threshold, 4.0)
    return Session("test", 1, bytes(16), roster, bytes(32), *terms, "encrypted", HOLDER, context)


def draw(session: Session, seed: int = 0, part: int = 1) -> dict[str, Integers]:
    """{member: int64[dimension]} uniform over the range, or the `part`-th part of it."""
    rng, largest = np.random.default_rng(seed), session.quantiser.largest // part
    return {member: rng.integers(-largest, largest + 1, session.dimension) for member in session.members}


@dataclass
class EncryptedRound:
    """One sum, driven by hand up to any point: the commitments and ciphertexts are made at once."""

    session: Session
    values: Mapping[str, Integers]
    signing: dict[str, SigningKey] = field(default_factory=dict)
    contributions: dict[str, Contribution] = field(default_factory=dict)
    vectors: dict[str, bytes] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.signing = {name: SigningKey.generate() for name in (*self.session.members, HOLDER)}
        for member, values in self.values.items():
            made = seal(self.session, member, values, public(), AnswerBook())
            self.contributions[member], self.vectors[member] = made
        self.sum = EncryptedAggregator(self.session, public())

    @property
    def commits(self) -> dict[str, bytes]:
        return {member: one.commit for member, one in self.contributions.items()}

    @property
    def keys(self) -> dict[str, bytes]:
        return {name: key.public.ed25519.raw for name, key in self.signing.items()}

    @property
    def true_sum(self) -> Integers:
        total: Integers = np.sum(list(self.values.values()), axis=0, dtype=np.int64)
        return total

    def close(self) -> None:
        for member, one in self.contributions.items():
            self.sum.add(member, one, one.commit)
        self.sum.close()

    def reveal(self, member: str) -> None:
        signature = self.signing[member].sign(reveal_message(self.session, self.sum.closed_set))
        self.sum.reveal(member, self.vectors[member], signature, self.keys[member])

    def check(self, member: str, number: int = 0) -> None:
        message = check_message(self.session, self.sum.closed_set, number, self.sum.complete()[number])
        self.sum.accept_check(member, number, self.signing[member].sign(message), self.keys[member])

    def decrypt(self) -> tuple[bytes, bytes]:
        """The holder's packed total and its signature."""
        pieces = self.sum.complete()
        total = decrypt_sum(secret(), self.session, pieces, len(self.contributions))
        packed = self.session.ring.pack(self.session.ring.from_signed(total))
        message = opening_message(self.session, self.sum.closed_set, hash_pieces(pieces), packed)
        return packed, self.signing[HOLDER].sign(message)

    def finish(self, checkers: int = 2) -> None:
        self.close()
        for member in self.contributions:
            self.reveal(member)
        for number in range(len(self.sum.complete())):
            for member in self.sum.included[:checkers]:
                self.check(member, number)
        self.sum.accept_opening(*self.decrypt(), self.keys[HOLDER])

    def artifacts(self) -> RoundArtifacts:
        return RoundArtifacts(
            headers={member: one.header for member, one in self.contributions.items()},
            masked=dict(self.vectors),
            pair_hashes={member: one.pair_hashes for member, one in self.contributions.items()},
            unmasking=self.sum.open().unmasking,
        )
