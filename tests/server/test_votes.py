"""Counting votes: no minority of firms decides, and nothing is counted that is not a vote on what was opened."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from consortium_world import a_plan
from hypothesis import given
from hypothesis import strategies as st

from clients.plan import MICRO, Plan
from clients.vote import Vote, groups_hash, sigma_of
from ledger.keys import SigningKey
from server.aggregation.evidence import ArtifactMismatch, RoundVoid
from server.aggregation.group_sums import Electorate, Evidence, GroupSum, after_round, voted_on
from server.aggregation.votes import SURE_STDS, read_vote, require_votes, shares
from server.descent import Descent

ON = bytes(32)
KEYS = {f"firm-{k}": SigningKey.from_seed(bytes(31) + bytes([k])) for k in range(5)}
PUBLIC = {member: key.public.ed25519.raw for member, key in KEYS.items()}


def plan(**changes: Any) -> Plan:
    fields = {"groups": 2, "combine": "mean", "held_out_micro": MICRO // 4, "vote_clip_micro": 1}
    return a_plan(**{**fields, "privacy": "none", "noise_micro": 0, **changes})


def votes(*scores: tuple[int, ...], on: bytes = ON) -> list[Vote]:
    return [Vote("c", bytes(16), f"firm-{k}", on, one) for k, one in enumerate(scores)]


def test_without_noise_the_median_firm_decides() -> None:
    assert shares(votes((5, -1), (5, -1), (-9, 9)), plan(), ON) == (1, 0)
    assert shares(votes((0, -2), (0, 1)), plan(), ON) == (1, 0)


@given(st.lists(st.integers(-(10**6), 10**6), min_size=3, max_size=9), st.integers(-(2**62), 2**62))
def test_a_minority_moves_a_median_no_further_than_another_firm_says(honest: list[int], lie: int) -> None:
    liars = [lie] * (len(honest) - 1)
    terms = plan(privacy="distributed", noise_micro=8 * MICRO)
    bounds = [shares(votes(*[(one, 0)] * (2 * len(honest) - 1)), terms, ON)[0] for one in (min(honest), max(honest))]
    found = shares(votes(*[(one, 0) for one in [*honest, *liars]]), terms, ON)[0]
    assert bounds[0] <= found <= bounds[1]


def test_with_noise_a_share_rises_with_the_score() -> None:
    terms = plan(privacy="distributed", noise_micro=8 * MICRO)
    sure = SURE_STDS * 1.2533141373155 * sigma_of(terms) / 2.0
    rows = [(round(factor * sure), 0) for factor in (-2.0, -0.5, 0.0, 0.5, 2.0)]
    found = [shares(votes(*[row] * 4), terms, ON)[0] for row in rows]
    assert found == pytest.approx([0, 0.25, 0.5, 0.75, 1], abs=1e-4)


def test_a_vote_on_something_else_is_not_counted() -> None:
    for wrong in (votes((1, 1), on=bytes(31) + b"1"), votes((1, 1, 1)), votes((1,))):
        with pytest.raises(ArtifactMismatch, match="firm-0: it is not on the groups"):
            shares(wrong, plan(), ON)


def test_a_vote_is_its_firms_own_in_its_round() -> None:
    raw = votes((1, 2))[0].sign(KEYS["firm-0"])
    assert read_vote(raw, "c", bytes(16), "firm-0", PUBLIC["firm-0"]).scores == (1, 2)
    for cid, round_id, member, key in (
        ("d", bytes(16), "firm-0", "firm-0"),
        ("c", bytes(15) + b"1", "firm-0", "firm-0"),
        ("c", bytes(16), "firm-1", "firm-0"),
        ("c", bytes(16), "firm-0", "firm-1"),
    ):
        with pytest.raises(ArtifactMismatch):
            read_vote(raw, cid, round_id, member, PUBLIC[key])


def test_more_than_half_of_those_who_contributed_must_vote() -> None:
    two = {"firm-0": b"", "firm-1": b""}
    require_votes(two, ["firm-0", "firm-1", "firm-2"], RoundVoid)
    with pytest.raises(RoundVoid, match="2 of 4 firms voted"):
        require_votes(two, list(PUBLIC)[:4], RoundVoid)
    with pytest.raises(ArtifactMismatch, match="firm-1: it did not contribute"):
        require_votes(two, ["firm-0"], ArtifactMismatch)


def test_a_round_counts_the_votes_on_what_it_opened() -> None:
    before, sums = Descent.start(np.zeros(2)), [GroupSum(np.array([3.0, 0.0]), 4), GroupSum(np.array([0.0, 3.0]), 4)]
    on = groups_hash(voted_on(sums, plan()))
    good = {one.member: one.sign(KEYS[one.member]) for one in votes((1, -1), (1, -1), (1, -1), (-1, 1), (-1, 1), on=on)}
    electorate = Electorate("c", bytes(16), PUBLIC)
    assert after_round(before, plan(), sums, Evidence(votes=good), electorate).parameters.tolist() == [-1, 0]
    forged = {**good, "firm-4": votes((1, 1), on=on)[0].sign(KEYS["firm-4"])}
    for wrong, says in ((forged, "another firm's"), ({"firm-0": good["firm-0"]}, "1 of 5"), ({}, "0 of 5")):
        with pytest.raises(ArtifactMismatch, match=says):
            after_round(before, plan(), sums, Evidence(votes=wrong), electorate)
    with pytest.raises(ArtifactMismatch, match="not on the groups"):
        after_round(before, plan(), sums[::-1], Evidence(votes=good), electorate)
