"""The first trip: what a firm refuses to protect, and what leaves it."""

from __future__ import annotations

import hashlib
import secrets as csprng
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from clients.masking.answer_book import AnswerBook
from clients.masking.contribution import SEALED_SHARE_BYTES, Contribution, Header, Kept, protect
from clients.masking.errors import (
    KeySetupRefused,
    MalformedMessage,
    PlanRefused,
    SessionReused,
    ValueOutOfBounds,
)
from clients.masking.plain import expose
from clients.masking.ring import Integers
from clients.masking.session import Session
from clients.masking.threshold import GroupPolicy
from experiments.benchmarks.masked_cohort import LOOSEST, Cohort, set_up_cohort


@pytest.fixture(scope="module")
def cohort() -> Cohort:
    return set_up_cohort(5)


def _protect(
    cohort: Cohort,
    session: Session,
    values: Integers | None = None,
    *,
    me: str = "firm-2",
    policy: GroupPolicy = LOOSEST,
    book: AnswerBook | None = None,
) -> tuple[Contribution, Kept]:
    values = np.zeros(session.dimension, dtype=np.int64) if values is None else values
    secrets = cohort.firms["firm-2"].secrets
    return protect(session, me, values, secrets, csprng.token_bytes, policy=policy, book=book or AnswerBook())


def test_a_contribution_holds_what_its_header_says(cohort: Cohort) -> None:
    session = cohort.session(dimension=10)
    contribution, kept = _protect(cohort, session)
    header = Header.from_bytes(contribution.header)
    assert (header.sid, header.member) == (session.sid, "firm-2")
    assert header.masked == hashlib.sha256(contribution.masked).digest()
    assert header.pair_seeds == hashlib.sha256(contribution.pair_hashes).digest()
    assert contribution.commit == hashlib.sha256(contribution.header).digest()
    assert (len(contribution.masked), len(contribution.pair_hashes)) == (30, 4 * 32)
    assert {peer: len(share) for peer, share in contribution.shares.items()} == dict.fromkeys(
        session.peers("firm-2"), SEALED_SHARE_BYTES
    )
    assert Contribution.from_bytes(contribution.to_bytes()) == contribution
    assert Kept.from_bytes(kept.to_bytes()) == kept
    assert kept.own_share.hex() not in repr(kept)


def test_the_same_update_never_looks_the_same_twice(cohort: Cohort) -> None:
    session = cohort.session(dimension=10)
    first, second = (_protect(cohort, session)[0] for _ in range(2))  # two books: a restart without disk
    assert first.masked != second.masked
    assert first.header != second.header


def test_one_update_for_a_round_whatever_changes_in_its_session(cohort: Cohort, tmp_path: Path) -> None:
    """Differencing by retry: the same round with other terms is refused, after a restart too."""
    session = cohort.session(dimension=10)
    book = AnswerBook(tmp_path / "book")
    _protect(cohort, session, book=book)
    book.close()
    reopened = AnswerBook(tmp_path / "book")
    smaller = replace(session, roster=session.roster[:4], threshold=4)
    for again in (session, replace(session, model=b"n" * 32), replace(session, threshold=5), smaller):
        with pytest.raises(SessionReused, match="open a new round and train again"):
            _protect(cohort, again, book=reopened)
    _protect(cohort, cohort.session(dimension=10, round_number=2), book=reopened)


@pytest.mark.parametrize("excess", [1, -1])
def test_a_value_that_could_wrap_the_sum_is_refused(cohort: Cohort, excess: int) -> None:
    session = cohort.session(dimension=3)
    book = AnswerBook()
    values = np.array([0, excess * session.quantiser.largest, 0], dtype=np.int64)
    with pytest.raises(ValueOutOfBounds, match="the sum could wrap"):
        _protect(cohort, session, values + np.array([0, excess, 0]), book=book)
    _protect(cohort, session, values, book=book)  # the refusal used up nothing


@pytest.mark.parametrize(
    "values", [np.zeros(2, dtype=np.int64), np.zeros((3, 1), dtype=np.int64), np.zeros(3, dtype=np.int32)]
)
def test_another_shape_or_type_is_refused(cohort: Cohort, values: Integers) -> None:
    with pytest.raises(ValueOutOfBounds, match=r"asks for int64\[3\]"):
        _protect(cohort, cohort.session(dimension=3), values)


def test_the_firm_s_own_policy_decides(cohort: Cohort) -> None:
    session = cohort.session(dimension=3)
    with pytest.raises(PlanRefused, match="threshold: 4 of 5 firms, this firm's policy asks for 5"):
        _protect(cohort, session, policy=GroupPolicy())
    with pytest.raises(PlanRefused, match="cohort: 5 firms, this firm's policy asks for 8"):
        _protect(cohort, session, policy=GroupPolicy(min_cohort=8))


def test_a_changed_roster_is_refused(cohort: Cohort) -> None:
    """Keys that this firm did not authenticate: a coordinator's own, a stranger's, another epoch's."""
    session, other = cohort.session(dimension=3), set_up_cohort(5)
    swapped = (*session.roster[:4], replace(session.roster[4], epoch_key=other.roster[4].epoch_key))
    renamed = (*session.roster[:4], replace(session.roster[4], member="firm-9"))
    for roster, reason in ((swapped, "other keys for firm-5"), (renamed, "no pair secret with firm-9")):
        with pytest.raises(KeySetupRefused, match=reason):
            _protect(cohort, replace(session, roster=roster))
    with pytest.raises(KeySetupRefused, match="for epoch 2"):
        _protect(cohort, replace(session, epoch=2))
    without = tuple(entry for entry in session.roster if entry.member != "firm-2")
    with pytest.raises(PlanRefused, match="firm-2 is not in the roster"):
        _protect(cohort, replace(session, roster=without))
    with pytest.raises(PlanRefused, match="those of firm-2, not of firm-3"):
        _protect(cohort, session, me="firm-3")


def test_a_masked_update_and_a_plain_one_are_never_confused(cohort: Cohort) -> None:
    session = cohort.session(dimension=3)
    plain, values = replace(session, protection="plain"), np.zeros(3, dtype=np.int64)
    with pytest.raises(PlanRefused, match="this firm sends masked ones only"):
        _protect(cohort, plain)
    with pytest.raises(PlanRefused, match="would leave unprotected"):
        expose(session, "firm-2", values)
    with pytest.raises(PlanRefused, match="firm-9 is not in the roster"):
        expose(plain, "firm-9", values)


@pytest.mark.parametrize(
    "header",
    [
        Header(bytes(31), "firm-1", bytes(32), bytes(32), bytes(32), bytes(32)),
        Header(bytes(32), "firm-1", bytes(32), b"", bytes(32), bytes(32)),
        Header(bytes(32), "firm-1", b"", b"", b"", b""),
    ],
)
def test_headers_with_other_lengths_are_refused(header: Header) -> None:
    with pytest.raises(MalformedMessage, match="not 32 bytes each"):
        Header.from_bytes(header.to_bytes())


def test_contributions_with_other_shares_are_refused(cohort: Cohort) -> None:
    contribution, _ = _protect(cohort, cohort.session(dimension=3))
    short = replace(contribution, shares={"firm-1": b"short"})
    with pytest.raises(MalformedMessage, match="must be a member's name with 60 bytes"):
        Contribution.from_bytes(short.to_bytes())
