"""A firm that sits out refuses in words that its operator chose, spends nothing, and is a witness all the same."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from click.testing import CliRunner
from federation_world import TASK, Meddler, federation, on_grid, opened, spent, train, training
from flwr.app import Message

from artesian import app
from clients.disclosure import pack_refusal
from clients.messages import HELLO, REPLIES, TRAIN, Refusal, unpack
from clients.privacy import NOTHING
from clients.sitting_out import (
    ALL,
    FILE,
    Pause,
    PauseInvalid,
    SittingOut,
    pause_of,
    pauses,
    sit_out,
    take_part,
)
from server.cohort import Cohort
from server.recording import MessagedRecord

NOW_S = 1_790_000_000.0


def told(error: Exception) -> Refusal:
    with pytest.raises(Refusal) as raised:
        unpack(pack_refusal(error), REPLIES[HELLO], "hello")
    return raised.value


def test_a_pause_holds_for_its_task_until_its_time_is_up(tmp_path: Path) -> None:
    assert pauses(tmp_path) == {}
    sit_out(tmp_path, "credit", Pause(NOW_S, NOW_S + 60))
    known = pauses(tmp_path)
    assert pause_of(known, "credit", NOW_S + 59) is not None
    assert pause_of(known, "credit", NOW_S + 60) is None
    assert pause_of(known, "demand", NOW_S) is None
    sit_out(tmp_path, ALL, Pause(NOW_S))
    assert pause_of(pauses(tmp_path), "demand", NOW_S + 1e9) is not None
    with pytest.raises(PauseInvalid, match="all tasks are paused"):
        take_part(tmp_path, "credit")
    assert take_part(tmp_path, ALL)
    assert pauses(tmp_path) == {}
    assert not take_part(tmp_path, "credit")


def test_of_pauses_that_are_given_at_once_none_is_lost(tmp_path: Path) -> None:
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda number: sit_out(tmp_path, f"task-{number}", Pause(NOW_S)), range(24)))
    assert len(pauses(tmp_path)) == 24


def test_what_cannot_be_read_pauses_everything_until_it_is_mended(tmp_path: Path) -> None:
    (tmp_path / FILE).write_text('{"credit": {"since_s"', encoding="utf-8")
    with pytest.raises(PauseInvalid, match="resume"):
        pauses(tmp_path)
    assert told(PauseInvalid(f"{tmp_path}: is damaged")).code == "Unready"
    take_part(tmp_path, ALL)
    assert pauses(tmp_path) == {}


@pytest.mark.parametrize(
    "pause", [Pause(NOW_S, NOW_S), Pause(NOW_S, reason="a\nb"), Pause(NOW_S, reason="x" * 201)], ids=repr
)
def test_pauses_that_cannot_be_meant(tmp_path: Path, pause: Pause) -> None:
    with pytest.raises(PauseInvalid):
        sit_out(tmp_path, ALL, pause)
    assert not (tmp_path / FILE).exists()


def test_the_refusal_leaves_with_its_kind() -> None:
    refusal = told(SittingOut("firm-0 sits out of credit until it resumes"))
    assert (refusal.code, refusal.detail) == ("SittingOut", "firm-0 sits out of credit until it resumes")


@pytest.mark.parametrize("tell", [True, False])
def test_the_coordinator_sees_who_sits_out_and_still_has_its_cosignature(tmp_path: Path, tell: bool) -> None:
    built = federation(tmp_path / "f", 4)
    home = built.member("firm-2")
    options = ["--home", str(home), "--reason", "stock-taking", *(["--tell"] if tell else [])]
    done = CliRunner().invoke(app, ["firm", "pause", TASK, *options, "--json"])
    assert json.loads(done.stdout)["told"] is tell
    with opened(built) as coordinator:

        def meet(grid: object) -> Cohort:
            cohort = Cohort(grid, "simulation", TASK, 60)  # type: ignore[arg-type]
            cohort.meet(coordinator.next_epoch(), MessagedRecord(coordinator.log).enrolled_key)
            return cohort

        cohort = on_grid(built, meet)
        assert cohort.members == ["firm-1", "firm-3", "firm-4"]
        assert cohort.witnesses == ["firm-1", "firm-2", "firm-3", "firm-4"]
        why = "SittingOut: firm-2 sits out of credit until it resumes" + (": stock-taking" if tell else "")
        assert cohort.refusals == [(0, "firm-2", why)]
        assert not list((home / "masking").glob("epoch-*"))
        assert CliRunner().invoke(app, ["firm", "resume", TASK, "--home", str(home)]).exit_code == 0
        assert on_grid(built, meet).members == ["firm-1", "firm-2", "firm-3", "firm-4"]


def test_who_cannot_train_says_who_it_is_and_still_witnesses(tmp_path: Path) -> None:
    """Its operator is the one to call, so a node's number does not do."""
    built = federation(tmp_path / "f", 4)
    (table,) = built.member("firm-2").rglob("*.csv")
    header, rows = table.read_text("utf-8").split("\n", 1)
    table.write_text(f"{header.replace('income', 'salary')}\n{rows}", "utf-8")
    with opened(built) as coordinator:

        def meet(grid: object) -> Cohort:
            cohort = Cohort(grid, "simulation", TASK, 60)  # type: ignore[arg-type]
            cohort.meet(coordinator.next_epoch(), MessagedRecord(coordinator.log).enrolled_key)
            return cohort

        cohort = on_grid(built, meet)
    assert cohort.members == ["firm-1", "firm-3", "firm-4"]
    assert cohort.witnesses == ["firm-1", "firm-2", "firm-3", "firm-4"]
    assert [(at, who, why.partition(":")[0]) for at, who, why in cohort.refusals] == [(0, "firm-2", "SchemaMismatch")]


def test_who_pauses_within_a_run_pays_nothing_from_there(tmp_path: Path) -> None:
    built = federation(tmp_path / "f", 5, training(2))

    def before(kind: str, member: str, message: Message) -> None:
        if (kind, member) == (TRAIN, "firm-2"):
            sit_out(built.member("firm-2"), TASK, Pause(0.0))

    with opened(built) as coordinator:
        train(built, coordinator, app=Meddler(before=before))
        report = json.loads((built.coordinator / "runs" / f"{TASK}.json").read_text("utf-8"))
        why = "SittingOut: firm-2 sits out of credit until it resumes"
        assert report["refusals"] == [[1, "firm-2", why], [2, "firm-2", why]]
        assert spent(built, "firm-2") == NOTHING
        assert spent(built, "firm-1") != NOTHING


def test_a_task_that_the_firm_does_not_have_is_named(tmp_path: Path) -> None:
    built = federation(tmp_path / "f", 3)
    done = CliRunner().invoke(app, ["firm", "pause", "demand", "--home", str(built.member("firm-1"))])
    assert "no task of firm-1's" in done.output
