"""What follows a run's last round: the model is published, delivered to the firms, and what is too old is deleted."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from clients.errors import ClientError
from clients.plan import Plan
from clients.tasks.spec import TaskSpec
from ledger.errors import LedgerError
from server.cohort import Cohort
from server.coordinator import Coordinator, Progress
from server.delivery import Delivery
from server.descent import Descent
from server.errors import ServerError
from server.pruning import prune
from server.recording import Record
from server.release_privacy import release_privacy
from server.releases import Release, publish
from server.statements import Statements


@dataclass(frozen=True)
class AfterTraining:
    """The end of one task's run.

    Attributes:
        record: None where there is no ledger; then nothing is delivered or deleted.
        witness: has everything on the ledger become final, or raises.
    """

    home: Coordinator
    name: str
    cohort: Cohort
    record: Record | None
    statements: Statements
    progress: Progress
    now: Callable[[], float]
    witness: Callable[[], None]

    def publish(self, descent: Descent, round_id: bytes, plans: list[Plan], spec: TaskSpec) -> Release:
        """Publish the model of the last round.

        Raises:
            NotWitnessed: the ledger does not become final.
        """
        size, ledger = len(self.cohort.members), None if self.record is None else self.record.ledger
        release = publish(
            self.home,
            self.name,
            descent,
            round_id,
            facts={
                "rounds": len(plans),
                "firms": self.cohort.members,
                "weighting": plans[-1].weighting,
                "privacy": release_privacy(plans, self.name, spec, size, ledger),
            },
            record=self.record,
            sign=self.statements.make,
            witness=self.witness,
        )
        self.progress(f"{self.name}: published model {release.model.hex()[:16]}")
        return release

    def deliver_missed(self) -> None:
        """Send the last release to the firms that were away when it was published."""
        if self.record is not None and self._delivery(self.record).lacking(self.cohort.enlisted):
            for member in self.deliver():
                self.progress(f"{self.name}: {member} has taken the release that it missed")

    def deliver(self) -> list[str]:
        """Send the current release to who lacks it; returns who took it. What fails is done with the next run."""
        if self.record is None:
            return []
        try:
            self.witness()  # what is final a firm's mirror learns with the next message only
            return self._delivery(self.record).send(self.cohort, self.cohort.enlisted)
        except (ServerError, ClientError, LedgerError, OSError) as error:
            self.progress(f"{self.name}: the release is not delivered to all yet; the next run does it: {error}")
            return []

    def prune(self) -> None:
        """Delete what the retention policy no longer keeps. What is left undone is done after the next release."""
        if self.record is None:
            return
        try:
            done = prune(self.home, self.home.config.retention_policy, self.now, self.witness)
        except (ServerError, ClientError, LedgerError, OSError) as error:
            self.progress(f"{self.name}: nothing is deleted under the retention policy yet: {error}")
            return
        if done.deleted:
            self.progress(f"retention: artifacts of {len(done.deleted)} rounds deleted, {done.freed_bytes} bytes")
        if done.unread:
            self.progress(f"retention: {len(done.unread)} rounds left alone: this version cannot read their plans")

    def _delivery(self, record: Record) -> Delivery:
        return Delivery(self.home, self.name, record)
