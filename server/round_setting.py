"""What all rounds of a run share, and how one of them is given up."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field

from server.artifacts import ArtifactStore
from server.cohort import Cohort
from server.recording import Record
from server.root_table import RootTable
from server.round_journal import RoundJournal, Step
from server.statements import Statements
from server.void_rounds import forget_contributions


def _no_journal() -> RoundJournal:
    return RoundJournal(None, "", lambda: 0.0)


@dataclass(frozen=True)
class Setting:
    """What all rounds of a run share.

    Attributes:
        task: the task's name.
        dimension: parameters of the task's model.
        record: the ledger; None in simulations without one.
        root: the coordinator's own table, where plans name one.
        journal: of the run's rounds; by default one that keeps nothing.
    """

    task: str
    dimension: int
    cohort: Cohort
    record: Record | None
    statements: Statements
    artifacts: ArtifactStore
    root: RootTable | None = None
    journal: RoundJournal = field(default_factory=_no_journal)

    def abort(self, round_id: bytes, reason: str) -> None:
        """Delete what firms sent for a round, and give it up on the ledger.

        In this order: after a crash in between the round is still open, and is given up again.
        """
        text = " ".join(reason.split())[:500]
        if self.record is not None:
            left = self.record.ledger.state.rounds.get(round_id)
            commits = {one.commit for one in left.contributions.values()} if left is not None else set()
            kept = self.journal.taken(round_id, Step.CONTRIBUTION).values()
            commits |= {hashlib.sha256(row["header"]).digest() for row in kept}
            forget_contributions(self.artifacts, sorted(commits))
            self.record.append([self.statements.make("abort", round_id.hex(), round=round_id, reason=text)])
        self.journal.end_round("Aborted", text)

    def drop(self, round_id: bytes, member: str, commit: bytes) -> None:
        """Delete a contribution that the ledger does not take."""
        forget_contributions(self.artifacts, [commit])
        self.journal.forget(round_id, Step.CONTRIBUTION, [member])
