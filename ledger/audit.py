"""Re-check a whole ledger from its stored bytes: hashes, signatures, rules, checkpoints, quorum."""

import os
from dataclasses import dataclass

from ledger.checkpoint import Policy, SignedCheckpoint, is_final, verify_cosignature
from ledger.errors import Damaged, LedgerError, StoreError
from ledger.finality import consortium_policy
from ledger.note import SignatureLine, Vkey
from ledger.replay import Replayed, replay
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
    """

    origin: str
    entries: int
    checkpoints: int
    cosignatures: int
    final_size: int
    root: str
    problems: tuple[str, ...]

    @property
    def ok(self) -> bool:
        """Whether nothing is wrong."""
        return not self.problems


def audit(location: str | os.PathLike[str], policy: Policy) -> AuditReport:
    """Audit the ledger, or a witness's mirror of it, at `location` against the auditor's own `policy`.

    Nothing is trusted but the policy. A mirror holds only its owner's cosignatures, so finality is not asked
    of it.

    Raises:
        StoreError: there is no ledger there.
    """
    store = Store(location, read_only="://" not in os.fspath(location))
    try:
        return _Audit(store, policy).report()
    finally:
        store.close()


class _Audit:
    def __init__(self, store: Store, policy: Policy) -> None:
        self._store = store
        self._trusted = policy
        self._reached: list[Replayed] = []
        self._policies: dict[int, Policy] = {}
        self._problems: list[str] = []
        self._cosignatures = 0
        self._final_size = 0

    def report(self) -> AuditReport:
        try:
            meta = self._store.meta()
        except Damaged as error:
            return AuditReport("unknown", 0, 0, 0, 0, "", (str(error),))
        origin = meta.get("origin", "unknown")
        log = self._trusted.log_named(origin)
        if log is None:
            self._problems.append(f"{self._store.name}: the policy does not know the log {origin!r}")
        else:
            self._check(log, meta)
        last = self._reached[-1] if self._reached else None
        return AuditReport(
            origin=origin,
            entries=0 if last is None else last.state.size,
            checkpoints=len(self._policies),
            cosignatures=self._cosignatures,
            final_size=self._final_size,
            root="" if last is None else last.frontier.root().hex(),
            problems=tuple(self._problems),
        )

    def _check(self, log: Vkey, meta: dict[str, str]) -> None:
        try:
            end = replay(
                self._store,
                meta.get("cid", ""),
                log,
                verify_all=True,
                at_checkpoint=lambda at: self._at_checkpoint(at, log),
            )
            self._reached.append(end)
        except (Damaged, StoreError) as error:
            self._problems.append(str(error))
        try:
            self._check_cosignatures()
        except (Damaged, StoreError) as error:
            self._problems.append(str(error))
        if not self._final_size and "member" not in meta:
            self._problems.append(
                f"{self._store.name}: no sound checkpoint has the policy's quorum; ask the members' witnesses to cosign"
            )

    def _at_checkpoint(self, at: Replayed, log: Vkey) -> None:
        self._reached.append(at)
        self._policies[at.state.size] = consortium_policy(at.state, log)

    def _check_cosignatures(self) -> None:
        notes = self._store.checkpoints()
        for size, policy in self._policies.items():
            keys = {vkey.name: vkey for vkey in policy.witnesses.values()}
            signed = SignedCheckpoint.parse(notes[size])
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
