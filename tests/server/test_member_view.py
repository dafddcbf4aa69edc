"""What members are told of each task: who is waited for and until when, and never why somebody is away."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from test_findings import NOW_S, ORDER, RUN

from clients.enrolment.state import TaskState
from server.member_view import task_state
from server.progress import Said, Waiting
from server.roll_call import Missing, named_in
from server.round_journal import Step
from server.run_order import TaskWish
from server.schedule import Patience

FIRMS = ("firm-1", "firm-2", "firm-3")
WAIT = Waiting("train.update", ("firm-2", "stranger"), int(NOW_S - 60), int(NOW_S + 240))
WISH = TaskWish("credit")
PAUSED = TaskWish("credit", "paused", NOW_S - 5, "a quarrel with firm-2")
SECRET = Said(3, "firm-2", "OverCap", "the cap is 2", int(NOW_S))
RUNS = replace(RUN, waiting=WAIT, refusals=(SECRET,), failures=(SECRET,))
MISSING = Missing(3, 1, (("firm-2", NOW_S - 60), ("firm-3", None)))
WAITS = replace(ORDER, phase="waiting", ticket="", waits_for=MISSING.words(NOW_S), waits_since_s=NOW_S - 30)


def told(wish: TaskWish = WISH, order: Any = ORDER, progress: Any = RUNS, fires_s: float | None = None) -> TaskState:
    return task_state(wish, order, progress, fires_s, Patience(wait_for_firms_s=600), FIRMS)


def test_a_round_that_waits() -> None:
    at = told()
    assert (at.phase, at.round, at.number, at.rounds) == ("runs", "01", 3, 10)
    assert (at.kind, at.members, at.waits_since_s, at.until_s) == (
        "train.update",
        ("firm-2",),  # of the ledger's active firms alone
        NOW_S - 60,
        NOW_S + 240,
    )
    assert at.more == 1  # and how many others
    assert told(order=None) == at  # begun by Flower's own command line
    assert told(wish=PAUSED).phase == "runs"  # to the end of its round


def test_reasons_stay_at_the_coordinator() -> None:
    order = replace(WAITS, reason="firm-2 refused", failures=2)
    for one in (told(), told(PAUSED, None, None), told(order=order), told(order=replace(order, waits_for=""))):
        assert not any(word in str(one) for word in ("cap", "quarrel", "refused", "seen"))


def test_an_order_that_waits() -> None:
    at = told(order=WAITS, progress=None)
    assert (at.phase, at.kind, at.more, at.members) == ("waits-for-firms", "firms", 2, ("firm-2", "firm-3"))
    assert (at.waits_since_s, at.until_s) == (NOW_S - 30, NOW_S + 570)
    turn = replace(WAITS, waits_for="", waits_since_s=None)
    assert (told(order=turn).phase, told(order=turn).until_s, told(order=turn).number) == ("waits-for-turn", None, 3)
    again = replace(turn, failures=1, not_before_s=NOW_S + 15)
    assert (told(order=again).phase, told(order=again).until_s) == ("tries-again", NOW_S + 15)


def test_a_task_that_does_nothing() -> None:
    ended = replace(ORDER, phase="ended", ended_s=NOW_S - 9)
    over = replace(RUN, step=Step.OVER)
    at = told(order=ended, progress=over, fires_s=NOW_S + 3600)
    assert at == TaskState("credit", "idle", NOW_S - 9, until_s=NOW_S + 3600)
    assert told(PAUSED, ended, over, NOW_S + 3600) == TaskState("credit", "paused", NOW_S - 5)
    assert told(order=None, progress=None) == TaskState("credit", "idle")
    assert told(order=replace(ORDER, phase="starting"), progress=None).phase == "runs"


@pytest.mark.parametrize("missing", [MISSING, Missing(2, 1, (("firm-9", None),)), Missing(3, 1, ())])
def test_who_is_missing_is_read_from_the_words(missing: Missing) -> None:
    assert named_in(missing.words(NOW_S)) == (missing.needed - missing.there, tuple(one for one, _ in missing.away))
    assert named_in("SuperLink does not answer") == (0, ())
