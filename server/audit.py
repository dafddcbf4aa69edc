"""Recompute what a coordinator recorded: every sum, every step, every model, bit for bit.

Needs a copy of the ledger's database (the coordinator's, or any member's mirror) and of the artifacts folder, and
trusts neither: the ledger is replayed from its first byte, and every artifact is checked against the hash that leads
to it. What it cannot see is said in the threat model: whether firms added the noise that they declared.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from clients.errors import ClientError
from clients.groups import is_next
from clients.masking.contribution import Header
from clients.masking.ring import Integers
from clients.plan import Plan
from ledger.errors import LedgerError
from ledger.homes import Settings
from ledger.policy import Policy
from ledger.postgresql import is_url
from server.aggregation.encrypted import recompute_encrypted
from server.aggregation.group_sums import Electorate, Evidence, GroupSum, after_round, units_of
from server.aggregation.masked import recompute
from server.artifacts import ArtifactMissing, ArtifactStore
from server.audit_report import Audit, RoundAudit
from server.coordinator import LEDGER_FILE
from server.deletions import check_deletion, deletable
from server.errors import ServerError
from server.ledger_copy import LedgerCopy, RecordedRound
from server.model_store import load_model
from server.stored_round import AuditMismatch, StoredSum, stored_round

Clock = Callable[[], float]
ARTIFACTS = "artifacts"
MIRROR = "mirror.db"
POLICY = "policy.txt"


class NoArtifacts(ServerError):
    """There is no store to recompute from; that says nothing about the rounds."""


class NoSuchRound(ServerError):
    """The ledger has no such round."""


def audit_all(home: Path, policy: Policy | None = None, now: Clock = time.time) -> Audit:
    """Audit the ledger and the artifacts in a home directory; see `audit_copies`.

    Args:
        home: holds `ledger.db` (or a member's `mirror.db`) and `artifacts/`; with a `policy.txt` in it, that is what is
            trusted.
        now: as there.
    """
    if policy is None and (home / POLICY).exists():
        policy = Policy.parse((home / POLICY).read_text(encoding="utf-8"))
    return audit_copies(ledger_in(home), home / ARTIFACTS, policy, now=now)


def ledger_in(home: Path) -> str:
    """The ledger's database of a home, a path or a URL: the coordinator's own, or a member's mirror of it."""
    named = Settings.load(home).database
    if is_url(named):
        return named
    own, mirror = home / (named or LEDGER_FILE), home / MIRROR
    return str(mirror if mirror.exists() and not own.exists() else own)


def audit_copies(
    ledger: str | os.PathLike[str],
    artifacts: Path,
    policy: Policy | None = None,
    only: str = "",
    now: Clock = time.time,
) -> Audit:
    """Audit copies of a ledger's database (or a mirror of it) and of the artifacts folder.

    Args:
        policy: whose log key and quorum are trusted; without one, only that the ledger agrees with itself.
        only: recompute just the rounds whose ids begin so, in hexadecimal.
        now: the auditor's clock, seconds since the epoch: no deletion is dated ahead of it.

    Raises:
        StoreError: there is no ledger there.
    """
    copy = LedgerCopy.read(ledger, policy)
    store = ArtifactStore(artifacts)
    done = [one for one in copy.rounds.values() if one.aggregate is not None]
    return Audit(
        entries=len(copy.entries),
        final_size=copy.final_size,
        trusted=policy is not None,
        rounds=tuple(_audit(one, len(copy.entries), store, now()) for one in done if one.id.hex().startswith(only)),
        unfinished=len(copy.rounds) - len(done),
        problem=copy.problem,
    )


def audit_round(entries: Sequence[bytes], store: ArtifactStore, round_id: bytes, now: Clock = time.time) -> RoundAudit:
    """Recompute one round's model from the store.

    Args:
        entries: the ledger from its first entry; its rules and signatures are the caller's to check (`LedgerCopy`).
        now: as for `audit_copies`.

    Raises:
        NoSuchRound: no entry opens such a round.
    """
    known = LedgerCopy.index(entries).get(round_id)
    if known is None:
        raise NoSuchRound(f"round {round_id.hex()}: the ledger does not have it")
    return _audit(known, len(entries), store, now())


def _audit(recorded: RecordedRound, size: int, store: ArtifactStore, now_s: float) -> RoundAudit:
    problem, number, deleted, holder, measures = None, 0, None, "", ""
    beside = Evidence()
    try:
        plan = Plan.from_map(recorded.payload["plan"])
        number, holder, measures = plan.number, plan.key_holder, plan.measures
        try:
            if recorded.aggregate is not None:
                beside = _check(recorded, plan, store)
        except ArtifactMissing as missing:
            deleted = _check_deleted(recorded, size, store, missing, now_s)
    except (ServerError, ClientError, LedgerError) as error:
        problem = str(error)
    return RoundAudit(
        round_id=recorded.id,
        task=recorded.payload["task"],
        number=number,
        entry=recorded.entry,
        firms=tuple(sorted(recorded.contributions)),
        model=None if recorded.aggregate is None else recorded.aggregate["model"],
        problem=problem,
        deleted=deleted,
        opened_by=holder or None,
        root_by_word=bool(beside.root),
        voted=len(beside.votes) or None,
        measures=measures,
    )


def _check_deleted(
    recorded: RecordedRound, size: int, store: ArtifactStore, missing: ArtifactMissing, now_s: float
) -> int:
    """The entry that says why an artifact of a round is missing; checks what can still be checked without it.

    Args:
        size: entries of the copy of the ledger, which may be older than the store.

    Raises:
        ArtifactMissing: nobody has said so, or of another kind of artifact than may be deleted.
        DeletionInvalid: the record does not justify it.
    """
    if missing.artifact not in deletable(recorded, store):
        raise missing
    if recorded.deletion is None:
        why = f"this copy of the ledger ends at entry {size - 1}; a deletion may be recorded later"
        raise ArtifactMissing(f"{missing} ({why})", missing.artifact)
    check_deletion(recorded, store, now_s)
    assert recorded.aggregate is not None  # what is deleted belongs to an aggregate
    for member, one in recorded.contributions.items():
        if Header.from_bytes(store.get(one.commit, f"header of {member}")).member != member:
            raise AuditMismatch(f"header of {member}: it is of another firm")
    load_model(store, recorded.aggregate["model"])
    _check_publication(recorded, store)
    return recorded.deletion.entry


def _check(recorded: RecordedRound, plan: Plan, store: ArtifactStore) -> Evidence:
    """Follow the hashes from the ledger to the bytes, and compute again what they must give.

    Returns:
        what the rules about groups took beside, and was taken as it is: its signatures are checked, not its truth.
    """
    aggregate = recorded.aggregate
    assert aggregate is not None
    if plan.groups > 1 and not any(is_next(plan, one) for one in (None, *(one.plan for one in recorded.makers))):
        raise AuditMismatch(f"round: number {plan.number} is neither a run's first nor the next after its parent model")
    kept = stored_round(recorded, plan, store)
    sums = []
    for one in kept.sums:
        total = _total(one, recorded, plan, store)
        sums.append(GroupSum(one.session.quantiser.dequantise(total), units_of(list(one.commits), recorded.units)))
    keys = {member: recorded.signing_keys[member] for one in kept.sums for member in one.commits}
    electorate = Electorate(recorded.payload["cid"], recorded.id, keys)
    after = after_round(kept.parent, plan, sums, kept.evidence, electorate)
    stored = load_model(store, aggregate["model"])
    if after.digest != aggregate["model"]:
        away = float(np.abs(after.parameters - stored.parameters).max()) if stored.parameters.size else 0.0
        raise AuditMismatch(
            f"model: the contributions give {after.digest.hex()[:16]}, the ledger records "
            f"{aggregate['model'].hex()[:16]} (parameters differ by up to {away:.3g})"
        )
    _check_publication(recorded, store)
    return Evidence(kept.evidence.root if plan.root else b"", kept.evidence.votes if plan.votes else {})


def _total(stored: StoredSum, recorded: RecordedRound, plan: Plan, store: ArtifactStore) -> Integers:
    """int64[dimension], the sum that the stored bytes give, or that the key holder vouches for."""
    session = stored.session
    if session.protection != "encrypted":
        return recompute(session, stored.artifacts, stored.commits)
    if recorded.held.get(session.key_holder) != (session.epoch, session.context):
        raise AuditMismatch(f"key holder: {session.key_holder} has not vouched for the round's key on the ledger")
    return recompute_encrypted(
        session,
        stored.artifacts,
        stored.commits,
        context=store.get(session.context, "public context"),
        keys=recorded.closing_keys,
        colluders=plan.colluders,
    )


def opened_total(recorded: RecordedRound, plan: Plan, store: ArtifactStore) -> tuple[Integers, tuple[str, ...]]:
    """int64[plan.values], the one sum of an aggregated round, computed again, and the firms in it.

    Raises:
        AuditMismatch, ArtifactMissing, ArtifactDamaged: it cannot be.
    """
    (one,) = stored_round(recorded, plan, store).sums
    return _total(one, recorded, plan, store), tuple(one.commits)


def _check_publication(recorded: RecordedRound, store: ArtifactStore) -> None:
    """A published model must be the aggregate, and its manifest must say so."""
    if recorded.publication is None or recorded.aggregate is None:
        return
    model = recorded.aggregate["model"]
    if recorded.publication["model"] != model:
        raise AuditMismatch("publication: the model published is not the round's aggregate")
    raw = store.get(recorded.publication["manifest"], "manifest of the release")
    try:
        manifest = json.loads(raw)
        named = (manifest["model"], manifest["round"], manifest["spec_sha256"])
    except (ValueError, KeyError, TypeError):
        raise AuditMismatch("manifest of the release: it is not one") from None
    if named != (model.hex(), recorded.id.hex(), recorded.spec.hex()):
        raise AuditMismatch("manifest of the release: it is of another model, round or task spec")
