"""Who is there: firms are who the ledger says they are, and whoever misbehaves is left out, not obeyed."""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from federation_world import TASK, FakeTime, Lost, Meddler, federation, on_grid, opened, training, with_fields
from flwr.app import Error, Message
from flwr.serverapp import Grid

from clients.disclosure import refuse
from clients.flower.approvals import AppNotApproved
from clients.messages import HELLO, PAIR, REPLIES, WITNESS, unpack
from server.asking_again import Waiting
from server.cohort import Cohort, RunFailed
from server.key_epochs import KeyEpochs
from server.progress import progress_of
from server.recording import MessagedRecord, Record
from server.round_journal import RoundJournal
from server.store import StateStore


def met(
    built: Any,
    coordinator: Any,
    app: Any = None,
    firms: Any = None,
    *,
    masked: bool = True,
    then: Callable[[Cohort, Record], None] = lambda cohort, record: None,
) -> Cohort:
    """A cohort that has met in a new epoch; `then` goes on with it while the nodes are there."""

    def use(grid: Grid) -> Cohort:
        record = MessagedRecord(coordinator.log)
        cohort = Cohort(grid, "simulation", TASK, 60)
        cohort.meet(coordinator.next_epoch() if masked else 0, record.enrolled_key)
        for member, size in cohort.mirrored.items():
            record.has_mirrored(member, size)
        then(cohort, record)
        return cohort

    return on_grid(built, use, app=app or Meddler(), firms=firms)


def pair(cohort: Cohort, record: Record) -> None:
    KeyEpochs(cohort, record, time.time).begin(1)


def saying(kind: str, firm: str, **fields: Any) -> Meddler:
    """One firm's node answers one kind of message with other fields."""

    def after(asked: str, member: str, message: Any, reply: Any) -> Any:
        if (asked, member) != (kind, firm):
            return None
        return with_fields(kind, message, reply, lambda answer: answer.update(fields))

    return Meddler(after=after)


def test_firms_are_met_in_the_order_of_their_ids_with_what_they_declare(tmp_path: Path) -> None:
    built = federation(tmp_path / "f", 4)
    with opened(built) as coordinator:
        cohort = met(built, coordinator, firms=("firm-3", "firm-1", "firm-2"))
    assert cohort.members == cohort.witnesses == ["firm-1", "firm-2", "firm-3"]
    assert cohort.units == dict.fromkeys(cohort.members, 60)
    assert cohort.mirrored == dict.fromkeys(cohort.members, 0)
    assert [entry.member for entry in cohort.roster] == cohort.members


def test_a_node_that_says_it_is_another_firm_is_left_out_and_the_firm_stays(tmp_path: Path) -> None:
    built = federation(tmp_path / "f", 4)
    with opened(built) as coordinator:
        cohort = met(built, coordinator, saying(HELLO, "firm-1", member="firm-2"))
    assert cohort.members == ["firm-2", "firm-3", "firm-4"]
    assert "epoch key of firm-2" in cohort.why(0)


@pytest.mark.parametrize(
    ("fields", "why"),
    [
        ({"member": "firm-9"}, "no active firm on the ledger"),
        ({"units": -1}, "declares -1 units"),
        ({"units": 10**30}, "declares 1000"),
        ({"announcement": b"nothing"}, "epoch key"),
    ],
)
def test_a_node_that_makes_no_sense_is_left_out(tmp_path: Path, fields: dict[str, Any], why: str) -> None:
    built = federation(tmp_path / "f", 3)
    with opened(built) as coordinator:
        cohort = met(built, coordinator, saying(HELLO, "firm-1", **fields))
    assert cohort.members == ["firm-2", "firm-3"]
    assert why in cohort.why(0)


def test_a_bank_is_no_firm_of_a_cohort(tmp_path: Path) -> None:
    built = federation(tmp_path / "f", 3, banks=("bank-1",))
    with opened(built) as coordinator:
        cohort = met(built, coordinator, saying(HELLO, "firm-1", member="bank-1"))
    assert cohort.members == ["firm-2", "firm-3"]


def test_one_firm_on_two_nodes_is_left_out_and_stops_nobody(tmp_path: Path) -> None:
    built = federation(tmp_path / "f", 3)
    with opened(built) as coordinator:
        cohort = met(built, coordinator, firms=("firm-1", "firm-1", "firm-2"))
    assert cohort.members == cohort.witnesses == ["firm-2"]
    assert cohort.mirrored.keys() == {"firm-2"}
    assert "firm-1: two nodes prove that they are this firm" in cohort.why(0)


@pytest.mark.parametrize("masked", [True, False])
@pytest.mark.parametrize("fields", [{}, {"units": 0}, {"units": 0, "announcement": b""}])
def test_a_name_that_is_not_proved_counts_for_nothing(tmp_path: Path, fields: dict[str, Any], masked: bool) -> None:
    """Whatever it declares, and whether or not keys are asked for: the firm that it names is there, once."""
    built = federation(tmp_path / "f", 4)
    with opened(built) as coordinator:
        meddler = saying(HELLO, "firm-1", member="firm-2", **fields)
        cohort = met(built, coordinator, meddler, masked=masked)
    assert cohort.members == cohort.witnesses == ["firm-2", "firm-3", "firm-4"]
    assert "firm-2" in cohort.why(0)


def test_a_proof_is_good_for_one_question(tmp_path: Path) -> None:
    kept: dict[str, Any] = {}

    def after(kind: str, member: str, message: Any, reply: Any) -> Any:
        if (kind, member) != (HELLO, "firm-2"):
            return None
        fields = unpack(reply.content, REPLIES[HELLO], "reply")
        if not kept:
            kept.update(proof=fields["proof"])
        return with_fields(kind, message, reply, lambda answer: answer.update(kept))

    built = federation(tmp_path / "f", 3)
    with opened(built) as coordinator:
        assert met(built, coordinator, Meddler(after=after), masked=False).members == ["firm-1", "firm-2", "firm-3"]
        assert met(built, coordinator, Meddler(after=after), masked=False).members == ["firm-1", "firm-3"]


def test_nobody_is_an_error_that_says_who_said_what(tmp_path: Path) -> None:
    def before(kind: str, member: str, message: Any) -> Any:
        raise Lost

    built = federation(tmp_path / "f", 3)
    with opened(built) as coordinator, pytest.raises(RunFailed, match=r"credit: no firm takes part; node \d+: its"):
        met(built, coordinator, Meddler(before))


def test_silence_is_noted_with_its_name_and_time(tmp_path: Path) -> None:
    class Silent:
        def __init__(self, grid: Grid) -> None:
            self.grid = grid
            self.silent = False

        def get_node_ids(self) -> Any:
            return self.grid.get_node_ids()

        def push_messages(self, messages: Any) -> Any:
            return self.grid.push_messages(messages)

        def pull_messages(self, message_ids: Any) -> Any:
            return [] if self.silent else self.grid.pull_messages(message_ids)

    def use(grid: Grid) -> None:
        wrapped = Silent(grid)
        cohort = Cohort(wrapped, "simulation", TASK, 0)  # type: ignore[arg-type]
        cohort.meet(1)
        wrapped.silent = True
        assert list(cohort.ask(WITNESS, {"firm-1": {}}, 7)) == []
        ((number, firm, why),) = cohort.refusals
        assert (number, firm) == (7, "firm-1")
        assert re.fullmatch("no answer within 0 s; asked at [0-9:]{8} UTC", why)

    built = federation(tmp_path / "f", 3)
    with opened(built):
        on_grid(built, use)


def test_a_firm_without_masking_keys_is_left_out_of_the_cohort_and_still_witnesses(tmp_path: Path) -> None:
    def before(kind: str, member: str, message: Any) -> Any:
        if (kind, member) == (PAIR, "firm-2"):
            raise Lost
        return None

    built = federation(tmp_path / "f", 4, training())
    with opened(built) as coordinator:
        cohort = met(built, coordinator, Meddler(before), then=pair)
    assert cohort.members == ["firm-1", "firm-3", "firm-4"]
    assert cohort.witnesses == ["firm-1", "firm-2", "firm-3", "firm-4"]
    assert [entry.member for entry in cohort.roster] == cohort.members


@pytest.mark.parametrize(
    ("sealed", "why"),
    [({}, "there is none for firm-3"), ({"nobody": b"x", "firm-3": b"x"}, "not a CBOR message")],
)
def test_a_firm_that_seals_no_secrets_is_left_out_and_the_others_get_theirs(
    tmp_path: Path, sealed: dict[str, Any], why: str
) -> None:
    built = federation(tmp_path / "f", 4)
    with opened(built) as coordinator:
        cohort = met(built, coordinator, saying(PAIR, "firm-2", sealed=sealed), then=pair)
    assert cohort.members == ["firm-1", "firm-3", "firm-4"]
    assert f"firm-2: pair secret from firm-2: {why}" in cohort.why(0)
    assert cohort.sealed_for("firm-4").keys() == {"firm-1", "firm-3"}
    cohort.has_answered("firm-4")
    assert cohort.sealed_for("firm-4") == {}


def test_who_went_away_is_asked_again_within_the_deadline_and_not_for_ever(tmp_path: Path) -> None:
    def away(kind: str, member: str, message: Any) -> Any:
        return Message(Error(code=8, reason="its process ended"), reply_to=message) if kind == WITNESS else None

    for timeout_s, times in ((60, 4), (3, 3)):
        time_passes, meddler = FakeTime(), Meddler(away)
        passing = time_passes.waiting()

        def use(grid: Grid, timeout_s: int = timeout_s, waiting: Waiting = passing) -> Cohort:
            cohort = Cohort(grid, "simulation", TASK, timeout_s, waiting=waiting)
            cohort.meet(1)
            assert list(cohort.ask(WITNESS, {"firm-1": {}}, 7)) == []
            return cohort

        built = federation(tmp_path / str(timeout_s), 3)
        with opened(built):
            cohort = on_grid(built, use, app=meddler)
        assert meddler.asked.count((WITNESS, "firm-1")) == times
        assert cohort.refusals == [(7, "firm-1", "its client failed (Flower error 8)")]
        assert time_passes.at_s <= timeout_s + 2


def refuses(kind: str, member: str, message: Any) -> Any:
    """In place of firm-3, its gate."""
    return refuse(message, AppNotApproved("another bundle")) if member == "firm-3" else None


def fails(kind: str, member: str, message: Any) -> Any:
    """In place of firm-3, nobody."""
    if member == "firm-3":
        raise Lost


def proves_nothing(kind: str, member: str, message: Any, reply: Any) -> Any:
    """What firm-3 says, under a proof that is none."""
    if member != "firm-3":
        return None
    return with_fields(kind, message, reply, lambda answer: answer.update(proof=bytes(64)))


@pytest.mark.parametrize(
    ("app", "code"),
    [
        (Meddler(refuses), "AppNotApproved"),
        (Meddler(fails), "ClientFailed"),
        (Meddler(after=proves_nothing), "Refused"),
    ],
)
def test_a_node_that_proves_nothing_is_called_by_its_key_and_not_taken_for_the_firm(
    tmp_path: Path, app: Meddler, code: str
) -> None:
    built, asked = federation(tmp_path / "f", 3), []
    with opened(built) as coordinator, StateStore(None) as store:
        journal = RoundJournal(store, TASK, lambda: 0.0)
        journal.begin(1)
        enrolled = MessagedRecord(coordinator.log).enrolled_key

        def use(grid: Grid) -> Cohort:
            def names() -> dict[int, str]:
                asked.append(1)
                return {list(grid.get_node_ids())[2]: "firm-3"}

            cohort = Cohort(grid, "simulation", TASK, 60, journal=journal, names=names)
            cohort.meet(0, enrolled)
            return cohort

        cohort = on_grid(built, use, app=app)
        noted = progress_of(store, TASK)
    assert [who for _, who, _ in cohort.refusals] == ["firm-3"]
    assert noted is not None
    assert [(one.member, one.code) for one in noted.refusals] == [("firm-3", code)]
    assert cohort.witnesses == ["firm-1", "firm-2"]
    assert cohort.mirrored.keys() == {"firm-1", "firm-2"}
    assert len(asked) == 1
