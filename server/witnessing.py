"""Having the firms witness what is on the ledger, in a training run or outside of one."""

from __future__ import annotations

from flwr.serverapp import Grid

from clients.messages import HELLO, WITNESS
from server.cohort import Cohort
from server.coordinator import Coordinator
from server.delivery import Delivery
from server.live_record import LiveRecord, open_record
from server.node_names import registered_names
from server.presence import greeting
from server.recording import MessagedRecord, Record

_TIMEOUT_S = 600


def witness(grid: Grid, coordinator: Coordinator) -> None:
    """Bring every firm's witness up to date, keep the cosignatures, and insist that all entries are final.

    Firms that have contributed to a task and were away when its release was published are sent it now.

    Raises:
        RunFailed: no firm answered.
        NotWitnessed: too few cosigned.
    """
    record = open_record(coordinator)
    names = registered_names(coordinator.home, coordinator.config.network)
    cohort = Cohort(grid, coordinator.config.cid, "", _TIMEOUT_S, names=names)
    cohort.meet(0, record.enrolled_key)
    for member, size in cohort.mirrored.items():
        record.has_mirrored(member, size)
    bring_up_to_date(cohort, record, 0)
    record.require_final()
    for task in coordinator.config.task:
        took_part = [one for one in cohort.witnesses if record.ledger.state.spent.get((one, task.name)) is not None]
        Delivery(coordinator, task.name, record).send(cohort, took_part)


def bring_up_to_date(cohort: Cohort, record: Record, number: int) -> None:
    """Have every firm's witness mirror and cosign what it lacks: ask it to, or wait where it does so by itself.

    Raises:
        NotWitnessed: live witnesses do not make the entries final in time.
    """
    if isinstance(record, LiveRecord):
        record.wait_for(cohort.witnesses)
    elif isinstance(record, MessagedRecord):
        _send_news(cohort, record, number)


def _send_news(cohort: Cohort, record: MessagedRecord, number: int) -> None:
    """Send every firm's witness the entries that it lacks, and keep the cosignatures that come back.

    A firm whose last answer was lost may have mirrored what it was sent, and its witness takes exactly what it lacks:
    so it is asked first where it stands. If it does not say, it is left alone for this time.
    """
    lost = record.unconfirmed(cohort.witnesses)
    if lost:
        request = greeting(record.ledger.cid, "", 0)
        for member, reply in cohort.ask(HELLO, dict.fromkeys(lost, request), number):
            record.has_mirrored(member, reply["mirrored"])
    silent = set(record.unconfirmed(cohort.witnesses))
    members = [member for member in cohort.witnesses if member not in silent]
    record.take(list(cohort.ask(WITNESS, record.news_for(members), number)))
