"""A firm's part in a measurement: the same checks, payment, noise and masks as when it trains."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from clients.disclosure import Leaving, leave_again
from clients.firm import Firm
from clients.held_out import divide
from clients.masking.session import Session
from clients.measuring.statistic import statistic_of_plan
from clients.measuring.vectors import bounded_sum, unit_vectors
from clients.messages import MEASURE, Refusal
from clients.model_files import AVERAGE
from clients.offer import check_plan, read_offer
from clients.parent_model import parent_model
from clients.participation import contribute, noised
from clients.sitting_out import require_taking_part


def measure(firm: Firm, request: Mapping[str, Any]) -> Leaving:
    """Take part in a measurement round: the protected sum and the signed statement about it.

    Raises:
        ClientError, LedgerError: the refusal; nothing was spent unless the wallet had already paid.
    """
    offer = read_offer(firm, request["statement"], request["receipt"])
    require_taking_part(firm, offer.payload["task"])
    again = leave_again(firm, offer, MEASURE)
    if again is not None:
        return again
    if not offer.plan.measures:
        raise Refusal("plan", "the round trains a model and measures nothing")
    check_plan(firm, firm.model(offer.payload["task"]), offer, firm.ledger)
    private = firm.task(offer.payload["task"])
    model, plan = parent_model(offer, private, request, AVERAGE), offer.plan
    groups = private.groups[plan.measure_column] if plan.measure_column else None

    def values(session: Session) -> NDArray[np.int64]:
        statistic = statistic_of_plan(private.task.spec, plan)
        vectors = unit_vectors(private.task, statistic, plan, model, private.examples, groups)
        total = bounded_sum(vectors, plan.clip, plan.box, divide(firm, private, plan).aside)
        asked = (plan.measures, plan.measure_bins, plan.measure_column, offer.payload["parent_model"].hex())
        return noised(plan, total, session, firm.stream(offer.payload["task"], "measurement", *asked))

    return contribute(firm, offer, private, request["sealed"], MEASURE, values)
