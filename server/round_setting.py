"""What all rounds of a run share, and how one of them is given up."""

from __future__ import annotations

from dataclasses import dataclass

from server.artifacts import ArtifactStore
from server.cohort import Cohort
from server.recording import Record
from server.root_table import RootTable
from server.statements import Statements
from server.void_rounds import forget_contributions


@dataclass(frozen=True)
class Setting:
    """What all rounds of a run share.

    Attributes:
        task: the task's name.
        dimension: parameters of the task's model.
        record: the ledger; None in simulations without one.
        root: the coordinator's own table, where plans name one.
    """

    task: str
    dimension: int
    cohort: Cohort
    record: Record | None
    statements: Statements
    artifacts: ArtifactStore
    root: RootTable | None = None

    def abort(self, round_id: bytes, reason: str) -> None:
        """Delete what firms sent for a round, and give it up on the ledger.

        In this order: after a crash in between the round is still open, and is given up again.
        """
        if self.record is not None:
            text = " ".join(reason.split())[:500]
            left = self.record.ledger.state.rounds.get(round_id)
            commits = [one.commit for one in left.contributions.values()] if left is not None else []
            forget_contributions(self.artifacts, commits)
            self.record.append([self.statements.make("abort", round_id.hex(), round=round_id, reason=text)])
