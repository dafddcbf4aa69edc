"""How a consortium begins: the coordinator's policy, then the enrolment of each founding member."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ledger.keys import PublicKey, SigningKey
from ledger.rules.state import CLASSICAL, COORDINATOR
from ledger.statement import PAYLOAD_VERSION, sign_statement


@dataclass(frozen=True)
class Founder:
    """A founding member.

    Attributes:
        member: its id, a short lower-case name.
        kind: `firm` or `bank`.
        key: its signing key.
        name: for people.
    """

    member: str
    kind: str
    key: PublicKey
    name: str


def record(
    t: str, /, *, cid: str, record_id: bytes, ts: int, parent: bytes | None = None, **fields: Any
) -> dict[str, Any]:
    """A payload: the fields that all records share, and those of its type.

    Args:
        t: type of the record, such as `round`; `ledger.rules.records` lists the fields of each.
        cid: the consortium's id.
        record_id: 16 fresh random bytes.
        ts: seconds since the epoch, advisory.
        parent: 32 bytes, digest of the statement that this one answers.
    """
    return {"v": PAYLOAD_VERSION, "cid": cid, "id": record_id, "t": t, "parent": parent, "ts": ts, **fields}


def genesis_payloads(
    cid: str,
    coordinator: PublicKey,
    founders: Sequence[Founder],
    *,
    min_cohort: int,
    ts: int,
    entropy: Callable[[int], bytes],
    config: bytes | None = None,
    log: PublicKey | None = None,
    next_log: bytes | None = None,
    signatures: str = CLASSICAL,
) -> list[dict[str, Any]]:
    """The `policy` and `enrol` records that found a consortium, in ledger order.

    Args:
        min_cohort: fewest firms in a cohort and fewest contributions in an aggregate.
        ts: seconds since the epoch, advisory.
        entropy: returns so many random bytes, for the records' ids; `os.urandom`.
        config: SHA-256 of the consortium's configuration file.
        log: the Ed25519 key of the log; by default the coordinator's.
        next_log: SHA-256 of the log's next key, committed in advance; `ledger.rules.commitment`.
        signatures: `ledger.rules.CLASSICAL` or `HYBRID`.
    """
    policy = record(
        "policy",
        cid=cid,
        record_id=entropy(16),
        ts=ts,
        coordinator=coordinator.raw,
        min_cohort=min_cohort,
        config=config,
        founders=len(founders),
        signatures=signatures,
        log=None if log is None else log.raw,
        next_log=next_log,
        approvals=[],
    )
    return [policy, *(enrol_payload(cid, founder, ts=ts, entropy=entropy) for founder in founders)]


def enrol_payload(
    cid: str,
    member: Founder,
    *,
    ts: int,
    entropy: Callable[[int], bytes],
    approvals: Sequence[Mapping[str, Any]] = (),
    parent: bytes | None = None,
) -> dict[str, Any]:
    """The record that enrols one member.

    Args:
        approvals: after the founding, those of a quorum.
        parent: after the founding, the state's `membership_digest`.
    """
    return record(
        "enrol",
        cid=cid,
        record_id=entropy(16),
        ts=ts,
        parent=parent,
        member=member.member,
        kind=member.kind,
        key=member.key.raw,
        name=member.name,
        approvals=list(approvals),
    )


def genesis_statements(
    cid: str,
    coordinator: SigningKey,
    founders: Sequence[Founder],
    *,
    min_cohort: int,
    ts: int,
    entropy: Callable[[int], bytes],
    config: bytes | None = None,
    log: PublicKey | None = None,
    next_log: bytes | None = None,
    signatures: str = CLASSICAL,
) -> list[bytes]:
    """`genesis_payloads`, signed by the coordinator: the first entries of the ledger."""
    payloads = genesis_payloads(
        cid,
        coordinator.public,
        founders,
        min_cohort=min_cohort,
        ts=ts,
        entropy=entropy,
        config=config,
        log=log,
        next_log=next_log,
        signatures=signatures,
    )
    subjects = [cid, *(founder.member for founder in founders)]
    return [
        sign_statement(payload, issuer=COORDINATOR, subject=subject, key=coordinator)
        for payload, subject in zip(payloads, subjects, strict=True)
    ]
