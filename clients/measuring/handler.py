"""A firm's part in a measurement: the same checks, payment, noise and masks as when it trains."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from clients.data import read_table
from clients.disclosure import Leaving
from clients.firm import Firm, PrivateTask
from clients.held_out import divide
from clients.masking.session import Session
from clients.measuring.statistic import statistic_of_plan
from clients.measuring.vectors import bounded_sum, groups_of_records, unit_vectors
from clients.messages import MEASURE, Refusal
from clients.model_files import AVERAGE
from clients.offer import check_plan, read_offer
from clients.parent_model import parent_model
from clients.participation import contribute, noised
from clients.plan import Plan
from clients.tasks.credit import CreditTask


def measure(firm: Firm, request: Mapping[str, Any]) -> Leaving:
    """Take part in a measurement round: the protected sum and the signed statement about it.

    Raises:
        ClientError, LedgerError: the refusal; nothing was spent unless the wallet had already paid.
    """
    offer = read_offer(firm, request["statement"], request["receipt"])
    private = firm.task(offer.payload["task"])
    if not offer.plan.measures:
        raise Refusal("plan", "the round trains a model and measures nothing")
    check_plan(firm, private.task, offer, firm.ledger)
    model, plan = parent_model(offer, private, request, AVERAGE), offer.plan
    groups = _groups(firm, private, plan)

    def values(session: Session) -> NDArray[np.int64]:
        statistic = statistic_of_plan(private.task.spec, plan)
        vectors = unit_vectors(private.task, statistic, plan, model, private.examples, groups)
        total = bounded_sum(vectors, plan.clip, plan.box, divide(firm, private, plan).aside)
        asked = (plan.measures, plan.measure_bins, plan.measure_column, offer.payload["parent_model"].hex())
        return noised(plan, total, session, firm.stream(offer.payload["task"], "measurement", *asked))

    return contribute(firm, offer, private, request["sealed"], MEASURE, values)


def _groups(firm: Firm, private: PrivateTask, plan: Plan) -> NDArray[np.int64] | None:
    """For fairness the group of every example: its column need not be one that the model sees."""
    if not plan.measure_column:
        return None
    task = private.task
    assert isinstance(task, CreditTask)
    table = read_table(firm.home / private.settings.data, task.spec, alone=False)
    if task.examples(table).digest != private.examples.digest:
        raise Refusal("table", "the firm's table has changed since its client started; start it again")
    return groups_of_records(task, table, plan.measure_column)
