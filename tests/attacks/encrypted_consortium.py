"""Five firms that train and a sixth that holds the key, real homes and ledger, and a coordinator that tests play."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from consortium_world import CID, Consortium, a_plan

from clients import encrypted_sums, participation
from clients.encryption.contexts import public_context
from clients.encryption.vectors import EncryptedPiece, decrypt_sum, pieces_of
from clients.masking.contribution import Contribution
from clients.masking.ring import Integers
from clients.masking.session import RosterEntry, Session
from clients.masking.unmasking import closed_set_hash
from clients.offer import Offer, session_of
from clients.plan import Plan
from ledger.statement import decode_statement

HOLDER = "firm-6"
COHORT = [f"firm-{k}" for k in range(1, 6)]
LIMITS: Mapping[str, Any] = {"aggregation": ["masked", "encrypted"], "key_holders": [HOLDER], "min_cohort": 3}


class EncryptedConsortium(Consortium):
    """One encrypted round at a time, driven message by message."""

    def __init__(self, home: Path) -> None:
        super().__init__(home, 6, limits=LIMITS)
        self.round_epoch = 100

    def hold(self) -> bytes:
        """Have the holder make its key; its record becomes final."""
        self.round_epoch += 1
        reply = encrypted_sums.hold(self.firms[HOLDER], {"cid": CID, "epoch": self.round_epoch})
        self.log.append([reply["statement"]])
        self.witness()
        return bytes(reply["context"])

    def plan(self, context: bytes, **changes: Any) -> Plan:
        fields = {"threshold": 3, "key_holder": HOLDER, "context": hashlib.sha256(context).digest()}
        return a_plan(aggregation="encrypted", epoch=self.round_epoch, **{**fields, **changes})

    def begin(self) -> EncryptedRound:
        """A round whose key every firm of the cohort has."""
        context = self.hold()
        for name in COHORT:
            encrypted_sums.take_key(self.firms[name], {"holder": HOLDER, "context": context})
        plan = self.plan(context)
        return EncryptedRound(self, self.open_round(plan, COHORT), plan, context)


class EncryptedRound:
    """What the coordinator has of a round, and the messages that an honest one would send."""

    def __init__(self, world: EncryptedConsortium, statement: bytes, plan: Plan, context: bytes) -> None:
        read = decode_statement(statement)
        self.world, self.statement = world, statement
        offer = Offer(read.payload, read.digest, plan)
        roster = tuple(RosterEntry(name, bytes(32)) for name in COHORT)
        self.session: Session = session_of(CID, offer, roster, plan.dimension)
        self.context = public_context(context)
        self.contributions: dict[str, Contribution] = {}
        self.statements: dict[str, bytes] = {}
        self.reveals: dict[str, bytes] = {}
        self.vectors: dict[str, bytes] = {}

    def train(self, names: Sequence[str] = COHORT) -> None:
        """The firms' commitments become final."""
        for name in names:
            reply = participation.train(self.world.firms[name], self.world.request(name, self.statement))
            self.contributions[name] = Contribution.from_bytes(reply["contribution"])
            self.statements[name] = reply["statement"]
        self.record(names)

    def record(self, names: Sequence[str]) -> None:
        self.world.log.append([self.statements[name] for name in names])
        self.world.witness()

    @property
    def commits(self) -> dict[str, bytes]:
        return {name: one.commit for name, one in self.contributions.items()}

    @property
    def closed_set(self) -> bytes:
        return closed_set_hash(self.session, self.commits)

    def common(self) -> dict[str, Any]:
        final = self.world.log.final()
        return {
            "statement": self.statement,
            "receipt": self.world.receipt(self.statement),
            "final": final,
            "commits": {},
        }

    def reveal(self, names: Sequence[str] | None = None) -> None:
        for name in names or list(self.contributions):
            reply = encrypted_sums.reveal(self.world.firms[name], self.common())
            self.vectors[name], self.reveals[name] = reply["vector"], reply["signature"]

    def pieces(self, vectors: Mapping[str, bytes] | Sequence[bytes] | None = None) -> list[bytes]:
        """The sum of some ciphertexts; of all that are there if none are given. It has one piece."""
        given = self.vectors if vectors is None else vectors
        total = EncryptedPiece(self.context, self.session, 0)
        for raw in given.values() if isinstance(given, Mapping) else given:
            (piece,) = pieces_of(self.session, raw, "a vector")
            total.add(piece, "a vector")
        return [total.to_bytes()]

    def check_request(self, **changes: Any) -> dict[str, Any]:
        pieces = {name: pieces_of(self.session, raw, name)[0] for name, raw in self.vectors.items()}
        return {
            **self.common(),
            "headers": {name: one.header for name, one in self.contributions.items()},
            "hashes": {name: one.pair_hashes for name, one in self.contributions.items()},
            "number": 0,
            "pieces": pieces,
            **changes,
        }

    def check(self, names: Sequence[str], **changes: Any) -> list[dict[str, bytes]]:
        request = self.check_request(**changes)
        return [{name: encrypted_sums.check(self.world.firms[name], request)["signature"] for name in names}]

    def decrypt(self, pieces: Sequence[bytes], checks: Sequence[Mapping[str, bytes]], **changes: Any) -> dict[str, Any]:
        request = {
            **self.common(),
            "signing_keys": {},
            "pieces": list(pieces),
            "reveals": self.reveals,
            "checks": [dict(one) for one in checks],
            **changes,
        }
        return encrypted_sums.decrypt(self.world.firms[HOLDER], request)

    def total(self, reply: Mapping[str, Any]) -> Integers:
        return self.session.ring.centre(self.session.ring.unpack(reply["total"], self.session.dimension))

    def read_with_the_key(self, names: Sequence[str]) -> Integers:
        """What the holder's secret key makes of these ciphertexts: the truth, which nobody else has."""
        (raw,) = [self.world.firms[HOLDER].held_keys.secret(self.session.epoch)]
        return decrypt_sum(raw, self.session, self.pieces([self.vectors[name] for name in names]), len(names))


def key_is_there(world: EncryptedConsortium) -> bool:
    raw = world.built.member(HOLDER) / "held-keys" / "secret.context"
    return raw.exists()
