"""A whole consortium in memory, from a seed: keys, ledger, witnesses, and a clock that only tests move."""

import hashlib
from typing import Any

from ledger.genesis import Founder, genesis_statements, record
from ledger.keys import SigningKey
from ledger.log import Log
from ledger.note import Vkey
from ledger.rules import COORDINATOR, approve
from ledger.statement import decode_statement, sign_statement
from ledger.witness import Witness

CID = "c-1"
ORIGIN = "artesian.example/c-1"
START_S = 1_800_000_000


class Clock:
    """Seconds since the epoch; moves when told to."""

    def __init__(self) -> None:
        self.now_s = float(START_S)

    def __call__(self) -> float:
        return self.now_s


class Consortium:
    """Firms `firm-0`, ..., one bank `bank-0`, a coordinator, and the log between them."""

    def __init__(
        self,
        firms: int = 4,
        *,
        location: Any = None,
        min_cohort: int = 2,
        seed: str = "s",
        founded: bool = True,
        log_key: SigningKey | None = None,
        hybrid: bool = False,
        **policy: Any,
    ) -> None:
        """`policy`: what `ledger.genesis.genesis_statements` takes besides.

        Args:
            log_key: the log's own; by default it has the coordinator's.
            hybrid: whether members and coordinator have hybrid keys.
        """
        self.seed = seed
        self.clock = Clock()
        self.firms = [f"firm-{number}" for number in range(firms)]
        self.members = [*self.firms, "bank-0"]
        self.keys = {name: key_of(name, seed, hybrid=hybrid) for name in [COORDINATOR, *self.members]}
        self.log = Log.create(location, ORIGIN, log_key or self.keys[COORDINATOR], self.clock, cid=CID)
        if log_key is not None:
            policy["log"] = log_key.public
        self._count = 0
        if founded:
            self.log.append(self.genesis(min_cohort, **policy))
        self.witnesses: dict[str, Witness] = {}

    def entropy(self, length: int) -> bytes:
        self._count += 1
        return hashlib.shake_128(f"{self.seed} {self._count}".encode()).digest(length)

    def hash(self) -> bytes:
        return self.entropy(32)

    def genesis(self, min_cohort: int = 2, **policy: Any) -> list[bytes]:
        founders = [
            Founder(name, "bank" if name.startswith("bank") else "firm", self.keys[name].public, name.title())
            for name in self.members
        ]
        return genesis_statements(
            CID, self.keys[COORDINATOR], founders, min_cohort=min_cohort, ts=START_S, entropy=self.entropy, **policy
        )

    def payload(self, t: str, **fields: Any) -> dict[str, Any]:
        base = {"cid": CID, "record_id": self.entropy(16), "ts": START_S}
        return record(t, **{**base, **fields})

    def sign(self, payload: dict[str, Any], issuer: str = COORDINATOR, *, key: SigningKey | None = None) -> bytes:
        return sign_statement(payload, issuer=issuer, subject=str(payload.get("t")), key=key or self.keys[issuer])

    def statement(self, t: str, issuer: str = COORDINATOR, **fields: Any) -> bytes:
        return self.sign(self.payload(t, **fields), issuer)

    def approved(self, names: list[str], t: str, issuer: str = COORDINATOR, **fields: Any) -> bytes:
        """A record that the members named have approved, each with its present key."""
        payload = self.payload(t, **{"parent": self.log.state.membership_digest, "approvals": [], **fields})
        payload["approvals"] = [approve(payload, name, self.keys[name]) for name in names]
        return self.sign(payload, issuer)

    def append(self, t: str, issuer: str = COORDINATOR, **fields: Any) -> bytes:
        raw = self.statement(t, issuer, **fields)
        self.log.append([raw])
        return raw

    def task(self, name: str = "credit") -> None:
        self.append("task", task=name, spec=self.hash())

    def round(self, *, task: str = "credit", cohort: list[str] | None = None, parent: bytes | None = None) -> bytes:
        raw = self.append("round", task=task, plan={"clip": 1}, cohort=cohort or self.firms, parent_model=parent)
        return bytes(decode_statement(raw).payload["id"])

    def contribution(self, round_id: bytes, firm: str, *, rdp: tuple[int, ...] = (1, 2), **fields: Any) -> bytes:
        opened = self.log.state.rounds.get(round_id)
        own = {
            "parent": opened.digest if opened else None,
            "round": round_id,
            "commit": self.hash(),
            "n_bucket": 100,
            "rdp": list(rdp),
            "clip": 1_000_000,
        }
        return self.statement("contribution", firm, **{**own, **fields})

    def contribute(self, round_id: bytes, firm: str, *, rdp: tuple[int, ...] = (1, 2)) -> None:
        self.log.append([self.contribution(round_id, firm, rdp=rdp)])

    def aggregate(self, round_id: bytes, **fields: Any) -> bytes:
        current = self.log.state.rounds.get(round_id)
        own = {
            "round": round_id,
            "inputs": current.inputs() if current else [],
            "unmask": self.hash(),
            "model": self.hash(),
        }
        chosen = {**own, **fields}
        self.append("aggregate", **chosen)
        return bytes(chosen["model"])

    def publish(self, round_id: bytes, model: bytes) -> None:
        self.append("publish", round=round_id, model=model, manifest=self.hash())

    def train(self, task: str = "credit", parent: bytes | None = None) -> tuple[bytes, bytes]:
        """One whole round, published; returns its id and its model."""
        round_id = self.round(task=task, parent=parent)
        for firm in self.firms:
            self.contribute(round_id, firm)
        model = self.aggregate(round_id)
        self.publish(round_id, model)
        return round_id, model

    def witness(self, name: str, location: Any = None) -> Witness:
        if name not in self.witnesses:
            self.witnesses[name] = Witness(location, self.keys[name], name, self.log.vkey, CID, self.clock)
        return self.witnesses[name]

    def cosign(self, names: list[str] | None = None) -> bool:
        """Let witnesses follow the log and hand in their cosignatures; say whether that is final."""
        lines = [self.witness(name).follow(self.log) for name in (self.members if names is None else names)]
        return self.log.add_cosignatures(lines)


def key_of(name: str, seed: str = "s", *, hybrid: bool = False) -> SigningKey:
    text = f"{seed} key of {name}".encode()
    return SigningKey.from_seed(hashlib.sha512(text).digest() if hybrid else hashlib.sha256(text).digest())


LOG = Vkey.of_log("log.example", key_of("log").public)


def witness(name: str) -> Vkey:
    return Vkey.of_witness(f"log.example/{name}", key_of(name).public)
