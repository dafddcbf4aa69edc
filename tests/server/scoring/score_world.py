"""A small consortium for tests: an authority, members, a published toy model, and a service that runs."""

import datetime as dt
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from clients.bank import AnswerVerifier, commit_to_subject, new_query
from clients.errors import ClientError
from clients.scoring.query import Query
from clients.tasks.scorecard import Reason, Score
from ledger.checkpoint import Checkpoint, SignedCheckpoint, cosign, sign_checkpoint, witness_name
from ledger.keys import SigningKey
from ledger.merkle import leaf_hash, node_hash
from ledger.note import SignatureLine, Vkey
from ledger.policy import Policy
from ledger.receipt import make_receipt
from ledger.statement import sign_statement
from server.certificates import CertificateAuthority, install_certificate, request_certificate
from server.scoring.desk import Desk, PublishedScorer
from server.scoring.quota import Quota
from server.scoring.recording import QueryRecord
from server.scoring.service import Tls, serving

CID = "timber"
ORIGIN = "artesian.example/timber"
MODEL = bytes(range(32))
WITNESSES = tuple(f"firm-{i}" for i in range(1, 5))


class ToyScorer:
    """600 points, less two for each percent of debt; refuses what it does not know, as the real one does."""

    def score(self, features: Mapping[str, float | str | None]) -> Score:
        for name in features:
            if name not in ("debt", "home"):
                raise ClientError(f"feature {name!r} is not of task credit (known: debt, home)")
        debt = features["debt"]
        if isinstance(debt, str) or debt is None or not 0 <= debt <= 1:
            raise ClientError(f"feature 'debt' is {debt!r}; it must be a number from 0 to 1")
        points = -round(200 * debt)
        return Score(600 + points, 0.1 + debt / 2, (Reason("debt", "Debt against income", points),))


def query(task: str = "credit", purpose: str = "loan-application", **features: float | str | None) -> Query:
    subject = commit_to_subject("ACME Ltd", b"s" * 32)
    return new_query(task, features or {"debt": 0.25, "home": None}, purpose, subject)


def publish(coordinator: SigningKey, **changes: object) -> bytes:
    """A publish statement, with some fields changed."""
    payload = {
        "v": 1, "cid": CID, "id": bytes(16), "t": "publish", "parent": None, "ts": 1,
        "round": bytes(32), "model": MODEL, "manifest": bytes(32), **changes,
    }  # fmt: skip
    return sign_statement(payload, issuer="coordinator", subject="credit", key=coordinator)


def proof_of(statement: bytes, log_key: SigningKey, witnesses: Mapping[str, SigningKey], cosigners: int = 4) -> bytes:
    """A receipt for `statement` as entry 1 of two, cosigned by the first `cosigners` witnesses."""
    first = leaf_hash(b"genesis")
    checkpoint = Checkpoint(ORIGIN, 2, node_hash(first, leaf_hash(statement)))
    signed = SignedCheckpoint.parse(sign_checkpoint(checkpoint, log_key))
    lines = [
        SignatureLine.parse(cosign(signed.body, name=witness_name(ORIGIN, m), key=key, timestamp_s=1_700_000_000))
        for m, key in list(witnesses.items())[:cosigners]
    ]
    return make_receipt(1, [first], signed.with_lines(lines), log_key)


@dataclass
class World:
    """Keys, homes and the desk of a consortium with bank-1 (enrolled), bank-2 (not) and firm-1."""

    root: Path
    coordinator: SigningKey = field(default_factory=SigningKey.generate)
    witnesses: dict[str, SigningKey] = field(
        default_factory=lambda: {name: SigningKey.generate() for name in WITNESSES}
    )
    records: list[QueryRecord] = field(default_factory=list)
    kinds: dict[str, str] = field(default_factory=lambda: {"bank-1": "bank", "firm-1": "firm"})
    now_s: float = 0.0

    def __post_init__(self) -> None:
        now = dt.datetime.now(dt.UTC)  # TLS looks at the real clock
        self.authority = CertificateAuthority.create(self.root / "authority", CID, now)
        for member in ("coordinator", "bank-1", "bank-2", "firm-1"):
            request = request_certificate(self.home(member), member)
            issue = self.authority.issue_server if member == "coordinator" else self.authority.issue_member
            install_certificate(self.home(member), issue(request, member, now), self.authority.certificate_pem)
        statement = publish(self.coordinator)
        receipt = proof_of(statement, self.coordinator, self.witnesses)
        self.published = PublishedScorer(ToyScorer(), MODEL, receipt, statement)
        vkeys = {m: Vkey.of_witness(witness_name(ORIGIN, m), k.public) for m, k in self.witnesses.items()}
        self.policy = Policy.of(Vkey.of_log(ORIGIN, self.coordinator.public), vkeys)
        self.verifier = AnswerVerifier(self.policy, self.coordinator.public)
        (self.home("bank-1") / "policy.txt").write_text(self.policy.text())
        self.scorers = {"credit": self.published}

    def home(self, member: str) -> Path:
        return self.root / member

    async def record(self, record: QueryRecord) -> None:
        self.records.append(record)

    def desk(self, quota: Quota | None = None, cid: str = CID) -> Desk:
        return Desk(
            cid=cid,
            issuer="coordinator",
            key=self.coordinator,
            scorers=self.scorers,
            is_enrolled=lambda member, kind: self.kinds.get(member) == kind,
            quota=quota or Quota(1e6, 1_000_000, lambda: self.now_s),
            record=self.record,
            now_ms=lambda: int(time.time() * 1e3),
        )

    @contextmanager
    def service(self, desk: Desk | None = None) -> Iterator[str]:
        with serving(desk or self.desk(), Tls.from_home(self.home("coordinator"))) as address:
            yield address
