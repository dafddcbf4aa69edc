"""The masked sum, whole rounds: exactness, drop-outs, and what the coordinator refuses."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Collection
from dataclasses import replace
from itertools import count
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from clients.masking.contribution import Contribution, Header
from clients.masking.keystream import apply_masks
from clients.masking.session import Session
from experiments.benchmarks.masked_cohort import Cohort, MaskedRound, draw_updates, set_up_cohort
from server.aggregation.evidence import Unmasking, open_sum
from server.aggregation.masked import (
    ContributionRefused,
    ReplyRefused,
    RoundVoid,
    recompute,
)

ROUND_NUMBERS = count(1)


@pytest.fixture(scope="module")
def cohort() -> Cohort:
    return set_up_cohort(5)


@pytest.fixture
def new_session(cohort: Cohort) -> Callable[..., Session]:
    """Sessions of the cohort, each with its own round id."""

    def make(dimension: int = 7, **terms: Any) -> Session:
        return cohort.session(dimension=dimension, round_number=next(ROUND_NUMBERS), **terms)

    return make


def start(cohort: Cohort, session: Session, absent: Collection[str] = (), seed: int = 0) -> MaskedRound:
    values = {m: v for m, v in draw_updates(session, seed).items() if m not in absent}
    return MaskedRound(cohort, session, values)


@pytest.mark.parametrize("ring_bits", [24, 32])
@pytest.mark.parametrize(("absent", "silent"), [((), ()), (("firm-2",), ()), ((), ("firm-5",))])
def test_the_sum_is_exact(
    cohort: Cohort,
    new_session: Callable[..., Session],
    ring_bits: int,
    absent: tuple[str, ...],
    silent: tuple[str, ...],
) -> None:
    this = start(cohort, new_session(ring_bits=ring_bits), absent)
    opened = this.finish(silent)
    assert np.array_equal(opened.total, this.true_sum)
    assert opened.included == tuple(this.values)
    assert (this.aggregator.dropped, this.aggregator.unanswered) == (absent, silent)


@settings(max_examples=15, deadline=None)
@given(
    size=st.integers(3, 9),
    dimension=st.integers(1, 40),
    ring_bits=st.sampled_from([24, 32]),
    seed=st.integers(0, 2**32),
    data=st.data(),
)
def test_the_sum_is_exact_whoever_drops(
    size: int, dimension: int, ring_bits: int, seed: int, data: st.DataObject
) -> None:
    cohort = set_up_cohort(size)
    session = cohort.session(dimension=dimension, ring_bits=ring_bits)
    some = st.sets(st.sampled_from(session.members), max_size=size - session.threshold)
    absent = data.draw(some)
    silent = set() if absent else data.draw(some)
    this = start(cohort, session, absent, seed)
    opened = this.finish(silent)
    assert np.array_equal(opened.total, this.true_sum)
    assert np.array_equal(recompute(session, this.artifacts(opened), this.commits), this.true_sum)


def test_a_firm_missing_on_each_trip_voids_the_round_until_the_second_answers() -> None:
    """Five replies reach the threshold, but only firm-7 can open its mask with the dropped firm-2."""
    cohort = set_up_cohort(7)
    this = start(cohort, cohort.session(dimension=7, threshold=5), absent=("firm-2",))
    with pytest.raises(RoundVoid, match="5 replies, 6 needed; missing firm-7") as caught:
        this.finish(silent=("firm-7",))
    assert caught.value.members == ("firm-7",)
    headers = {member: contribution.header for member, contribution in this.contributions.items()}
    this.aggregator.accept("firm-7", this.reply("firm-7", headers).to_bytes())
    assert np.array_equal(this.aggregator.open().total, this.true_sum)


def test_too_few_contributions_void_the_round(cohort: Cohort, new_session: Callable[..., Session]) -> None:
    this = start(cohort, new_session(), absent=("firm-1", "firm-2"))
    with pytest.raises(RoundVoid, match="3 contributions, the threshold is 4; missing firm-1, firm-2"):
        this.close()


def test_too_few_replies_void_the_round(cohort: Cohort, new_session: Callable[..., Session]) -> None:
    this = start(cohort, new_session())
    with pytest.raises(RoundVoid, match="3 replies, 4 needed"):
        this.finish(silent=("firm-1", "firm-4"))


def test_a_single_update_cannot_be_read_from_what_the_coordinator_holds(
    cohort: Cohort, new_session: Callable[..., Session]
) -> None:
    """Masked values look uniform: taking off what was opened still leaves the pair masks of the others."""
    this = start(cohort, new_session(dimension=20_000))
    unmasking = Unmasking.from_bytes(this.finish().unmasking)
    ring = this.session.ring
    one = ring.unpack(this.contributions["firm-3"].masked, 20_000).copy()
    apply_masks(one, [], [unmasking.self_seeds["firm-3"]])
    guess = ring.centre(one)
    assert np.count_nonzero(guess == this.values["firm-3"]) < 10
    assert abs(float(guess.mean())) < 5 * 2**23 / np.sqrt(3 * 20_000)


def _flip(raw: bytes, position: int = 40) -> bytes:
    return raw[:position] + bytes([raw[position] ^ 1]) + raw[position + 1 :]


CHANGES: dict[str, tuple[Callable[[Contribution], Contribution], str]] = {
    "header": (lambda c: replace(c, header=_flip(c.header)), "header is not the one recorded"),
    "masked": (lambda c: replace(c, masked=_flip(c.masked, 3)), "masked values are not those"),
    "length": (lambda c: replace(c, masked=c.masked + b"\0"), "22 bytes of masked values"),
    "pair hashes": (lambda c: replace(c, pair_hashes=_flip(c.pair_hashes)), "pair hashes are not those"),
    "share": (
        lambda c: replace(c, shares={m: _flip(s) for m, s in c.shares.items()}),
        "shares are not those of its header",
    ),
    "share left out": (lambda c: replace(c, shares={}), "shares are not for all the others"),
}


@pytest.mark.parametrize("change", CHANGES)
def test_a_changed_contribution_is_refused_and_leaves_the_sum_alone(
    cohort: Cohort, new_session: Callable[..., Session], change: str
) -> None:
    this = start(cohort, new_session())
    spoil, reason = CHANGES[change]
    contribution = this.contributions["firm-2"]
    with pytest.raises(ContributionRefused, match=reason):
        this.aggregator.add("firm-2", spoil(contribution), contribution.commit)
    this.finish()


def test_contributions_for_others_or_twice_are_refused(cohort: Cohort, new_session: Callable[..., Session]) -> None:
    this, earlier = start(cohort, new_session()), start(cohort, new_session())
    mine, old = this.contributions["firm-1"], earlier.contributions["firm-1"]
    with pytest.raises(ContributionRefused, match="another session or member"):
        this.aggregator.add("firm-2", mine, mine.commit)
    with pytest.raises(ContributionRefused, match="another session or member"):
        this.aggregator.add("firm-1", old, old.commit)
    with pytest.raises(ContributionRefused, match="not in the session's roster"):
        this.aggregator.add("firm-9", mine, mine.commit)
    this.aggregator.add("firm-1", mine, mine.commit)
    with pytest.raises(ContributionRefused, match="already contributed"):
        this.aggregator.add("firm-1", mine, mine.commit)


def test_a_late_contribution_is_refused_after_closing(cohort: Cohort, new_session: Callable[..., Session]) -> None:
    this = start(cohort, new_session())
    for member in tuple(this.values)[:-1]:
        this.aggregator.add(member, this.contributions[member], this.commits[member])
    this.aggregator.close()
    with pytest.raises(ContributionRefused, match="the set is closed"):
        this.aggregator.add("firm-5", this.contributions["firm-5"], this.commits["firm-5"])


def test_firms_that_disagree_on_their_mask_are_named(cohort: Cohort, new_session: Callable[..., Session]) -> None:
    this = start(cohort, new_session())
    contribution = this.contributions["firm-3"]
    hashes = _flip(contribution.pair_hashes, 70)  # its third peer: firm-4
    header = replace(Header.from_bytes(contribution.header), pair_seeds=hashlib.sha256(hashes).digest())
    this.contributions["firm-3"] = lying = replace(contribution, header=header.to_bytes(), pair_hashes=hashes)
    this.commits["firm-3"] = lying.commit
    with pytest.raises(RoundVoid, match="firm-3 and firm-4 do not agree"):
        this.close()


def test_one_firm_that_sends_wrong_shares_does_not_stop_the_sum(
    cohort: Cohort, new_session: Callable[..., Session]
) -> None:
    this = start(cohort, new_session())
    headers = this.close()
    for member in tuple(this.values):
        reply = this.reply(member, headers)
        if member == "firm-1":
            reply = replace(reply, shares={m: _flip(share, 0) for m, share in reply.shares.items()})
        this.aggregator.accept(member, reply.to_bytes())
    assert np.array_equal(this.aggregator.open().total, this.true_sum)


def test_wrong_seeds_void_the_round_and_name_the_firm(cohort: Cohort, new_session: Callable[..., Session]) -> None:
    this = start(cohort, new_session(), absent=("firm-2",))
    headers = this.close()
    for member in tuple(this.values):
        reply = this.reply(member, headers)
        if member == "firm-4":
            reply = replace(reply, pair_seeds={"firm-2": bytes(32)})
        this.aggregator.accept(member, reply.to_bytes())
    with pytest.raises(RoundVoid, match="seed of firm-4 with firm-2"):
        this.aggregator.open()


def test_replies_that_do_not_fit_are_refused(cohort: Cohort, new_session: Callable[..., Session]) -> None:
    this, other = start(cohort, new_session()), start(cohort, new_session())
    headers = this.close()
    reply, stranger = this.reply("firm-1", headers), other.reply("firm-1", other.close())
    refused: list[tuple[str, bytes, str]] = [
        ("firm-1", stranger.to_bytes(), "another session or closed set"),
        ("firm-2", reply.to_bytes(), "it is firm-1's"),
        ("firm-1", reply.to_bytes() + b"\0", "unmasking reply"),
        ("firm-1", replace(reply, shares={}).to_bytes(), "missing or superfluous"),
        ("firm-1", replace(reply, pair_seeds={"firm-2": bytes(32)}).to_bytes(), "missing or superfluous"),
    ]
    for member, raw, reason in refused:
        with pytest.raises(ReplyRefused, match=reason):
            this.aggregator.accept(member, raw)
    this.aggregator.accept("firm-1", reply.to_bytes())
    this.aggregator.accept("firm-1", reply.to_bytes())
    with pytest.raises(ReplyRefused, match="differs from the one before"):
        this.aggregator.accept("firm-1", replace(reply, shares=dict.fromkeys(headers, bytes(32))).to_bytes())


def test_an_update_outside_the_plan_is_noticed_when_the_sum_leaves_its_range(
    cohort: Cohort, new_session: Callable[..., Session]
) -> None:
    """A firm that masks larger values than it may can only be seen in the sum."""
    session = new_session(dimension=1)
    largest = session.quantiser.largest
    huge = session.ring.from_signed(np.array([5 * largest + 2], dtype=np.int64))
    unmasking = Unmasking(session.sid, bytes(32), {}, {})
    with pytest.raises(RoundVoid, match="more than 5 firms can send"):
        open_sum(session, huge, unmasking, 5)
