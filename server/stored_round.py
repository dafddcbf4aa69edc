"""What the store holds of a round: every artifact found by the hash that leads to it from the ledger."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields

from clients.masking.contribution import Header
from clients.masking.session import RosterEntry, Session
from clients.offer import sessions_of
from clients.plan import Plan
from server.aggregation.group_sums import Evidence
from server.aggregation.masked import RoundArtifacts
from server.artifacts import ArtifactStore
from server.descent import Descent
from server.errors import ServerError
from server.ledger_copy import RecordedRound
from server.model_store import load_model
from server.opening_record import load_opening


class AuditMismatch(ServerError):
    """What was recorded is not what comes out; the message names the first thing that differs."""

    exit_code = 1


@dataclass(frozen=True)
class StoredSum:
    """What the store holds of one of a round's sums.

    Attributes:
        session: its terms, as the contributions name them and the ledger has them.
        artifacts: headers, masked values, pair hashes and the unmasking record.
        commits: by contributing firm, SHA-256 of its header, as its statement on the ledger says.
    """

    session: Session
    artifacts: RoundArtifacts
    commits: Mapping[str, bytes]


@dataclass(frozen=True)
class StoredRound:
    """What the store holds of an aggregated round.

    Attributes:
        parent: the model that the round started from.
        sums: one a group, in the order in which the groups are drawn.
        evidence: what the plan's rules about groups took beside.
    """

    parent: Descent
    sums: tuple[StoredSum, ...]
    evidence: Evidence

    def sum_of(self, member: str) -> StoredSum:
        """The sum that holds a firm's contribution.

        Raises:
            AuditMismatch: it contributed to none.
        """
        for one in self.sums:
            if member in one.commits:
                return one
        raise AuditMismatch(f"round: {member} did not contribute to it")


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
    raw = {member: store.get(commit, f"header of {member}") for member, commit in commits.items()}
    headers = {member: Header.from_bytes(one) for member, one in raw.items()}
    if recorded.payload["parent_model"] is None:
        raise AuditMismatch("round: it names no model to start from")
    parent = load_model(store, recorded.payload["parent_model"])
    sessions = _sessions(recorded, plan, headers, plan.dimension if plan.measures else parent.parameters.size, store)
    opening = load_opening(store, aggregate["unmask"], plan.groups)
    sums = []
    for session, unmasking in zip(sessions, opening.unmaskings, strict=True):
        own = {member: headers[member] for member in session.members if member in headers}
        artifacts = RoundArtifacts(
            headers={member: raw[member] for member in own},
            masked={member: store.get(one.masked, f"masked values of {member}") for member, one in own.items()},
            pair_hashes={
                member: store.get(one.pair_seeds, f"pair hashes of {member}") if one.pair_seeds else b""
                for member, one in own.items()
            },
            unmasking=store.get(unmasking, "unmasking record"),
        )
        sums.append(StoredSum(session, artifacts, {member: commits[member] for member in own}))
    root = store.get(opening.root, "root gradient") if opening.root else b""
    votes = {member: store.get(name, f"vote of {member}") for member, name in opening.votes.items()}
    return StoredRound(parent, tuple(sums), Evidence(root, votes))


def _sessions(
    recorded: RecordedRound, plan: Plan, headers: dict[str, Header], dimension: int, store: ArtifactStore
) -> tuple[Session, ...]:
    """The sessions that the contributions name, held against the round's terms on the ledger."""
    sids = {one.sid for one in headers.values()}
    if len(sids) != plan.groups:
        raise AuditMismatch(f"session: the contributions name {len(sids)} of them")
    stored = [Session.from_bytes(store.get(sid, "session")) for sid in sorted(sids)]
    masked = any(one.protection == "masked" for one in stored)
    roster = tuple(
        _keys_of(member, recorded, plan.epoch) if masked else RosterEntry(member, bytes(32))
        for member in sorted(recorded.payload["cohort"])
    )
    expected = sessions_of(recorded.payload["cid"], recorded.offer(plan), roster, dimension)
    by_members = {one.members: one for one in stored}
    found = []
    for session in expected:
        found.append(by_members.get(session.members, stored[0]))
        for name in (one.name for one in fields(Session)):
            if getattr(found[-1], name) != getattr(session, name):
                raise AuditMismatch(f"session: its {name} is not that of the round on the ledger")
    return tuple(found)


def _keys_of(member: str, recorded: RecordedRound, epoch: int) -> RosterEntry:
    """A firm's keys as they stood on the ledger when the round was opened."""
    latest, key = recorded.epoch_keys.get(member, (None, b""))
    if latest != epoch:
        raise AuditMismatch(
            f"round: the ledger had no key of {member} for the masking epoch {epoch} when it was opened"
        )
    return RosterEntry(member, recorded.signing_keys[member], key)
