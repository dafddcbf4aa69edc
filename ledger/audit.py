"""Re-check a whole ledger from its stored bytes: hashes, signatures, rules, checkpoints, quorum."""

import os
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass

from ledger.body_census import BodyCensus, count_bodies
from ledger.checkpoint import Policy, SignedCheckpoint, is_final, verify_cosignature
from ledger.checkpoint_book import CheckpointBook
from ledger.entry_audit import EntryAudit
from ledger.errors import Damaged, LedgerError, NoDatabase, StoreError
from ledger.finality import consortium_policy, log_vkey
from ledger.founding import read_founding
from ledger.note import SignatureLine
from ledger.replay import Replayed, replay
from ledger.schema import BODIES
from ledger.store import Store


@dataclass(frozen=True)
class AuditReport:
    """What an audit found.

    Attributes:
        origin: the log's name.
        entries: number of entries re-checked without a problem.
        checkpoints: number of checkpoints whose root and signature were right.
        cosignatures: number of cosignatures that were right.
        final_size: number of entries that are final under the auditor's policy.
        root: hexadecimal root over the entries re-checked.
        problems: what is wrong, a line each; empty when all is well.
        policy_is_present: whether the policy names the log's key and the members of now, by what is final here; true
            where that cannot be told.
        change_pending: whether newer members or keys are in the entries, and not final yet.
        bodies: which of the bodies that entries name are there; None for a mirror, which has none.
        awaits_witnesses: whether nothing is wrong but that the founding, which is all there is, lacks the quorum: the
            members' witnesses have not been started. That is a problem, too: nothing is final.
    """

    origin: str
    entries: int
    checkpoints: int
    cosignatures: int
    final_size: int
    root: str
    problems: tuple[str, ...]
    policy_is_present: bool
    change_pending: bool
    bodies: BodyCensus | None = None
    awaits_witnesses: bool = False

    @property
    def ok(self) -> bool:
        """Whether nothing is wrong."""
        return not self.problems


def audit(
    location: str | os.PathLike[str],
    policy: Policy,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> AuditReport:
    """Audit the ledger, or a witness's mirror of it, at `location` against the auditor's own `policy`.

    Nothing is trusted but the policy. A mirror holds only the cosignatures that its owner has seen, so finality is
    not asked of it.

    Args:
        progress: called now and then with how many of the entries have been read, and how many there are.

    Raises:
        StoreError, NoDatabase: there is no ledger there.
    """
    store = Store(location, read_only="://" not in os.fspath(location))
    try:
        return _Audit(store, policy, progress).report()
    finally:
        store.close()


class _Audit:
    def __init__(self, store: Store, policy: Policy, progress: Callable[[int, int], None]) -> None:
        self._store = store
        self._trusted = policy
        self._progress = progress
        self._reached: list[Replayed] = []
        self._policies: dict[int, Policy] = {}
        self._problems: list[str] = []
        self._cosignatures = 0
        self._final_size = 0
        self._policy_is_present, self._change_pending = True, False
        self._bodies: BodyCensus | None = None
        self._awaits_witnesses = False

    def report(self) -> AuditReport:
        try:
            meta = self._store.meta()
        except NoDatabase:
            raise
        except Damaged as error:
            return AuditReport("unknown", 0, 0, 0, 0, "", (str(error),), True, False)
        origin = meta.get("origin", "unknown")
        if self._trusted.logs_named(origin):
            self._check(origin, meta)
        else:
            self._problems.append(f"{self._store.name}: the policy does not know the log {origin!r}")
        last = self._reached[-1] if self._reached else None
        return AuditReport(
            origin=origin,
            entries=0 if last is None else last.state.size,
            checkpoints=len(self._policies),
            cosignatures=self._cosignatures,
            final_size=self._final_size,
            root="" if last is None else last.frontier.root().hex(),
            problems=tuple(self._problems),
            policy_is_present=self._policy_is_present,
            change_pending=self._change_pending,
            bodies=self._bodies,
            awaits_witnesses=self._awaits_witnesses,
        )

    def _check(self, origin: str, meta: dict[str, str]) -> None:
        parts: tuple[Callable[[], None], ...] = (
            lambda: self._check_entries(origin, meta.get("cid", ""), mirror="member" in meta),
            self._check_cosignatures,
            lambda: self._check_log_key(origin),
        )
        for check in parts:
            try:
                check()
            except (Damaged, StoreError) as error:
                self._problems.append(str(error))
        if not self._final_size and "member" not in meta:
            self._awaits_witnesses = not self._problems and self._is_only_founded(origin)
            self._problems.append(
                f"{self._store.name}: no sound checkpoint has the policy's quorum; ask the members' witnesses to cosign"
            )

    def _is_only_founded(self, origin: str) -> bool:
        """Whether there is nothing but the founding under a checkpoint: nobody can have left since."""
        size = self._reached[-1].state.size
        with suppress(LedgerError):
            return size in self._policies and read_founding(origin, self._store.entries, size).size == size
        return False

    def _check_entries(self, origin: str, cid: str, *, mirror: bool) -> None:
        book = CheckpointBook(self._store, origin)

        def at_checkpoint(at: Replayed) -> None:
            self._reached.append(at)
            self._policies[at.state.size] = book.electorate.policy(at.state.size)
            book.pass_checkpoint(at.state.size)

        end = replay(
            self._store,
            cid,
            origin,
            verify_all=True,
            at_checkpoint=at_checkpoint,
            at_entry=lambda at: book.pass_entry(at.state),
            progress=self._progress,
        )
        self._reached.append(end)
        with suppress(LedgerError):  # what is wrong with the checkpoints is said elsewhere
            book.settle()
            self._compare(book.settled.policy(origin), consortium_policy(end.state, origin))
        EntryAudit(self._store, 0, end.state.size, time.monotonic).run(end.frontier, None)
        self._store.check_rows(BODIES)
        self._bodies = None if mirror else count_bodies(self._store)

    def _compare(self, present: Policy, coming: Policy) -> None:
        """The auditor's policy may be an older one: it is no problem of the ledger's, but to be told."""
        trusted, named = self._trusted.witnesses.values(), present.witnesses.values()
        self._policy_is_present = set(trusted) == set(named) and present.logs[0] in self._trusted.logs
        self._change_pending = coming != present

    def _check_log_key(self, origin: str) -> None:
        """The entries name the log's keys; the auditor's policy must know the one of the newest checkpoint."""
        newest = next((at for at in reversed(self._reached) if at.state.size in self._policies), None)
        if newest is not None and log_vkey(origin, newest.state) not in self._trusted.logs_named(origin):
            raise Damaged(
                f"{self._store.name}: checkpoint {newest.state.size} is signed by a key of {origin!r} that the policy "
                "does not know; use the policy of the present members"
            )

    def _check_cosignatures(self) -> None:
        for size, policy in self._policies.items():
            keys = {vkey.name: vkey for vkey in policy.witnesses.values()}
            signed = SignedCheckpoint.parse(self._store.checkpoints(size, size)[size])
            good: list[SignatureLine] = []
            for name, text in self._store.cosignatures(size).items():
                try:
                    line = SignatureLine.parse(text)
                    if line.name != name or name not in keys:
                        raise Damaged(f"{name!r} was no witness then")
                    verify_cosignature(signed.body, line, keys[name])
                except LedgerError as error:
                    self._problems.append(f"{self._store.name}: a cosignature on checkpoint {size}: {error}")
                else:
                    good.append(line)
            self._cosignatures += len(good)
            if is_final(signed.with_lines(good), self._trusted):
                self._final_size = max(self._final_size, size)
