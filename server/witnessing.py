"""Having the firms witness what is on the ledger, outside of any training run."""

from __future__ import annotations

from flwr.serverapp import Grid

from clients.messages import WITNESS
from server.cohort import Cohort
from server.coordinator import Coordinator
from server.recording import Record

_TIMEOUT_S = 600


def witness(grid: Grid, coordinator: Coordinator) -> None:
    """Bring every firm's witness up to date, keep the cosignatures, and insist that all entries are final.

    Raises:
        RunFailed: no firm answered.
        NotWitnessed: too few cosigned.
    """
    record = Record(coordinator.log)
    cohort = Cohort(grid, coordinator.config.cid, "", _TIMEOUT_S)
    cohort.meet(0)
    for member, size in cohort.mirrored.items():
        record.has_mirrored(member, size)
    record.take(cohort.ask(WITNESS, record.news_for(cohort.members), 0))
    record.require_final()
