"""What the rules about groups take beside the opened sums: the root gradient, and the trip on which the firms vote."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from clients.messages import VALIDATE
from clients.model_files import write_vector
from clients.plan import Plan
from clients.vote import groups_hash
from server.aggregation.evidence import ArtifactMismatch, RoundVoid
from server.aggregation.group_sums import Electorate, Evidence, GroupSum, voted_on
from server.aggregation.votes import read_vote, require_on, require_votes
from server.descent import Descent
from server.round_journal import Step
from server.round_setting import Setting


def gather_evidence(
    setting: Setting,
    plan: Plan,
    before: Descent,
    sums: Sequence[GroupSum],
    electorate: Electorate,
    request: Mapping[str, Any],
) -> Evidence:
    """What the plan's rules need of others.

    Args:
        request: what every firm was sent to train from; it is voted from the same.

    Raises:
        RoundVoid: half of the firms or more did not vote.
    """
    root = b""
    if plan.root:
        assert setting.root is not None
        root = write_vector(setting.root.gradient(before.parameters, plan.clip))
    votes = _votes(setting, plan, sums, electorate, request) if plan.votes else {}
    return Evidence(root, votes)


def _votes(
    setting: Setting, plan: Plan, sums: Sequence[GroupSum], electorate: Electorate, request: Mapping[str, Any]
) -> dict[str, bytes]:
    """Ask the firms that contributed for their votes; what is no vote on these groups is noted and left out."""
    common = {name: request[name] for name in ("statement", "receipt", "parameters", "digests")}
    asked = {**common, "groups": voted_on(sums, plan)}
    on = groups_hash(asked["groups"])
    known = setting.journal.taken(electorate.round_id, Step.VOTE)
    votes: dict[str, bytes] = {member: row["vote"] for member, row in known.items() if row["on"] == on}
    waited = [member for member in electorate.keys if member not in votes]
    requests = dict.fromkeys(waited, asked)  # the very same, so that it is packed once
    for member, reply in setting.cohort.ask(VALIDATE, requests, plan.number):
        try:
            vote = read_vote(reply["vote"], electorate.cid, electorate.round_id, member, electorate.keys[member])
            require_on(vote, plan, on)
        except ArtifactMismatch as error:
            setting.cohort.note(plan.number, member, str(error), code=type(error).__name__)
            continue
        votes[member] = reply["vote"]
        setting.journal.take(electorate.round_id, Step.VOTE, member, {"vote": reply["vote"], "on": on})
    require_votes(votes, electorate.keys, RoundVoid)
    return votes
