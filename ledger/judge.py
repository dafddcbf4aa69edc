"""A mirror as judge of what it is shown: whether it fits what is mirrored, what it is refused with, and what is kept.

Of what shows that a log has misbehaved the mirror keeps a file that convinces others.
"""

from collections.abc import Sequence

from ledger.checkpoint import CheckpointError, SignedCheckpoint
from ledger.divergence import fork_file
from ledger.errors import LedgerError
from ledger.evidence import notes_evidence, rules_evidence
from ledger.finality import log_vkey
from ledger.intake import Forbidden, Intake
from ledger.merkle import ProofError, leaf_hash, root_of, verify_consistency
from ledger.mirrored import Mirrored
from ledger.note import Vkey
from ledger.source import Misbehaviour, Rollback, Source, WitnessRefusal


class Judge(Mirrored):
    """A mirror that holds checkpoints and entries against what it has."""

    def _parse(self, note: str) -> SignedCheckpoint:
        try:
            signed = SignedCheckpoint.parse(note)
        except LedgerError as error:
            raise WitnessRefusal(f"{self._whose} does not take this checkpoint: {error}") from None
        if signed.checkpoint.origin != self.origin:
            raise WitnessRefusal(f"the checkpoint is of the log {signed.checkpoint.origin!r}, not of {self.origin!r}")
        return signed

    def _verify(self, signed: SignedCheckpoint, log: Vkey) -> None:
        try:
            signed.verify_log(log)
        except CheckpointError as error:
            raise WitnessRefusal(f"{self._whose} does not take this checkpoint: {error}") from None

    def _has(self, signed: SignedCheckpoint) -> bool:
        """Whether a checkpoint is over entries of this mirror."""
        point = signed.checkpoint
        return point.size <= self.size and self.root_at(point.size) == point.root

    def _extends(self, signed: SignedCheckpoint, proof: Sequence[bytes]) -> bool:
        point = signed.checkpoint
        try:
            verify_consistency(self.size, point.size, proof, self.root, point.root)
        except ProofError:
            return False
        return True

    def _require_founder(self, intake: Intake) -> None:
        if intake.founded_by not in (None, self._log.key):
            raise WitnessRefusal(f"the log {self.origin!r} was founded with another key than {self._whose} expects")

    def _rolled_back(self, signed: SignedCheckpoint) -> Rollback:
        detail = f"{self._whose} has mirrored {self.size} entries, more than the {signed.checkpoint.size} offered"
        return Rollback(self._note, signed.with_lines(()), detail)

    def _accused_of_fork(
        self, signed: SignedCheckpoint, proof: Sequence[bytes], source: Source | None
    ) -> WitnessRefusal:
        """Refuse a history that this mirror's own does not allow; with proof, if it can be had."""
        point, offered = signed.checkpoint, signed.with_lines(())
        if point.size < self.size and self._has(signed):
            return self._rolled_back(signed)
        log = log_vkey(self.origin, self.state)
        self._verify(signed, log)
        detail = f"checkpoint {point.size} does not fit the {self.size} entries that {self._whose} has mirrored"
        file = fork_file(self, signed, proof, source)
        if file is None:
            self._keep("notes", offered, notes_evidence(self._note, offered))
            return WitnessRefusal(f"{detail}, and its source gives no proof; both checkpoints are kept")
        self._keep("fork", offered, file)
        return Misbehaviour("fork", self._note, offered, detail, file)

    def _accused_of_breaking(
        self, broken: Forbidden, start: int, signed: SignedCheckpoint, intake: Intake
    ) -> WitnessRefusal:
        """Refuse an entry; the log is to blame if its checkpoint commits to these bytes.

        Its key is the one that the entries up to there name: it may have rotated just before.
        """
        self._require_founder(intake)
        own = [leaf_hash(raw) for raw in self._store.entries(0, start)]
        leaves, named = [*own, *broken.leaves], intake.at.state.log
        log = self._log if named is None else Vkey.of_log(self.origin, named.key)
        if root_of(leaves) != signed.checkpoint.root:
            return WitnessRefusal(f"{self._whose} does not take this: {broken}")
        self._verify(signed, log)
        offered = signed.with_lines(())
        file = rules_evidence(offered, leaves, broken.index, broken.entry, broken.before)
        self._keep("rules", offered, file)
        return Misbehaviour(
            "rules", self._note, offered, f"the log signed an entry that no log may take: {broken}", file
        )

    def _keep(self, kind: str, offered: str, file: bytes) -> None:
        with self._store.write() as transaction:
            transaction.put_evidence(kind, self._note, offered, file)
