"""One thread owns the log: what waits is written together; what fails is told; what cannot go on stops."""

import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from pathlib import Path
from typing import Any

import pytest
from consortium_simulator import Consortium

from ledger.checkpoint import SignedCheckpoint
from ledger.errors import Conflict, Damaged, NoSuchEntry, StoreError, StoreFull, Unreachable
from ledger.service.batch import Accepted
from ledger.service.board import View
from ledger.service.limits import BadSetting, Settings
from ledger.service.sequencer import Overloaded, Sequencer, Stopped
from ledger.statement import Statement, decode_statement
from ledger.store import Store

WAIT_S = 20


class Running:
    """A sequencer, and what it has told."""

    def __init__(self, made: Consortium, *, started: bool = True, **settings: Any) -> None:
        self.made = made
        self.views: list[View] = []
        self.ended = threading.Event()
        self.sequencer = Sequencer(made.log, made.keys["coordinator"], Settings(**settings))
        if started:
            self.start()

    def start(self) -> None:
        self.sequencer.start(self.views.append, self.ended.set)

    def attest(self) -> Statement:
        return decode_statement(self.made.statement("attest", "firm-0", subject="s", artifact=self.made.hash()))

    def block(self) -> threading.Event:
        """Keep the thread busy until the event is set."""
        entered, release = threading.Event(), threading.Event()
        self.sequencer.ask(lambda _: (entered.set(), release.wait(WAIT_S)))
        assert entered.wait(WAIT_S)
        return release


def until(condition: Callable[[], bool]) -> None:
    end_s = time.monotonic() + WAIT_S
    while not condition():
        assert time.monotonic() < end_s
        time.sleep(0.001)


def size_of(view: View) -> int:
    return SignedCheckpoint.parse(view.checkpoint).checkpoint.size


def test_what_waits_is_written_in_one_transaction(monkeypatch: pytest.MonkeyPatch) -> None:
    running = Running(Consortium())
    log, appends = running.made.log, list[int]()
    append = log.append
    monkeypatch.setattr(log, "append", lambda raws: appends.append(len(raws)) or append(raws))
    size, release = log.size, running.block()
    futures = [running.sequencer.submit([running.attest()]) for _ in range(50)]
    release.set()
    places = [outcome.index for future in futures for outcome in future.result(WAIT_S) if isinstance(outcome, Accepted)]
    assert places == list(range(size, size + 50))
    assert appends == [50]
    until(lambda: size_of(running.sequencer.view) == size + 50)
    assert [size_of(view) for view in running.views] == [size, size + 50]
    running.sequencer.stop()


def test_a_full_store_is_told_and_the_service_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    running = Running(Consortium())
    append, failures = running.made.log.append, [StoreFull("disk full"), StoreError("locked")]

    def failing(raws: Any) -> Any:
        if failures:
            raise failures.pop(0)
        return append(raws)

    monkeypatch.setattr(running.made.log, "append", failing)
    statement = running.attest()
    for kind in (StoreFull, StoreError):
        with pytest.raises(kind):
            running.sequencer.submit([statement]).result(WAIT_S)
    assert isinstance(running.sequencer.submit([statement]).result(WAIT_S)[0], Accepted)
    running.sequencer.stop()
    assert running.sequencer.failure is None


def test_a_checkpoint_that_cannot_be_written_is_made_later(monkeypatch: pytest.MonkeyPatch) -> None:
    running = Running(Consortium())
    checkpoint, failures = running.made.log.checkpoint, [StoreFull("disk full")]

    def failing() -> str:
        if failures:
            raise failures.pop(0)
        return checkpoint()

    monkeypatch.setattr(running.made.log, "checkpoint", failing)
    [outcome] = running.sequencer.submit([running.attest()]).result(WAIT_S)
    until(lambda: size_of(running.sequencer.view) == outcome.index + 1)
    running.sequencer.stop()


@pytest.mark.parametrize(
    "error", [Conflict("two sequencers"), Unreachable("lock lost"), Damaged("entry 3"), RuntimeError("a bug")]
)
def test_what_cannot_be_survived_stops_it(monkeypatch: pytest.MonkeyPatch, error: Exception) -> None:
    running = Running(Consortium())

    def failing(_: Any) -> None:
        raise error

    monkeypatch.setattr(running.made.log, "append", failing)
    release = running.block()
    futures: list[Any] = [running.sequencer.submit([running.attest()])]
    futures.append(running.sequencer.ask(lambda log: log.size))
    release.set()
    for future in futures:
        with pytest.raises(Stopped):
            future.result(WAIT_S)
    assert running.ended.wait(WAIT_S)
    assert running.sequencer.failure is error
    with pytest.raises(Stopped):
        running.sequencer.submit([running.attest()])
    running.sequencer.stop()


@pytest.mark.parametrize("error", [Conflict("two sequencers"), Unreachable("lock lost")])
def test_a_conflict_among_cosignatures_stops_it_too(monkeypatch: pytest.MonkeyPatch, error: Exception) -> None:
    running = Running(Consortium())

    def failing(*_: Any) -> None:
        raise error

    monkeypatch.setattr(running.made.log, "add_cosignatures", failing)
    with pytest.raises(Stopped):
        running.sequencer.cosign(["x"], 6).result(WAIT_S)
    assert running.ended.wait(WAIT_S)
    running.sequencer.stop()


def test_more_than_it_takes_is_refused() -> None:
    running = Running(Consortium(), max_pending=3)
    release = running.block()
    futures = [running.sequencer.ask(lambda log: log.size) for _ in range(3)]
    with pytest.raises(Overloaded):
        running.sequencer.ask(lambda log: log.size)
    release.set()
    assert [future.result(WAIT_S) for future in futures] == [6, 6, 6]
    running.sequencer.stop()


def test_what_still_waits_is_refused_at_the_end() -> None:
    running = Running(Consortium())
    release = running.block()
    waiting = running.sequencer.submit([running.attest()])
    stopper = threading.Thread(target=running.sequencer.stop)
    stopper.start()
    until(lambda: running.sequencer._closing.is_set())
    release.set()
    with pytest.raises(Stopped):
        waiting.result(WAIT_S)
    stopper.join(WAIT_S)
    assert running.ended.is_set()


def test_questions_that_the_log_refuses() -> None:
    running = Running(Consortium())
    with pytest.raises(NoSuchEntry):
        running.sequencer.ask(lambda log: log.entries(0, 99)).result(WAIT_S)
    assert running.sequencer.ask(lambda log: len(log.entries(0, 3))).result(WAIT_S) == 3
    running.sequencer.stop()


def test_checkpoints_may_be_rarer_than_batches() -> None:
    running = Running(Consortium(), checkpoint_s=0.5)
    size = running.made.log.size
    began_s = time.monotonic()
    for _ in range(10):
        running.sequencer.submit([running.attest()]).result(WAIT_S)
    if time.monotonic() - began_s < 0.4:
        assert size_of(running.sequencer.view) == size
    until(lambda: size_of(running.sequencer.view) == size + 10)
    assert time.monotonic() - began_s >= 0.4
    running.sequencer.stop()


def test_what_is_durable_is_signed_when_it_stops(tmp_path: Path) -> None:
    """An export that is made then, for another place or another release, has all that was acknowledged."""
    made = Consortium(location=tmp_path / "ledger.db")
    running = Running(made, checkpoint_s=50)
    [outcome] = running.sequencer.submit([running.attest()]).result(WAIT_S)
    assert size_of(running.sequencer.view) == outcome.index
    running.sequencer.stop()
    store = Store(tmp_path / "ledger.db", read_only=True)
    assert store.latest_checkpoint() == store.size() == outcome.index + 1
    store.close()


def test_when_idle_it_audits_until_all_is_audited(monkeypatch: pytest.MonkeyPatch) -> None:
    made, left = Consortium(), [True, True, False]
    budgets: list[float] = []
    monkeypatch.setattr(made.log, "audit_some", lambda budget_s: budgets.append(budget_s) or left.pop(0))
    running = Running(made, audit_s=0.01)
    until(lambda: not left)
    running.sequencer.submit([running.attest()]).result(WAIT_S)
    time.sleep(0.05)
    assert budgets == [0.01] * 3
    running.sequencer.stop()


def test_damage_found_by_the_audit_stops_it(monkeypatch: pytest.MonkeyPatch) -> None:
    made = Consortium()

    def damaged(_: float) -> bool:
        raise Damaged("entry 3 is not what was written")

    monkeypatch.setattr(made.log, "audit_some", damaged)
    running = Running(made)
    assert running.ended.wait(WAIT_S)
    assert isinstance(running.sequencer.failure, Damaged)
    running.sequencer.stop()


def test_a_log_without_members_waits_for_its_founding() -> None:
    made = Consortium(founded=False)
    running = Running(made)
    assert running.sequencer.view.checkpoint == ""
    genesis = [decode_statement(raw) for raw in made.genesis()]
    for statement in genesis:
        assert isinstance(running.sequencer.submit([statement]).result(WAIT_S)[0], Accepted)
    until(lambda: running.sequencer.view.checkpoint_size == len(genesis))
    running.sequencer.stop()


def test_settings_make_sense() -> None:
    for wrong in ({"max_batch": 0}, {"stall_s": -1}, {"checkpoint_s": -1}, {"inclusion_s": 0}, {"checkpoint_s": 60}):
        with pytest.raises(BadSetting):
            Settings(**wrong)
    assert Settings(checkpoint_s=0).checkpoint_s == 0


def test_cosignatures_that_wait_for_others_are_refused_at_the_end() -> None:
    running = Running(Consortium(), gather_s=30)
    waiting = running.sequencer.cosign(["\u2014 log/firm-0 x"], 6)
    running.sequencer.ask(lambda log: log.size).result(WAIT_S)
    assert not waiting.done()
    running.sequencer.stop()
    with pytest.raises(Stopped):
        waiting.result(0)


def test_what_is_answered_has_been_told() -> None:
    made = Consortium()
    size, entries = made.log.size, made.log.entries(0, made.log.size)  # while nobody else uses its one connection
    running = Running(made)
    note, told = running.sequencer.view.checkpoint, list[tuple[int, int]]()

    def answered(enter: Callable[[], "Future[Any]"]) -> Any:
        release = running.block()
        answer = enter()
        answer.add_done_callback(lambda _: told.append((running.views[-1].state.size, running.views[-1].final_size)))
        release.set()
        return answer.result(WAIT_S)

    lines = [made.witness(name).advance(entries, note, []) for name in made.members]
    assert answered(lambda: running.sequencer.cosign(lines, size))
    answered(lambda: running.sequencer.submit([running.attest()]))
    running.sequencer.stop()
    assert told == [(size, size), (size + 1, size)]


def test_what_is_durable_is_answered_although_the_checkpoint_after_it_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    running = Running(Consortium())

    def failing() -> str:
        raise Conflict("another sequencer")

    release = running.block()
    monkeypatch.setattr(running.made.log, "checkpoint", failing)
    attested = running.sequencer.submit([running.attest()])
    release.set()
    (outcome,) = attested.result(WAIT_S)
    assert isinstance(outcome, Accepted)
    assert running.ended.wait(WAIT_S)
    assert isinstance(running.sequencer.failure, Conflict)
