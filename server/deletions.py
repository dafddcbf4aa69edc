"""What a retention policy lets go of, and what the record of a deletion must keep to.

Three kinds of artifacts are for recomputing a protected round and for nothing else: the masked vectors (or encrypted
ones), the lists of hashes beside them, and the record of what opened their sum. A coordinator may delete them under a
policy. Before it does, it says so on the ledger, in an attestation of the kind `deletion` about the task: its artifact
is the policy, its inputs are the round statements' digests. An audit holds what is missing against that record, and
the record against the rules here.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from clients.errors import ClientError
from clients.masking.contribution import Header
from server.artifacts import ArtifactStore
from server.errors import ServerError
from server.ledger_copy import RecordedRound
from server.opening_record import load_opening
from server.retention import DAY_S, DeletionInvalid, RetentionPolicy

CLOCKS_DIFFER_S = DAY_S
"""How far clocks of different members may be apart before an audit calls a time wrong."""


def released_s(one: RecordedRound, size: int | None = None) -> int | None:
    """Since when a round's outcome is out: the first release of that round, or of a later one of its task.

    Args:
        size: read only so many entries; a release counts unless it was revoked within them. None reads all.

    Returns:
        The coordinator's time, seconds since the epoch; None for a round that is not aggregated, or not released.
    """
    if one.aggregate is None:
        return None
    for release in one.published:
        known = size is None or release.entry < size
        revoked = release.revoked is not None and (size is None or release.revoked < size)
        if known and not revoked and release.round_entry >= one.entry:
            return release.ts
    return None


def kept_since_s(one: RecordedRound, size: int | None = None) -> int | None:
    """Since when its artifacts are kept: its release, or its contributions where those are later by the firms' clocks.

    A coordinator that dates a release back gains nothing by it.

    Args:
        size: as for `released_s`.

    Returns:
        Seconds since the epoch; None where nothing is released.
    """
    released = released_s(one, size)
    return released if released is None or one.contributed_s is None else max(released, one.contributed_s)


def is_due(one: RecordedRound, policy: RetentionPolicy, now_s: float) -> bool:
    """Whether a round's artifacts may be deleted now, and nobody has said yet that they are.

    A round whose plan cannot be read is left alone.
    """
    since_s = kept_since_s(one)
    kept = since_s is None or now_s - since_s < policy.days * DAY_S
    readable = one.plan is not None and one.plan.aggregation != "plain"
    return one.deletion is None and not kept and readable


def check_deletion(one: RecordedRound, store: ArtifactStore, now_s: float) -> RetentionPolicy:
    """The policy under which a round's artifacts were deleted, by a record that justifies it.

    Its time is the coordinator's, and nothing but clocks of others says whether it was kept to: that of whoever asks,
    and those of the firms that contributed before and afterwards.

    Args:
        now_s: by the clock of whoever asks, seconds since the epoch.

    Raises:
        DeletionInvalid: there is no such record, it came before the policy allowed it, or it is dated ahead.
        ArtifactMissing, ArtifactDamaged: the policy is not in the store.
    """
    said = one.deletion
    if said is None:
        raise DeletionInvalid("retention: nobody has recorded that the round's artifacts are deleted")
    where = f"deletion recorded in entry {said.entry}"
    policy = RetentionPolicy.from_bytes(store.get(said.policy, f"{where}: its policy"))
    since_s = kept_since_s(one, said.entry)
    if since_s is None:
        raise DeletionInvalid(f"{where}: no release stood on the round then")
    if said.ts - since_s < policy.days * DAY_S:
        what = "the release" if since_s == released_s(one, said.entry) else "its firms contributed"
        raise DeletionInvalid(f"{where}: {(said.ts - since_s) // DAY_S} days after {what}, not {policy.days}")
    if said.ts - now_s > CLOCKS_DIFFER_S:
        raise DeletionInvalid(f"{where}: its time is {(said.ts - now_s) / DAY_S:.1f} days ahead of this clock")
    if said.seen_s is not None and said.ts - said.seen_s > CLOCKS_DIFFER_S:
        raise DeletionInvalid(
            f"{where}: its time is {(said.ts - said.seen_s) / DAY_S:.1f} days ahead of what firms signed after it"
        )
    return policy


def seeds_of(one: RecordedRound, store: ArtifactStore) -> tuple[bytes, ...]:
    """The names of a round's records of opened seeds, one a group; none where the ledger or the store names none."""
    if one.aggregate is None or one.plan is None:
        return ()
    try:
        return load_opening(store, one.aggregate["unmask"], one.plan.groups).unmaskings
    except (ServerError, ClientError):
        return ()


def deletable(one: RecordedRound, store: ArtifactStore) -> list[bytes]:
    """The names of what a policy may delete of an aggregated round: masked vectors, pair hashes, opened seeds.

    Headers that are not in the store are passed over: what they name is not known.
    """
    names = []
    for header in _headers(one, store):
        if header.self_seed:
            names += [header.masked, header.pair_seeds]
    return [*names, *seeds_of(one, store)]


def needed(rounds: Mapping[bytes, RecordedRound], deleted: Iterable[bytes], store: ArtifactStore) -> set[bytes]:
    """The names of all that the ledger's rounds and releases still need, when these rounds' artifacts are deleted.

    Args:
        rounds: by id, all of the ledger.
        deleted: the ids of the rounds.
    """
    gone, names = set(deleted), set[bytes]()
    for one in rounds.values():
        names |= {contribution.commit for contribution in one.contributions.values()}
        for header in _headers(one, store):
            names |= {header.sid, header.self_seed}  # where sums are encrypted, the second is the public context
            names |= set() if one.id in gone else {header.masked, header.pair_seeds}
        names |= {one.deletion.policy} if one.deletion is not None else set()
        names |= {one.publication["manifest"]} if one.publication is not None else set()
        names |= _model(one.payload["parent_model"], store)
        if one.aggregate is not None:
            names |= _model(one.aggregate["model"], store) | _opening(one, store)
        if one.id not in gone:
            names |= set(seeds_of(one, store))
    return names


def _opening(one: RecordedRound, store: ArtifactStore) -> set[bytes]:
    """What stays of how a round was opened: the record of its groups' openings, the root gradient, the votes."""
    assert one.aggregate is not None
    if one.plan is None:
        return {one.aggregate["unmask"]}
    if one.plan.groups == 1:
        return set()
    try:
        beside = load_opening(store, one.aggregate["unmask"], one.plan.groups).beside
    except (ServerError, ClientError):
        beside = ()
    return {one.aggregate["unmask"], *beside}


def _model(model: bytes | None, store: ArtifactStore) -> set[bytes]:
    """A stored model's names: the list of its files' digests, and the files."""
    if model is None:
        return set()
    try:
        listed = store.get(model)
    except ServerError:
        return {model}
    return {model, *(listed[at : at + 32] for at in range(0, len(listed), 32))}


def _headers(one: RecordedRound, store: ArtifactStore) -> list[Header]:
    found = []
    for contribution in one.contributions.values():
        try:
            found.append(Header.from_bytes(store.get(contribution.commit)))
        except (ServerError, ClientError):
            continue
    return found
