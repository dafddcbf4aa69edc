"""What the store holds of a round: every artifact found by the hash that leads to it from the ledger."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields

from clients.masking.contribution import Header
from clients.masking.session import RosterEntry, Session
from clients.offer import session_of
from clients.plan import Plan
from server.aggregation.masked import RoundArtifacts
from server.artifacts import ArtifactStore
from server.descent import Descent
from server.errors import ServerError
from server.ledger_copy import RecordedRound
from server.model_store import load_model


class AuditMismatch(ServerError):
    """What was recorded is not what comes out; the message names the first thing that differs."""

    exit_code = 1


@dataclass(frozen=True)
class StoredRound:
    """What the store holds of an aggregated round.

    Attributes:
        parent: the model that the round started from.
        session: the terms of its sum, as the contributions name them and the ledger has them.
        artifacts: headers, masked values, pair hashes and the unmasking record.
        commits: by contributing firm, SHA-256 of its header, as its statement on the ledger says.
    """

    parent: Descent
    session: Session
    artifacts: RoundArtifacts
    commits: Mapping[str, bytes]


def stored_round(recorded: RecordedRound, plan: Plan, store: ArtifactStore) -> StoredRound:
    """Follow the hashes of an aggregated round from the ledger to the bytes in the store.

    Raises:
        AuditMismatch, ArtifactMissing, ArtifactDamaged: naming the first thing that is not as the ledger says.
    """
    aggregate = recorded.aggregate
    assert aggregate is not None
    if aggregate["inputs"] != [one.digest for one in recorded.contributions.values()]:
        raise AuditMismatch("aggregate: its inputs are not the round's contributions on the ledger")
    commits = {member: one.commit for member, one in recorded.contributions.items()}
    headers = {member: store.get(commit, f"header of {member}") for member, commit in commits.items()}
    read = {member: Header.from_bytes(raw) for member, raw in headers.items()}
    if recorded.payload["parent_model"] is None:
        raise AuditMismatch("round: it names no model to start from")
    parent = load_model(store, recorded.payload["parent_model"])
    session = _session(recorded, plan, read, parent.parameters.size, store)
    artifacts = RoundArtifacts(
        headers=headers,
        masked={member: store.get(one.masked, f"masked values of {member}") for member, one in read.items()},
        pair_hashes={
            member: store.get(one.pair_seeds, f"pair hashes of {member}") if one.pair_seeds else b""
            for member, one in read.items()
        },
        unmasking=store.get(aggregate["unmask"], "unmasking record"),
    )
    return StoredRound(parent, session, artifacts, commits)


def _session(
    recorded: RecordedRound, plan: Plan, headers: dict[str, Header], dimension: int, store: ArtifactStore
) -> Session:
    """The session that the contributions name, held against the round's terms on the ledger."""
    sids = {one.sid for one in headers.values()}
    if len(sids) != 1:
        raise AuditMismatch(f"session: the contributions name {len(sids)} of them")
    stored = Session.from_bytes(store.get(sids.pop(), "session"))
    # Epoch keys are not on the ledger: each firm vouches for them by the session id in its own header.
    keys = recorded.signing_keys if stored.protection == "masked" else {}
    vouched = {one.member: one.epoch_key for one in stored.roster}
    roster = tuple(
        RosterEntry(member, keys.get(member, bytes(32)), vouched.get(member, b""))
        for member in sorted(recorded.payload["cohort"])
    )
    expected = session_of(recorded.payload["cid"], recorded.offer(plan), roster, dimension)
    for name in (one.name for one in fields(Session)):
        if getattr(stored, name) != getattr(expected, name):
            raise AuditMismatch(f"session: its {name} is not that of the round on the ledger")
    return stored
