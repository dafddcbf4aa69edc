"""Recomputing a sum from the store, and the plain sum behind the same interface."""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import replace
from itertools import count
from typing import Any

import numpy as np
import pytest

from clients.masking.contribution import Contribution
from clients.masking.plain import expose
from clients.masking.session import Session
from experiments.benchmarks.masked_cohort import Cohort, MaskedRound, draw_updates, set_up_cohort
from server.aggregation.masked import (
    AggregationError,
    Aggregator,
    ArtifactMismatch,
    ReplyRefused,
    RoundArtifacts,
    RoundVoid,
    recompute,
)
from server.aggregation.plain import PlainAggregator

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


def _flip(raw: bytes, position: int = 40) -> bytes:
    return raw[:position] + bytes([raw[position] ^ 1]) + raw[position + 1 :]


SPOILS: dict[str, tuple[Callable[[RoundArtifacts], RoundArtifacts], str]] = {
    "masked": (
        lambda a: replace(a, masked={**a.masked, "firm-4": _flip(a.masked["firm-4"], 9)}),
        "contribution of firm-4: the masked values",
    ),
    "masked lost": (
        lambda a: replace(a, masked={m: v for m, v in a.masked.items() if m != "firm-3"}),
        "masked values of firm-3: not in the store",
    ),
    "header": (
        lambda a: replace(a, headers={**a.headers, "firm-1": a.headers["firm-4"]}),
        "contribution of firm-1: the header is not the one recorded",
    ),
    "header lost": (
        lambda a: replace(a, headers={m: h for m, h in a.headers.items() if m != "firm-5"}),
        "header of firm-5",
    ),
    "pair hashes": (
        lambda a: replace(a, pair_hashes={**a.pair_hashes, "firm-1": bytes(128)}),
        "contribution of firm-1: the pair hashes",
    ),
    "unmasking": (lambda a: replace(a, unmasking=a.unmasking[:-1]), "unmasking record: not a CBOR message"),
    "self seed": (
        lambda a: replace(a, unmasking=_flip(a.unmasking, a.unmasking.index(b"firm-3") + 8)),
        "unmasking record: ",
    ),
}


@pytest.mark.parametrize("spoil", SPOILS)
def test_an_audit_names_the_first_artifact_that_was_changed(
    cohort: Cohort, new_session: Callable[..., Session], spoil: str
) -> None:
    this = start(cohort, new_session(), absent=("firm-2",))
    artifacts = this.artifacts(this.finish())
    assert np.array_equal(recompute(this.session, artifacts, this.commits), this.true_sum)
    change, reason = SPOILS[spoil]
    with pytest.raises(ArtifactMismatch, match=reason):
        recompute(this.session, change(artifacts), this.commits)


def test_an_audit_refuses_another_session_or_too_few_inputs(
    cohort: Cohort, new_session: Callable[..., Session]
) -> None:
    this = start(cohort, new_session())
    artifacts = this.artifacts(this.finish())
    with pytest.raises(ArtifactMismatch, match="another session"):
        recompute(new_session(), artifacts, this.commits)
    with pytest.raises(ArtifactMismatch, match="header of firm-5: stored or recorded"):
        recompute(this.session, artifacts, {m: c for m, c in this.commits.items() if m != "firm-5"})


def test_the_plain_sum_has_the_same_interface_and_the_same_total(
    cohort: Cohort, new_session: Callable[..., Session]
) -> None:
    masked = start(cohort, new_session())
    masked.finish()
    session = replace(masked.session, protection="plain", threshold=1)
    aggregator = PlainAggregator(session)
    contributions = {m: expose(session, m, values) for m, values in masked.values.items()}
    for member, contribution in contributions.items():
        aggregator.add(member, Contribution.from_bytes(contribution.to_bytes()), contribution.commit)
    headers = aggregator.close()
    assert (aggregator.dropped, aggregator.unanswered, aggregator.inbound_for("firm-1")) == ((), (), {})
    opened = aggregator.open()
    assert np.array_equal(opened.total, masked.true_sum)
    stored = RoundArtifacts(
        headers,
        {m: c.masked for m, c in contributions.items()},
        {m: c.pair_hashes for m, c in contributions.items()},
        opened.unmasking,
    )
    commits = {m: c.commit for m, c in contributions.items()}
    assert np.array_equal(recompute(session, stored, commits), opened.total)


def test_plain_and_masked_sessions_are_not_mixed_up(cohort: Cohort, new_session: Callable[..., Session]) -> None:
    session = new_session()
    plain = replace(session, protection="plain")
    with pytest.raises(AggregationError, match="it is plain; this aggregator takes masked ones"):
        Aggregator(plain)
    with pytest.raises(AggregationError, match="it is masked; this aggregator takes plain ones"):
        PlainAggregator(session)
    aggregator = PlainAggregator(plain)
    with pytest.raises(RoundVoid, match="not closed yet"):
        aggregator.open()
    with pytest.raises(RoundVoid, match="0 contributions"):
        aggregator.close()
    with pytest.raises(ReplyRefused, match="no second trip"):
        aggregator.accept("firm-1", b"")
