"""The round journal: what was written is there for the next process, once, and gone when the round is over."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from server.progress import Said, Waiting, progress_of
from server.round_journal import RoundJournal, Step
from server.store import StateStore

TASK = "credit"
ROUND, OTHER = bytes(range(16)), bytes(16)


class Clock:
    """Seconds that pass when a test says so."""

    def __init__(self) -> None:
        self.at_s = 1_000.0

    def __call__(self) -> float:
        return self.at_s


@pytest.fixture
def store(tmp_path: Path) -> Iterator[StateStore]:
    with StateStore(tmp_path / "state.db") as made:
        yield made


def test_a_run_that_did_not_end_is_taken_up_and_one_that_did_is_not(store: StateStore) -> None:
    journal = RoundJournal(store, TASK, Clock())
    first = journal.begin(3)
    assert (first.taken_up, first.round, first.epoch, first.keys) == (0, b"", 0, {})
    journal.have_keys(7, {"sealed": {"a": {"b": b"c"}}})
    journal.open(ROUND, 2, {"statement": b"signed"})
    again = RoundJournal(store, TASK, Clock()).begin(3)
    assert (again.run, again.taken_up, again.round, again.epoch) == (first.run, 1, ROUND, 7)
    assert again.keys == {"sealed": {"a": {"b": b"c"}}}
    assert RoundJournal(store, "other", Clock()).begin(1).run != first.run
    journal.end(Step.FAILED, "Failed", "no firm answered")
    failed = RoundJournal(store, TASK, Clock()).begin(3)
    assert failed.run != first.run
    assert (failed.round, failed.epoch) == (ROUND, 7)  # its open round may still be taken up
    journal.end_round()
    journal.end(Step.OVER)
    assert RoundJournal(store, TASK, Clock()).begin(3).round == b""


def test_a_statement_is_made_once_whoever_asks(store: StateStore) -> None:
    made = iter((b"first", b"second", b"third"))
    journal = RoundJournal(store, TASK, Clock())
    journal.begin(1)
    assert journal.once(ROUND, Step.AGGREGATE, lambda: next(made)) == b"first"
    assert RoundJournal(store, TASK, Clock()).once(ROUND, Step.AGGREGATE, lambda: next(made)) == b"first"
    assert journal.once(OTHER, Step.AGGREGATE, lambda: next(made)) == b"second"


def test_what_belongs_to_a_round_goes_with_it(store: StateStore) -> None:
    journal = RoundJournal(store, TASK, Clock())
    journal.begin(1)
    journal.open(ROUND, 1, {"statement": b"s"})
    journal.take(ROUND, Step.CONTRIBUTION, "firm-1", {"header": b"h"})
    journal.take(ROUND, Step.CONTRIBUTION, "firm-1", {"header": b"again"})
    journal.take(ROUND, Step.ANSWER, "firm-2", {"reply": b"r"})
    assert journal.taken(ROUND, Step.CONTRIBUTION) == {"firm-1": {"header": b"again"}}
    assert journal.taken(OTHER, Step.CONTRIBUTION) == {}
    journal.end_round("Aborted", "too few firms")
    for step in Step:
        assert journal.taken(ROUND, step) == {}
    assert journal.opened(ROUND) is None
    journal.open(OTHER, 1, {"statement": b"t"})
    assert journal.opened(OTHER) == {"statement": b"t"}


def test_others_read_where_it_stands(store: StateStore) -> None:
    clock = Clock()
    assert progress_of(store, TASK) is None
    journal = RoundJournal(store, TASK, clock)
    run = journal.begin(5).run
    journal.open(ROUND, 2, {"statement": b"s"})
    clock.at_s = 1_010.0
    journal.take(ROUND, Step.CONTRIBUTION, "firm-1", {})
    journal.waits("train.update", ["firm-3", "firm-2"], 60)
    journal.note(2, "firm-4", "OverCap", "this round would bring the firm over its cap")
    clock.at_s = 1_020.0
    journal.waits("train.update", ["firm-3"], 60)
    found = progress_of(store, TASK)
    assert found is not None
    assert (found.run, found.began_s, found.number, found.rounds) == (run.hex(), 1_000, 2, 5)
    assert (found.step, found.since_s, found.over) == (Step.CONTRIBUTION, 1_010, False)
    assert (found.round, found.contributed, found.answered) == (ROUND.hex(), ("firm-1",), ())
    assert found.waiting == Waiting("train.update", ("firm-3",), 1_010, 1_070)
    refused = Said(2, "firm-4", "OverCap", "this round would bring the firm over its cap", 1_010)
    assert (found.refusals, found.failures) == ((refused,), ())
    journal.end_round("Aborted", "2 contributions, the threshold is 3")
    journal.end(Step.FAILED, "Failed", "3 rounds failed in a row")
    found = progress_of(store, TASK)
    assert found is not None
    assert (found.waiting, found.round, found.step, found.over) == (None, "", Step.FAILED, True)
    assert [(one.number, one.code) for one in found.failures] == [(2, "Aborted"), (2, "Failed")]


def test_without_a_store_nothing_is_kept(store: StateStore) -> None:
    journal = RoundJournal(None, TASK, Clock())
    assert not journal
    assert journal.begin(2).run == b""
    journal.open(ROUND, 1, {"statement": b"s"})
    journal.take(ROUND, Step.CONTRIBUTION, "firm-1", {})
    journal.waits("train.update", ["firm-1"], 60)
    assert journal.opened(ROUND) is None
    assert journal.once(ROUND, Step.AGGREGATE, lambda: b"made") == b"made"
    assert journal.taken(ROUND, Step.AGGREGATE) == {}
    journal.end(Step.OVER)


_MEMBERS = st.sampled_from(["firm-1", "firm-2", "firm-3"])
_STEPS = st.sampled_from([Step.CONTRIBUTION, Step.ANSWER, Step.VOTE])
_DOES = st.one_of(
    st.tuples(st.just("open"), st.sampled_from([ROUND, OTHER])),
    st.tuples(st.just("take"), st.sampled_from([ROUND, OTHER]), _STEPS, _MEMBERS, st.binary(max_size=4)),
    st.tuples(st.just("end")),
    st.tuples(st.just("killed")),
)


@settings(max_examples=40, deadline=None)
@given(st.lists(_DOES, max_size=25))
def test_whenever_a_process_ends_the_next_one_reads_what_it_wrote(done: list[tuple[object, ...]]) -> None:
    """Against a model in memory; `killed` goes on in a new process, which loses nothing and adds nothing."""
    with StateStore(None) as store:
        journal = RoundJournal(store, TASK, Clock())
        run, opened = journal.begin(1).run, b""
        model: dict[tuple[object, ...], bytes] = {}
        for what, *terms in done:
            if what == "open":
                (opened,) = terms  # type: ignore[assignment]
                journal.open(opened, 1, {"statement": opened})
                model = {}
            elif what == "take":
                round_id, step, member, content = terms
                journal.take(round_id, step, member, {"content": content})  # type: ignore[arg-type]
                model[round_id, step, member] = content  # type: ignore[assignment]
            elif what == "end":
                journal.end_round()
                model, opened = {}, b""
            else:
                journal = RoundJournal(store, TASK, Clock())
                again = journal.begin(1)
                assert (again.run, again.round) == (run, opened)
            for round_id in (ROUND, OTHER):
                for step in (Step.CONTRIBUTION, Step.ANSWER, Step.VOTE):
                    found = {member: one["content"] for member, one in journal.taken(round_id, step).items()}
                    assert found == {key[2]: one for key, one in model.items() if key[:2] == (round_id, step)}


def test_a_run_after_one_that_is_over_has_no_round_yet(store: StateStore) -> None:
    journal = RoundJournal(store, TASK, Clock())
    journal.begin(5)
    journal.open(ROUND, 5, {"statement": b"s"})
    journal.end(Step.OVER)
    again = RoundJournal(store, TASK, Clock())
    again.begin(5)
    again.end(Step.FAILED, "Failed", "2 firms take part, the policy asks for 3")
    found = progress_of(store, TASK)
    assert found is not None
    assert (found.number, [one.number for one in found.failures]) == (0, [0])
