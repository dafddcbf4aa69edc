"""The second trip under attack: a lying coordinator gets a refusal that says which rule it broke."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import replace
from itertools import count
from pathlib import Path

import pytest

from clients.masking.answer_book import AnswerBook
from clients.masking.contribution import Header
from clients.masking.errors import (
    AlreadyAnswered,
    HeaderMismatch,
    KeySetupRefused,
    MalformedMessage,
    MaskingError,
    OwnContributionChanged,
    OwnContributionMissing,
    SessionMismatch,
    ShareRefused,
    TooFewContributions,
    UnknownMember,
)
from clients.masking.session import Session
from clients.masking.unmasking import UnmaskingReply, answer
from experiments.benchmarks.masked_cohort import Cohort, Firm, MaskedRound, draw_updates, set_up_cohort

ROUND_NUMBERS = count(1)
ME = "firm-2"


@pytest.fixture(scope="module")
def cohort() -> Cohort:
    return set_up_cohort(6)


class Asked:
    """What firm-2 is asked, each part ready to be changed; nothing has been answered yet."""

    def __init__(self, cohort: Cohort, book: AnswerBook | None = None) -> None:
        self.firm: Firm = cohort.firms[ME]
        if book is not None:
            self.firm = replace(self.firm, book=book)
        firms = {**cohort.firms, ME: self.firm}
        self.session: Session = cohort.session(dimension=4, round_number=next(ROUND_NUMBERS))
        values = draw_updates(self.session, seed=0)
        self.round = MaskedRound(replace(cohort, firms=firms), self.session, values)
        self.headers = self.round.close()
        self.commits = dict(self.round.commits)
        self.inbound = self.round.aggregator.inbound_for(ME)

    def leave_out(self, *members: str) -> None:
        for member in members:
            for part in (self.headers, self.commits, self.inbound):
                part.pop(member, None)

    def answer(self) -> UnmaskingReply:
        kept = next(reversed(self.firm.kept.values()))
        return answer(
            self.session,
            ME,
            self.headers,
            self.commits,
            self.inbound,
            kept,
            self.firm.secrets,
            self.firm.book,
        )


@pytest.fixture
def asked(cohort: Cohort) -> Asked:
    return Asked(cohort)


def test_the_reply_never_holds_both_kinds_for_one_firm(asked: Asked) -> None:
    asked.leave_out("firm-5")
    reply = asked.answer()
    assert reply.shares.keys() == {"firm-1", "firm-2", "firm-3", "firm-4", "firm-6"}
    assert reply.pair_seeds.keys() == {"firm-5"}
    assert UnmaskingReply.from_bytes(reply.to_bytes()) == reply


def test_a_false_drop_out_of_the_asked_firm(asked: Asked) -> None:
    asked.leave_out(ME)
    with pytest.raises(OwnContributionMissing, match="it leaves out firm-2, which did contribute"):
        asked.answer()


def test_a_false_drop_out_of_another_firm_is_seen_on_the_ledger(asked: Asked) -> None:
    del asked.headers["firm-5"], asked.inbound["firm-5"]  # its statement is on the ledger
    with pytest.raises(HeaderMismatch, match="disagree on whether firm-5 contributed"):
        asked.answer()


def test_a_contribution_that_is_not_on_the_ledger(asked: Asked) -> None:
    del asked.commits["firm-5"]
    with pytest.raises(HeaderMismatch, match="disagree on whether firm-5 contributed"):
        asked.answer()


def test_the_full_sum_and_then_the_sum_without_one_firm(asked: Asked) -> None:
    """The difference of the two would be firm-5's update."""
    first = asked.answer()
    assert asked.answer() == first  # the same question again is the same answer
    asked.leave_out("firm-5")
    with pytest.raises(AlreadyAnswered, match="already answered for another set"):
        asked.answer()


def test_one_answer_survives_a_restart(cohort: Cohort, tmp_path: Path) -> None:
    book = AnswerBook(tmp_path / "book")
    asked = Asked(cohort, book)
    reply = asked.answer()
    book.close()
    assert (tmp_path / "book").stat().st_mode & 0o777 == 0o600
    asked.firm.book = AnswerBook(tmp_path / "book")
    assert asked.answer() == reply
    asked.leave_out("firm-5")
    with pytest.raises(AlreadyAnswered):
        asked.answer()


def test_a_book_that_lost_the_session_answers_nothing(asked: Asked) -> None:
    asked.firm = replace(asked.firm, book=AnswerBook())
    with pytest.raises(SessionMismatch, match="has not entered it"):
        asked.answer()


def test_two_close_records_shown_to_two_firms_open_nothing(cohort: Cohort) -> None:
    """Each firm answers the set it is shown; neither set gathers enough shares, nor do both together."""
    asked = Asked(cohort)
    session, firms, this = asked.session, cohort.firms, asked.round
    assert session.threshold == 4
    shares: dict[str, set[str]] = {member: set() for member in session.members}
    seeds: set[frozenset[str]] = set()
    halves = {"firm-6": ("firm-1", "firm-2", "firm-3"), "firm-3": ("firm-4", "firm-5", "firm-6")}
    for absent, askers in halves.items():
        headers = {m: raw for m, raw in asked.headers.items() if m != absent}
        commits = {m: commit for m, commit in asked.commits.items() if m != absent}
        for member in askers:
            inbound = {m: s for m, s in this.aggregator.inbound_for(member).items() if m != absent}
            reply = firms[member].answer(session, headers, commits, inbound)
            for owner in reply.shares:
                shares[owner].add(member)
            seeds |= {frozenset({member, dropped}) for dropped in reply.pair_seeds}
    for victim in ("firm-3", "firm-6"):
        assert len(shares[victim]) < session.threshold, "its self mask stays on"
    both = [m for m in session.members if len(shares[m]) >= session.threshold]
    assert both == ["firm-1", "firm-2", "firm-4", "firm-5"]
    for member in both:  # their self masks are off: the masks among those four stay on
        assert sum(frozenset({member, other}) not in seeds for other in both if other != member) == 3


def test_too_few_contributions(asked: Asked) -> None:
    asked.leave_out("firm-1", "firm-5", "firm-6")
    with pytest.raises(TooFewContributions, match="3 contributions, the threshold is 4"):
        asked.answer()


def test_a_stranger_in_the_closed_set(asked: Asked) -> None:
    asked.headers["firm-9"], asked.commits["firm-9"] = asked.headers["firm-1"], asked.commits["firm-1"]
    with pytest.raises(UnknownMember, match="firm-9 is not in the session's roster"):
        asked.answer()


def test_another_header_under_the_asked_firm_s_name(asked: Asked) -> None:
    asked.headers[ME] = replace(Header.from_bytes(asked.headers[ME]), masked=bytes(32)).to_bytes()
    with pytest.raises(OwnContributionChanged, match="not the one this firm sent"):
        asked.answer()


def test_a_header_that_is_not_the_recorded_one(asked: Asked) -> None:
    asked.headers["firm-4"] = asked.headers["firm-5"]
    with pytest.raises(HeaderMismatch, match="header of firm-4 is not the one recorded"):
        asked.answer()


def test_a_header_replayed_from_another_session_or_member(cohort: Cohort, asked: Asked) -> None:
    earlier = Asked(cohort)
    for raw, commit in (
        (earlier.headers["firm-4"], earlier.commits["firm-4"]),
        (asked.headers["firm-5"], asked.commits["firm-5"]),
    ):
        asked.headers["firm-4"], asked.commits["firm-4"] = raw, commit
        with pytest.raises(MaskingError, match=r"another session or member|not the one this firm took part in"):
            answer(
                asked.session,
                ME,
                asked.headers,
                asked.commits,
                asked.inbound,
                asked.firm.kept[asked.session.sid],
                asked.firm.secrets,
                asked.firm.book,
            )


def test_bytes_that_are_no_header(asked: Asked) -> None:
    asked.headers["firm-4"] = b"\xa0"
    asked.commits["firm-4"] = hashlib.sha256(b"\xa0").digest()
    with pytest.raises(MalformedMessage, match="header"):
        asked.answer()


@pytest.mark.parametrize(
    ("change", "field"),
    [
        (lambda s: replace(s, model=b"n" * 32), "model"),
        (lambda s: replace(s, threshold=5), "threshold"),
        (lambda s: replace(s, roster=s.roster[:5], threshold=4), "roster"),
        (lambda s: replace(s, round_id=b"r" * 16), "round_id"),
        (lambda s: replace(s, epoch=2), "epoch"),
    ],
)
def test_a_changed_session(asked: Asked, change: Callable[[Session], Session], field: str) -> None:
    asked.session = change(asked.session)
    with pytest.raises(SessionMismatch, match=f"session: {field} is not"):
        asked.answer()


def test_a_share_sent_to_the_wrong_firm(asked: Asked) -> None:
    asked.inbound["firm-4"] = asked.round.aggregator.inbound_for("firm-3")["firm-4"]
    with pytest.raises(ShareRefused, match="share from firm-4: it does not open for firm-2"):
        asked.answer()


def test_a_share_under_another_sender_s_name(asked: Asked) -> None:
    asked.inbound["firm-4"] = asked.inbound["firm-5"]
    with pytest.raises(ShareRefused, match="share from firm-4"):
        asked.answer()


def test_the_firm_s_own_share_for_a_peer_sent_back_to_it(asked: Asked) -> None:
    asked.inbound["firm-4"] = asked.round.aggregator.inbound_for("firm-4")[ME]
    with pytest.raises(ShareRefused, match="share from firm-4"):
        asked.answer()


def test_a_share_of_another_session(cohort: Cohort, asked: Asked) -> None:
    current = asked.firm.kept[asked.session.sid]
    earlier = Asked(cohort)
    asked.inbound["firm-4"] = earlier.inbound["firm-4"]
    with pytest.raises(ShareRefused, match="share from firm-4"):
        answer(
            asked.session,
            ME,
            asked.headers,
            asked.commits,
            asked.inbound,
            current,
            asked.firm.secrets,
            asked.firm.book,
        )


def test_a_share_that_is_missing_or_cut(asked: Asked) -> None:
    whole = asked.inbound.pop("firm-4")
    with pytest.raises(ShareRefused, match="share from firm-4: it is missing"):
        asked.answer()
    asked.inbound["firm-4"] = whole[:5]
    with pytest.raises(ShareRefused, match="share from firm-4: it does not open"):
        asked.answer()
    asked.inbound["firm-4"] = whole
    asked.answer()  # no refusal used up the one answer


def test_pair_secrets_of_another_epoch_or_firm(cohort: Cohort, asked: Asked) -> None:
    asked.firm = replace(asked.firm, secrets=set_up_cohort(6).firms[ME].secrets)
    with pytest.raises(KeySetupRefused, match="other keys for firm-1"):
        asked.answer()
    asked.firm = replace(asked.firm, secrets=cohort.firms["firm-3"].secrets)
    with pytest.raises(SessionMismatch, match="keys of firm-3"):
        asked.answer()


def test_a_file_that_is_no_answer_book(tmp_path: Path) -> None:
    (tmp_path / "book").write_bytes(b"not a database at all, but long enough to be read as one" * 20)
    with pytest.raises(MaskingError, match="not an answer book"):
        AnswerBook(tmp_path / "book")
