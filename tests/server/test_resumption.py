"""A coordinator that stops anywhere: the next run goes on, counts nothing twice, and loses no firm's spending."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from federation_world import TASK, Lost, Meddler, federation, opened, phases, rounds, spent, stored, train, training

from clients.firm import close_firms
from clients.messages import CHECK, DECRYPT, OPEN, PAIR, TRAIN, WITNESS
from clients.plan import Plan
from clients.privacy import add
from ledger.rules import COORDINATOR
from ledger.statement import decode_statement, sign_statement
from server.audit import audit_all
from server.coordinator import Coordinator
from server.progress import progress_of
from server.recording import NotWitnessed, Record
from server.releases import RECEIPT, ReleaseRefused, current_release
from server.round_journal import Step
from server.rounds import Run
from server.statements import Statements


class Killed(BaseException):
    """The coordinator's process ends here."""


def killed_at(kind: str, count: int) -> Meddler:
    """Ends the coordinator when the `count`-th message of this kind is on its way."""
    seen = {"count": 0}

    def before(asked: str, member: str, message: Any) -> Any:
        if asked == kind:
            seen["count"] += 1
            if seen["count"] == count:
                raise Killed
        return None

    return Meddler(before)


def plan_numbers(coordinator: Coordinator, phase: str = "") -> list[int]:
    out = []
    for one in rounds(coordinator):
        payload = decode_statement(coordinator.log.entries(one.index, one.index + 1)[0]).payload
        if not phase or one.phase == phase:
            out.append(Plan.from_map(payload["plan"]).number)
    return out


def stop(built: Any, meddler: Any, lines: list[str] | None = None) -> None:
    with pytest.raises(Killed), Coordinator(built.coordinator) as coordinator:
        train(built, coordinator, app=meddler, lines=lines)
    close_firms()


def cost_of(coordinator: Coordinator, count: int) -> tuple[int, ...]:
    at = rounds(coordinator)[0].index
    plan = Plan.from_map(decode_statement(coordinator.log.entries(at, at + 1)[0]).payload["plan"])
    return add([plan.round_rdp()] * count)


def test_killed_between_rounds_it_goes_on_after_the_last_one(tmp_path: Path) -> None:
    built, lines = federation(tmp_path / "f", 3, training(4)), list[str]()
    stop(built, killed_at(WITNESS, 3 + 6 + 6 + 1))  # the beginning, two rounds; the third was not opened yet
    with opened(built) as coordinator:
        first = [one.model for one in rounds(coordinator) if one.model]
        train(built, coordinator, lines=lines)
        done = [one for one in rounds(coordinator) if one.phase != "aborted"]
        assert [one.model for one in done][: len(first)] == first
        assert [one.parent_model for one in done][1:] == [one.model for one in done][:-1]
        assert plan_numbers(coordinator) == [1, 2, 3, 4]  # the third was opened, and nobody had heard of it
        assert len(done) == 4
        assert spent(built, "firm-1") == coordinator.log.state.spent.get(("firm-1", TASK)) == cost_of(coordinator, 4)
    assert lines[0] == "credit: going on with round 3, which was open"
    assert audit_all(built.coordinator).ok


@pytest.mark.parametrize(("kind", "count", "trained"), [(TRAIN, 5, 1), (OPEN, 4, 3), (OPEN, 6, 3)])
def test_killed_in_a_round_it_goes_on_with_that_round(tmp_path: Path, kind: str, count: int, trained: int) -> None:
    """Killed in the second round, while `trained` firms had already sent their update or were waiting to open it."""
    built, meddler = federation(tmp_path / "f", 3, training(3)), Meddler()
    stop(built, killed_at(kind, count))
    with opened(built) as coordinator:
        assert phases(coordinator) == ["aggregated", "open"]
        before = {firm: spent(built, firm) for firm in built.firms}
        assert sum(one == cost_of(coordinator, 2) for one in before.values()) == trained
        lines = list[str]()
        train(built, coordinator, app=meddler, lines=lines)
        assert lines[0] == "credit: going on with round 2, which was open"
        assert phases(coordinator) == ["aggregated", "aggregated", "published"]
        assert [len(stored(coordinator, one)) for one in rounds(coordinator)] == [3, 3, 3]
        assert {firm: spent(built, firm) for firm in built.firms} == dict.fromkeys(built.firms, cost_of(coordinator, 3))
        assert meddler.asked.count((PAIR, "firm-1")) == 0  # in the epoch that it was in
        found = progress_of(coordinator.store, TASK)
        assert found is not None
        assert (found.step, found.taken_up, found.failures) == (Step.OVER, 1, ())
    trained_again = [member for asked, member in meddler.asked if asked == TRAIN][: 3 - trained]
    assert len(set(trained_again)) == 3 - trained
    assert audit_all(built.coordinator).ok


@pytest.mark.parametrize(("kind", "count"), [(CHECK, 2), (DECRYPT, 1)])
def test_killed_while_an_encrypted_sum_is_opened_it_goes_on_with_that_round(
    tmp_path: Path, kind: str, count: int
) -> None:
    built = federation(tmp_path / "f", 4, training(1, kind="encrypted", colluders=1), limits={"colluders": 1})
    stop(built, killed_at(kind, count))
    with opened(built) as coordinator:
        train(built, coordinator)
        assert phases(coordinator) == ["published"]
        assert {spent(built, firm) for firm in built.firms} == {cost_of(coordinator, 1)}
    assert audit_all(built.coordinator).ok


def without_journal(built: Any) -> None:
    (built.coordinator / "state.db").unlink()


def long_ago(built: Any) -> None:
    """Twenty days pass."""
    patch.setattr(
        Run.__init__, "__kwdefaults__", {**Run.__init__.__kwdefaults__, "now": lambda: time.time() + 20 * 86_400}
    )


patch = pytest.MonkeyPatch()


@pytest.mark.parametrize(
    ("loses", "why"), [(without_journal, "its journal does not have the round"), (long_ago, "it has been open since")]
)
def test_a_round_that_cannot_be_taken_up_is_given_up_with_the_reason(
    tmp_path: Path, loses: Callable[[Any], None], why: str
) -> None:
    built, lines = federation(tmp_path / "f", 3, training(3)), list[str]()
    stop(built, killed_at(OPEN, 4))
    loses(built)
    try:
        with opened(built) as coordinator:
            half = rounds(coordinator)[1]
            train(built, coordinator, lines=lines)
            assert phases(coordinator) == ["aggregated", "aborted", "aggregated", "published"]
            assert [len(stored(coordinator, one)) for one in rounds(coordinator)] == [3, 0, 3, 3]
            assert plan_numbers(coordinator) == [1, 2, 2, 3]
            assert rounds(coordinator)[2].parent_model == half.parent_model == rounds(coordinator)[0].model
            for firm in built.firms:  # what it sent for the round that was given up, it paid for
                assert spent(built, firm) == cost_of(coordinator, 4)
    finally:
        patch.undo()
    assert why in lines[0]
    assert audit_all(built.coordinator).ok


def test_killed_while_it_gives_a_round_up_nothing_of_that_round_is_left(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Killed at the abort record, after the third firm was lost."""
    append = Record.append

    def dies(record: Record, statements: Any) -> Any:
        if decode_statement(statements[0]).payload["t"] == "abort":
            raise Killed
        return append(record, statements)

    def lost(kind: str, member: str, message: Any) -> Any:
        if (kind, member) == (TRAIN, "firm-3"):
            raise Lost
        return None

    built = federation(tmp_path / "f", 3, training(2))
    with monkeypatch.context() as patch:
        patch.setattr(Record, "append", dies)
        stop(built, Meddler(lost))
    with opened(built) as coordinator:
        assert phases(coordinator) == ["open"]
        assert stored(coordinator, rounds(coordinator)[0]) == []
        train(built, coordinator)
        assert phases(coordinator) == ["aborted", "aggregated", "published"]
        assert [len(stored(coordinator, one)) for one in rounds(coordinator)] == [0, 3, 3]
    assert audit_all(built.coordinator).ok


def test_killed_before_the_publication_it_only_publishes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    built = federation(tmp_path / "f", 3, training(2))
    with monkeypatch.context() as patch:
        patch.setattr(Run, "_publish", lambda *_: (_ for _ in ()).throw(Killed()))
        stop(built, Meddler())
    meddler = Meddler()
    with opened(built) as coordinator:
        assert phases(coordinator) == ["aggregated", "aggregated"]
        release = train(built, coordinator, app=meddler)
        assert phases(coordinator) == ["aggregated", "published"]
        assert release.model == rounds(coordinator)[-1].model
        assert release.manifest["round"] == rounds(coordinator)[-1].id.hex()
    assert not [kind for kind, _ in meddler.asked if kind in (TRAIN, OPEN)]


def test_a_publication_that_was_not_witnessed_is_completed_and_not_repeated(tmp_path: Path) -> None:
    gone = {"at": 3 * (1 + 2 * 2)}  # the last witnessing, of the publication

    def before(kind: str, member: str, message: Any) -> Any:
        if kind == WITNESS:
            gone["at"] -= 1
            if gone["at"] < 0:
                raise Lost
        return None

    built = federation(tmp_path / "f", 3, training(2))
    with opened(built) as coordinator, pytest.raises(NotWitnessed):
        train(built, coordinator, app=Meddler(before))
    assert current_release(built.coordinator, TASK) is None
    meddler = Meddler()
    with opened(built) as coordinator:
        assert phases(coordinator) == ["aggregated", "published"]
        size = coordinator.log.size
        release = train(built, coordinator, app=meddler)
        assert coordinator.log.size == size
        assert (release.folder / RECEIPT).exists()
    found = current_release(built.coordinator, TASK)
    assert found is not None
    assert found.model == release.model
    assert not [kind for kind, _ in meddler.asked if kind in (TRAIN, OPEN)]
    assert audit_all(built.coordinator).ok


def test_a_run_after_a_publication_starts_from_the_published_model(tmp_path: Path) -> None:
    built = federation(tmp_path / "f", 3, training(2))
    with opened(built) as coordinator:
        first = train(built, coordinator)
        second = train(built, coordinator)
        assert phases(coordinator) == ["aggregated", "published"] * 2
        assert rounds(coordinator)[2].parent_model == first.model
        assert second.model != first.model
        assert second.manifest["privacy"]["epsilon_lifetime"] > second.manifest["privacy"]["epsilon"]
    found = current_release(built.coordinator, TASK)
    assert found is not None
    assert found.model == second.model
    assert audit_all(built.coordinator).ok


def test_a_run_after_a_revocation_starts_from_what_is_left(tmp_path: Path) -> None:
    built = federation(tmp_path / "f", 3, training(1), seed=None)
    with opened(built) as coordinator:
        first = train(built, coordinator)
        second = train(built, coordinator)
        statements = Statements("simulation", lambda: coordinator.key, lambda: 1_800_000_000.0)
        coordinator.log.append([statements.make("revoke", second.model.hex(), model=second.model, reason="drift")])
        third = train(built, coordinator)
        assert rounds(coordinator)[-1].parent_model == first.model
        coordinator.log.append([statements.make("revoke", "m", model=first.model, reason="drift")])
        coordinator.log.append([statements.make("revoke", "m", model=third.model, reason="drift")])
        train(built, coordinator)
        assert rounds(coordinator)[-1].parent_model == rounds(coordinator)[0].parent_model  # the initial model


def test_a_revoked_model_is_not_published_again(tmp_path: Path) -> None:
    """With noise from a seed, the same training gives the same model."""
    built = federation(tmp_path / "f", 3, training(1))
    with opened(built) as coordinator:
        first = train(built, coordinator)
        second = train(built, coordinator)
        statements = Statements("simulation", lambda: coordinator.key, lambda: 1_800_000_000.0)
        coordinator.log.append([statements.make("revoke", "m", model=second.model, reason="drift")])
        with pytest.raises(ReleaseRefused, match="was published before"):
            train(built, coordinator)
        assert first.model != second.model


@pytest.mark.parametrize(
    ("term", "other"), [("rate = 2.0", "rate = 1.0"), ('weighting = "declared"', 'weighting = "summed"')]
)
def test_other_terms_are_another_run_on_the_model_so_far(tmp_path: Path, term: str, other: str) -> None:
    built = federation(tmp_path / "f", 3, training(4))
    stop(built, killed_at(WITNESS, 3 + 6 + 6 + 1))
    path = built.coordinator / "coordinator.toml"
    path.write_text(path.read_text().replace(term, other))
    with opened(built) as coordinator:
        train(built, coordinator)
        done = [one for one in rounds(coordinator) if one.phase != "aborted"]
        assert len(done) == 2 + 4
        assert done[2].parent_model == done[1].model


def test_a_firm_that_is_gone_after_the_crash_does_not_start_the_run_again(tmp_path: Path) -> None:
    built = federation(tmp_path / "f", 5, training(3))
    stop(built, killed_at(TRAIN, 6))
    with opened(built) as coordinator:
        train(built, coordinator, firms=built.firms[:4])
        assert plan_numbers(coordinator) == [1, 2, 3]
        assert [len(one.cohort) for one in rounds(coordinator)] == [5, 5, 4]
        assert [len(one.contributions) for one in rounds(coordinator)] == [5, 4, 4]


def test_a_task_whose_spec_has_changed_needs_a_new_name(tmp_path: Path) -> None:
    built = federation(tmp_path / "f", 3, training(1))
    with opened(built) as coordinator:
        other = {"task": TASK, "spec": bytes(32)}
        payload = Statements("simulation", lambda: coordinator.key, lambda: 1.0).payload("task", **other)
        coordinator.log.append([sign_statement(payload, issuer=COORDINATOR, subject=TASK, key=coordinator.key)])
        with pytest.raises(Exception, match="another spec under this name"):
            train(built, coordinator)
