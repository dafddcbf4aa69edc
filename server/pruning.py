"""Deleting what the retention policy no longer keeps: said on the ledger, made final, and only then done.

Whoever takes the ledger over from its last final entry must find every deletion there: so nothing is deleted before
its record is final. Interrupted anywhere, the next pruning goes on: the ledger says what is to be deleted, and the
records of opened seeds, which go last, whether it is.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from ledger.errors import Locked
from ledger.open_ledger import OpenLedger
from ledger.rules import DELETION
from ledger.rules.records import MAX_INPUTS
from server.artifacts import ArtifactStore
from server.coordinator import Coordinator
from server.deletions import check_deletion, deletable, is_due, needed, seeds_of
from server.errors import ServerError
from server.ledger_copy import LedgerCopy, RecordedRound
from server.retention import RetentionPolicy
from server.statements import Statements

Rounds = Mapping[bytes, RecordedRound]


class LedgerInUse(ServerError):
    """Another process writes the ledger, and only that one can say on it what is deleted."""


@dataclass(frozen=True)
class Pruned:
    """What a pruning did, or would do.

    Attributes:
        recorded: rounds whose deletion it put on the ledger.
        deleted: rounds whose artifacts it deleted.
        waiting: rounds whose deletion is recorded and not final yet.
        freed_bytes: what that freed.
        unread: aggregated rounds that are left alone, since this version cannot read their plans.
    """

    recorded: tuple[RecordedRound, ...]
    deleted: tuple[RecordedRound, ...]
    waiting: tuple[RecordedRound, ...]
    freed_bytes: int
    unread: tuple[RecordedRound, ...] = ()


def prune(
    home: Coordinator,
    policy: RetentionPolicy | None,
    now: Callable[[], float],
    witness: Callable[[], None] = lambda: None,
) -> Pruned:
    """Record what is due under a policy, and delete everything whose deletion is final, now or from earlier.

    Args:
        home: its ledger is opened for writing, unless it is served.
        policy: None records nothing.
        now: seconds since the epoch.
        witness: has the members cosign, if they can be reached.

    Raises:
        LedgerInUse: another process writes the ledger.
        NotWitnessed: `witness` could not make the records final; nothing was deleted under them.
    """
    log = _ledger(home)
    rounds = LedgerCopy.index(log.entries(0, log.size))
    due = [one for one in rounds.values() if policy is not None and is_due(one, policy, now())]
    if due and policy is not None:
        statements = Statements(home.config.cid, lambda: home.key, now)
        name = home.artifacts.put(policy.to_bytes())
        log.append([_record(statements, name, batch) for batch in _batches(due)])
        witness()
        rounds = LedgerCopy.index(log.entries(0, log.size))
    ready, waiting = _pending(rounds, home.artifacts, log.final_size, now())
    freed = _delete(rounds, ready, home.artifacts)
    return Pruned(tuple(rounds[one.id] for one in due), tuple(ready), tuple(waiting), freed, _unread(rounds))


def preview(entries: Sequence[bytes], store: ArtifactStore, policy: RetentionPolicy | None, now_s: float) -> Pruned:
    """What `prune` would do in the end, once all of it is final, with a ledger of these entries. Changes nothing."""
    rounds = LedgerCopy.index(entries)
    due = [one for one in rounds.values() if policy is not None and is_due(one, policy, now_s)]
    ready, waiting = _pending(rounds, store, 0, now_s)
    gone = [*due, *ready, *waiting]
    freed = sum(store.size(name) for name in _names(rounds, gone, store))
    return Pruned(tuple(due), (), tuple(waiting), freed, _unread(rounds))


def number_of(one: RecordedRound) -> int | None:
    """The round's number in its run; None where its plan cannot be read."""
    return None if one.plan is None else one.plan.number


def _unread(rounds: Rounds) -> tuple[RecordedRound, ...]:
    return tuple(one for one in rounds.values() if one.aggregate is not None and one.plan is None)


def _ledger(home: Coordinator) -> OpenLedger:
    try:
        return home.ledger
    except Locked as locked:
        raise LedgerInUse(
            f"{locked}; or leave it to the coordinator that runs: with [retention] in coordinator.toml it does the "
            "same after every release"
        ) from None


def _record(statements: Statements, policy: bytes, rounds: list[RecordedRound]) -> bytes:
    """The statement that rounds of one task are deleted."""
    task, digests = rounds[0].payload["task"], [one.digest for one in rounds]
    payload = statements.payload("attest", subject=task, artifact=policy, kind=DELETION, inputs=digests)
    return statements.sign(payload, task)


def _batches(due: Iterable[RecordedRound]) -> Iterator[list[RecordedRound]]:
    """Rounds of one task together, as many as fit in a record."""
    by_task: dict[str, list[RecordedRound]] = {}
    for one in due:
        by_task.setdefault(one.payload["task"], []).append(one)
    for rounds in by_task.values():
        yield from (rounds[at : at + MAX_INPUTS] for at in range(0, len(rounds), MAX_INPUTS))


def _pending(
    rounds: Rounds, store: ArtifactStore, final_size: int, now_s: float
) -> tuple[list[RecordedRound], list[RecordedRound]]:
    """Rounds that are recorded as deleted and are still there: those that may be deleted, and those that wait."""
    ready, waiting = list[RecordedRound](), list[RecordedRound]()
    for one in rounds.values():
        if one.deletion is None or not any(map(store.has, seeds_of(one, store))):
            continue
        try:
            check_deletion(one, store, now_s)
        except ServerError:
            continue  # an audit would not take it either
        (ready if one.deletion.entry < final_size else waiting).append(one)
    return ready, waiting


def _names(rounds: Rounds, gone: Iterable[RecordedRound], store: ArtifactStore) -> list[bytes]:
    """What can be deleted with these rounds."""
    listed = list(gone)
    if not listed:
        return []
    keep = needed(rounds, {one.id for one in listed}, store)
    return [name for one in listed for name in deletable(one, store) if name not in keep]


def _delete(rounds: Rounds, ready: list[RecordedRound], store: ArtifactStore) -> int:
    names = _names(rounds, ready, store)
    seeds = {seed for one in ready for seed in seeds_of(one, store)}
    freed = store.delete(name for name in names if name not in seeds)
    # They are the mark of what is still to be deleted, and go when the rest is gone for good.
    return freed + store.delete(name for name in names if name in seeds)
