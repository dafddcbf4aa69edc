"""Counting the firms' votes on a round's groups: the median firm decides about each, so no minority of firms does."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence

from clients.errors import ClientError
from clients.plan import Plan
from clients.vote import Vote, sigma_of
from server.aggregation.evidence import AggregationError, ArtifactMismatch

SURE_STDS = 1.5
"""How many deviations of its noise the median score must be away from nothing to be taken at its word."""
_MEDIAN_STD = 1.2533141373155  # sqrt(pi / 2): deviation of the median of many normal values over that of their mean


def read_vote(raw: bytes, cid: str, round_id: bytes, member: str, key: bytes) -> Vote:
    """A firm's vote, as it was sent or stored.

    Args:
        key: the key under which the firm is enrolled, 32 bytes.

    Raises:
        ArtifactMismatch: it is no vote of this firm in this round.
    """
    try:
        vote = Vote.read(raw, key)
    except ClientError as error:
        raise ArtifactMismatch(f"vote of {member}: {error}") from None
    if (vote.cid, vote.round_id, vote.member) != (cid, round_id, member):
        raise ArtifactMismatch(f"vote of {member}: it is another firm's, or of another round")
    return vote


def require_on(vote: Vote, plan: Plan, groups: bytes) -> None:
    """Insist that a vote is on these groups, each of them.

    Args:
        groups: the hash of the mean gradients that the vote must be on.

    Raises:
        ArtifactMismatch: it is on something else.
    """
    if vote.groups != groups or len(vote.scores) != plan.groups:
        raise ArtifactMismatch(f"vote of {vote.member}: it is not on the groups that were opened")


def require_votes(votes: Mapping[str, bytes], contributors: Collection[str], refusal: type[AggregationError]) -> None:
    """Insist on votes of more than half of the firms that contributed, and of nobody else.

    Raises:
        refusal: says how many there are.
    """
    strangers = sorted(votes.keys() - set(contributors))
    if strangers:
        raise refusal(f"vote of {strangers[0]}: it did not contribute to the round")
    if 2 * len(votes) <= len(contributors):
        raise refusal(f"votes: {len(votes)} of {len(contributors)} firms voted on the groups, more than half must")


def shares(votes: Sequence[Vote], plan: Plan, groups: bytes) -> tuple[float, ...]:
    """For each group, from 0 to 1, how much of its weight the votes leave it.

    Without noise that is all of it or nothing: the median firm is for the group or against it. With noise it rises in a
    straight line with the median score, from nothing at `SURE_STDS` deviations of its noise against the group to all of
    it at as many for it: what the votes cannot tell is left at a half for every group alike.

    Args:
        groups: the hash of the mean gradients that the votes must be on.

    Raises:
        ArtifactMismatch: a vote is on something else.
    """
    for vote in votes:
        require_on(vote, plan, groups)
    sure = SURE_STDS * _MEDIAN_STD * sigma_of(plan) / math.sqrt(len(votes))
    medians = [_twice_the_median(scores) / 2.0 for scores in zip(*(one.scores for one in votes), strict=True)]
    if sure == 0.0:
        return tuple(float(score >= 0.0) for score in medians)
    return tuple(min(1.0, max(0.0, (score / sure + 1.0) / 2.0)) for score in medians)


def _twice_the_median(scores: Sequence[int]) -> int:
    ordered = sorted(scores)
    return ordered[(len(ordered) - 1) // 2] + ordered[len(ordered) // 2]
