"""A firm's part in judging the groups of a round that it contributed to: one signed vote, on units it never trains on.

The round has been paid for when the firm contributed, and each of its units is in the sum or in the vote, never in
both: whatever is asked about here, the vote costs a unit no more than that. A table that has changed since the firm
trained may divide into other units, so then there is no vote.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from clients.disclosure import Leaving, leave_vote
from clients.errors import ClientError
from clients.firm import Firm
from clients.held_out import divide
from clients.messages import Refusal
from clients.model_files import read_vector
from clients.offer import Offer, check_plan, read_offer
from clients.parent_model import parent_model
from clients.vote import Vote, groups_hash, scores_of


class DividedOtherwise(ClientError):
    """The firm's units are no more divided as when it trained. It is the firm's own affair, and not told."""

    exit_code = 1


def validate(firm: Firm, request: Mapping[str, Any]) -> Leaving:
    """Vote on the opened groups of a round, once.

    The firm cannot know that these are the sums that were opened: it signs what it was shown, and whoever audits the
    round sees whether that is what was opened.

    Raises:
        Refusal, DividedOtherwise, MaskingError, LedgerError: no vote was cast.
    """
    offer = read_offer(firm, request["statement"], request["receipt"])
    check_plan(firm, firm.model(offer.payload["task"]), offer, firm.ledger)
    plan = offer.plan
    if not plan.votes:
        raise Refusal("vote", "the plan asks for no votes")
    private = firm.task(offer.payload["task"])
    parameters = parent_model(offer, private, request)
    gradients = _gradients(offer, request["groups"])
    groups = groups_hash(request["groups"])

    def make(division: bytes) -> bytes:
        stream = firm.stream(offer.payload["task"], plan.number, "vote")
        parts = divide(firm, private, plan)
        if parts.digest != division:
            raise DividedOtherwise("vote: the table or the secret of held-out units has changed within the round")
        examples = parts.held_out
        assert examples is not None
        if plan.sampling_rate < 1.0:
            examples = examples.sample(stream.bernoulli(examples.units, plan.sampling_rate))
        scores = scores_of(private.task.architecture, parameters, gradients, examples, plan, stream)
        return Vote(firm.config.cid, offer.round_id, firm.member, groups, scores).sign(firm.key)

    firm.rest_mirror()
    return leave_vote(firm, offer, groups, make)


def _gradients(offer: Offer, groups: list[Any]) -> list[NDArray[np.float64]]:
    plan = offer.plan
    if len(groups) != plan.groups or any(type(one) is not bytes for one in groups):
        raise Refusal("vote", f"the plan has {plan.groups} groups, {len(groups)} were sent")
    gradients = [read_vector(one, "mean gradient of a group") for one in groups]
    if any(one.shape != (plan.dimension,) or not np.isfinite(one).all() for one in gradients):
        raise Refusal("vote", "the mean gradients of the groups do not fit the model")
    return gradients
