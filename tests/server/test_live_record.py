"""Finality by live witnesses: who is waited for, how long, and what is said of who is behind."""

from __future__ import annotations

from typing import Any

import pytest

from ledger.service.client import Unreachable
from server.live_record import LiveRecord
from server.recording import NotWitnessed


class Served:
    """A served ledger of ten entries, whose members cosign when the test's clock comes to it."""

    def __init__(self, cosigns_at: dict[str, float], final_at: float = 0.0) -> None:
        self.now, self.size, self.cosigns_at, self.final_at = 0.0, 10, cosigns_at, final_at
        self.problem: Exception | None = None

    @property
    def final_size(self) -> int:
        return 10 if self.now >= self.final_at else 8

    def wait_final(self, size: int, for_s: float) -> bool:
        self.now = min(max(self.final_at, self.now), self.now + for_s)
        return self.final_size >= size

    def final(self) -> str:
        return "the note"

    def cosigned(self) -> tuple[dict[str, int], float]:
        if self.problem is not None:
            raise self.problem
        return {member: 10 if self.now >= at else 7 for member, at in self.cosigns_at.items()}, 125.0

    def pause(self, seconds: float) -> None:
        self.now += seconds


def record_of(served: Any, final_s: float = 60.0, witness_s: float = 3.0, journal: Any = None) -> LiveRecord:
    times: dict[str, Any] = {"monotonic": lambda: served.now, "sleep": served.pause, "now": lambda: 1_800_000_125.0}
    return LiveRecord(served, final_s=final_s, witness_s=witness_s, journal=journal, **times)


def test_nobody_follows_before_it_was_waited_for() -> None:
    record = record_of(Served({"firm-1": 0.0}))
    assert not record.follows("firm-1")
    record.wait_for(["firm-1"])
    assert record.follows("firm-1")
    assert not record.follows("firm-9")


def test_witnesses_that_are_a_little_later_than_the_quorum_are_waited_for() -> None:
    served = Served({"firm-1": 1.0, "firm-2": 1.0, "firm-3": 2.5}, final_at=1.0)
    record = record_of(served)
    record.wait_for(list(served.cosigns_at))
    assert [record.follows(member) for member in served.cosigns_at] == [True, True, True]
    assert 2.5 <= served.now < 2.7


def test_one_that_is_away_costs_the_wait_once_and_is_asked_again_when_it_is_back() -> None:
    served = Served({"firm-1": 0.0, "firm-2": 0.0, "firm-3": 100.0})
    record = record_of(served)
    record.wait_for(list(served.cosigns_at))
    assert 3.0 <= served.now < 3.2
    assert not record.follows("firm-3")
    before = served.now
    record.wait_for(list(served.cosigns_at))
    assert served.now == before
    served.now = 100.0
    record.wait_for(list(served.cosigns_at))
    assert record.follows("firm-3")
    served.cosigns_at["firm-3"] = 102.0  # it is not away any more, so it is waited for
    record.wait_for(list(served.cosigns_at))
    assert record.follows("firm-3")


def test_what_does_not_become_final_names_who_is_behind_and_since_when() -> None:
    served = Served({"firm-1": 0.0, "firm-2": 500.0, "firm-3": 500.0}, final_at=500.0)
    says = (
        "ledger: 2 of 10 entries are not final after 60 s: firm-2 has cosigned 7, firm-3 has cosigned 7; the oldest "
        "waits since 2027-01-15 08:00:00 UTC; see that these members' witnesses run, then start again"
    )
    for wait in (record_of(served).require_final, lambda: record_of(served).wait_for(["firm-1"])):
        with pytest.raises(NotWitnessed) as caught:
            wait()
        assert str(caught.value) == says
        assert caught.value.exit_code == 3
    served.problem = Unreachable("nobody there")
    with pytest.raises(NotWitnessed, match="entries are not final after 60 s: nobody there"):
        record_of(served).require_final()


def test_it_returns_the_final_checkpoint_as_soon_as_there_is_one() -> None:
    served = Served({"firm-1": 0.0}, final_at=7.0)
    assert record_of(served).require_final() == "the note"
    assert served.now == 7.0


def test_a_wait_that_people_notice_is_in_the_journal_while_it_lasts() -> None:
    said: list[Any] = []

    class Journal:
        def waits(self, kind: str, members: list[str], timeout_s: float) -> None:
            said.append((kind, members, timeout_s))

        def waits_no_more(self) -> None:
            said.append("over")

    served = Served({"firm-1": 0.0, "firm-2": 7.0}, final_at=1.0)
    record_of(served, journal=Journal()).require_final()
    assert said == []
    served = Served({"firm-1": 0.0, "firm-2": 7.0}, final_at=7.0)
    assert record_of(served, journal=Journal()).require_final() == "the note"
    assert said == [("finality", ["firm-2"], 58.0), "over"]
    said.clear()
    served = Served({}, final_at=500.0)
    served.problem = Unreachable("nobody there")
    with pytest.raises(NotWitnessed):
        record_of(served, journal=Journal()).require_final()
    assert said == [("finality", [], 58.0), "over"]
    assert served.now == 60.0
