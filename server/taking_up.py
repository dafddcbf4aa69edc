"""Whether a round that was left open is taken up where it was, or given up, and why."""

from __future__ import annotations

import time
from collections.abc import Collection, Sequence

from clients.plan import Plan
from ledger.rules import Phase
from server.asking_again import Waiting
from server.cohort import Cohort, RunFailed
from server.key_epochs import last_epoch
from server.presence import EnrolledKey
from server.recording import Record
from server.resumption import Standing, open_round, same_run
from server.round_journal import Begun, RoundJournal
from server.round_terms import RoundTerms

_LONGEST_S = 86_400
_DEADLINES = 10  # or so many of the round's own deadlines, if that is longer
RETURN_S = 120.0
"""How long firms of an open round are waited for: one whose machine was started anew is back within it."""
_PAUSE_S = 2.0


def left_open(record: Record, journal: RoundJournal, begun: Begun, task: str, now_s: float) -> RoundTerms | str | None:
    """The round that a task's last run left open, by ledger and journal.

    Returns:
        Its terms, to take it up; why it has to be given up; or None where no round is open.
    """
    left = open_round(record.ledger, task)
    content = journal.opened(begun.round) if begun.round else None
    if left is None:
        if begun.round:
            journal.end_round()  # over on the ledger, or never submitted: then nobody has heard of it
        return None
    if content is None or begun.round != left.id or left.phase is not Phase.OPEN:
        return "the coordinator stopped before the round was aggregated, and its journal does not have the round"
    terms = RoundTerms.from_journal(content)
    age_s = now_s - terms.offer.payload["ts"]
    if age_s > max(_LONGEST_S, _DEADLINES * terms.plan.deadline_s):
        opened = time.strftime("%Y-%m-%d %H:%M", time.gmtime(terms.offer.payload["ts"]))
        return f"the coordinator stopped before the round was aggregated, and it has been open since {opened} UTC"
    masked = terms.plan.aggregation == "masked"
    if masked and not terms.plan.epoch == begun.epoch == last_epoch(record):
        return "the coordinator stopped before the round was aggregated, and its journal lacks the epoch's pair secrets"
    return terms


def unfit(terms: RoundTerms, plans: Sequence[Plan], start: Standing, parent: bytes) -> str:
    """Why a round does not go with the run as it is configured now; empty where it does.

    Args:
        plans: of the run's rounds, as they would be drawn up now.
        start: where the run stands.
        parent: hash of the model that its next round starts from.
    """
    plan, now = terms.plan, plans[0]
    asked = [(one.measures, one.measure_bins, one.measure_column) for one in (plan, now)]
    if not same_run(plan, now) or asked[0] != asked[1]:
        return "the coordinator stopped before the round was aggregated, and the task's terms are others now"
    if start.published or plan.number != start.done + 1 or terms.offer.payload["parent_model"] != parent:
        return "the coordinator stopped before the round was aggregated, and the ledger asks for another one next"
    return ""


def meet(
    cohort: Cohort,
    epoch: int,
    enrolled: EnrolledKey | None,
    wanted: Collection[str],
    journal: RoundJournal,
    waiting: Waiting,
) -> None:
    """Meet the firms; those that are `wanted` and not there yet are waited for, `RETURN_S` at most.

    Raises:
        RunFailed: nobody takes part.
    """
    until_s, met = waiting.clock() + RETURN_S, None
    while True:
        nodes, over = cohort.nodes, waiting.clock() >= until_s
        if nodes != met:
            met = nodes
            try:
                cohort.meet(epoch, enrolled)
            except RunFailed:
                if over or not wanted:
                    raise
        missing = set(wanted) - set(cohort.enlisted)
        if not missing or over:
            if not cohort.witnesses:
                raise RunFailed(f"no firm is connected; {cohort.why(0)}")
            break
        journal.waits("nodes", missing, RETURN_S)
        waiting.sleep(_PAUSE_S)
    journal.waits_no_more()
