"""Homes come forward: whatever stops a migration, doing it again ends where it would have ended."""

from __future__ import annotations

import fcntl
import json
import os
import re
import shutil
from pathlib import Path

import pytest
from federation_world import federation, training

from clients.bank_migrations import BANK_MIGRATIONS
from clients.firm import Firm
from clients.firm_migrations import FIRM_MIGRATIONS
from clients.migrate_commands import bring_forward
from clients.migration import (
    VERSION_FILE,
    Act,
    HomeOfLaterRelease,
    HomeUnreadable,
    Migration,
    migrate,
    pending,
    state_version,
    write_version,
)
from clients.supervision.errors import AlreadyUp
from clients.supervision.status import RUN, SetStatus, write_status
from clients.versions import SOFTWARE, STATE_VERSION
from ledger.homes import SETTINGS, Settings
from ledger.whole_file import write_whole
from server.coordinator import Coordinator
from server.migration import COORDINATOR_MIGRATIONS


class Stopped(Exception):
    """The process was killed here."""


def files(home: Path) -> dict[str, bytes | None]:
    """Every file by its place in the home; None for a folder."""
    return {
        str(path.relative_to(home)): path.read_bytes() if path.is_file() else None for path in sorted(home.rglob("*"))
    }


def append(line: str) -> Act:
    """An act that is no use done twice, made so that it may be."""

    def do(home: Path) -> None:
        path = home / "notes.txt"
        text = path.read_text()
        if line not in text:
            write_whole(path, (text + line).encode())

    return Act(f"add {line.strip()}", do)


CHAIN = (
    Migration(0, 1, (append("one\n"), append("two\n")), ("notes.txt",)),
    Migration(1, 2, (append("three\n"),), ("notes.txt", "not-there.txt")),
)


@pytest.fixture
def old(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr("clients.migration.STATE_VERSION", 2)
    home = tmp_path / "home"
    home.mkdir()
    (home / "notes.txt").write_text("zero\n")
    return home


def test_a_home_comes_forward_step_by_step_and_what_changes_is_kept(old: Path) -> None:
    assert [(one.start, one.end) for one in pending(old, CHAIN)] == [(0, 1), (1, 2)]
    assert migrate(old, CHAIN) == list(CHAIN)
    assert (old / "notes.txt").read_text() == "zero\none\ntwo\nthree\n"
    assert (old / "notes.txt.before-1").read_text() == "zero\n"
    assert (old / "notes.txt.before-2").read_text() == "zero\none\ntwo\n"
    assert json.loads((old / VERSION_FILE).read_text()) == {"state": 2, "software": SOFTWARE}
    before = files(old)
    assert migrate(old, CHAIN) == []
    assert files(old) == before


def test_stopped_between_any_two_steps_it_ends_in_the_same_place(old: Path, tmp_path: Path) -> None:
    points: list[str] = []
    whole = Path(shutil.copytree(old, tmp_path / "whole"))
    migrate(whole, CHAIN, points.append)
    assert len(points) == 8
    for stop in range(len(points)):
        home = Path(shutil.copytree(old, tmp_path / f"stopped-{stop}"))
        left = [stop]

        def crash(_: str, left: list[int] = left) -> None:
            left[0] -= 1
            if left[0] < 0:
                raise Stopped

        with pytest.raises(Stopped):
            migrate(home, CHAIN, crash)
        migrate(home, CHAIN)
        assert files(home) == files(whole), points[stop]


def test_one_that_was_stopped_is_not_of_the_new_version_yet(old: Path) -> None:
    def crash(point: str) -> None:
        if point == "add two":
            raise Stopped

    with pytest.raises(Stopped):
        migrate(old, CHAIN, crash)
    assert state_version(old) == 0
    assert (old / "notes.txt.before-1").read_text() == "zero\n"


def test_a_home_of_a_later_release_is_refused_and_names_it(tmp_path: Path) -> None:
    (tmp_path / VERSION_FILE).write_text(json.dumps({"state": STATE_VERSION + 1, "software": "9.3.0"}))
    before = files(tmp_path)
    with pytest.raises(HomeOfLaterRelease, match=re.escape("install artesian 9.3.0 or later")) as told:
        migrate(tmp_path, FIRM_MIGRATIONS)
    assert told.value.exit_code == 2
    assert files(tmp_path) == before


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"state": "1", "software": "x"}', '{"state": -1, "software": "x"}'])
def test_a_version_that_says_nothing_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / VERSION_FILE).write_text(text)
    with pytest.raises(HomeUnreadable, match=VERSION_FILE):
        state_version(tmp_path)


def test_two_do_not_migrate_one_home(old: Path) -> None:
    held = os.open(old, os.O_RDONLY)
    fcntl.flock(held, fcntl.LOCK_EX)
    with pytest.raises(HomeUnreadable, match="another process"):
        migrate(old, CHAIN)
    os.close(held)
    assert migrate(old, CHAIN)


def test_the_demos_homes_come_forward_and_train_as_before(tmp_path: Path) -> None:
    built = federation(tmp_path / "f", 3, training(1), seed=None)
    firm, coordinator = built.member("firm-1"), built.coordinator
    unchanged = files(firm)
    for home, chain in ((firm, FIRM_MIGRATIONS), (coordinator, COORDINATOR_MIGRATIONS)):
        assert state_version(home) == 0
        assert bring_forward(home, chain) == list(chain)
        assert state_version(home) == STATE_VERSION
        assert {path.name for path in home.iterdir()} >= {"run", "logs", SETTINGS, VERSION_FILE}
    assert unchanged.items() <= files(firm).items()
    assert Settings.load(firm) == Settings("firm-1", "simulation", "artesian/simulation")
    assert Settings.load(coordinator) == Settings("coordinator", "simulation", "artesian/simulation", "ledger.db")
    with Coordinator(coordinator) as opened:
        assert opened.log.size == 4


def test_what_the_home_says_already_stays(tmp_path: Path) -> None:
    built = federation(tmp_path / "f", 3, training(1), seed=None)
    home = built.member("firm-1")
    (home / SETTINGS).write_text('origin = "another/log"\naddress = "ledger:8445"\n')
    migrate(home, FIRM_MIGRATIONS)
    assert Settings.load(home) == Settings("firm-1", "simulation", "another/log", address="ledger:8445")
    assert (home / f"{SETTINGS}.before-1").read_text().startswith("origin")


def test_programs_refuse_homes_of_a_later_release(tmp_path: Path) -> None:
    built = federation(tmp_path / "f", 3, training(1))
    for home, program in ((built.member("firm-1"), Firm), (built.coordinator, Coordinator)):
        write_version(home, STATE_VERSION + 1)
        with pytest.raises(HomeOfLaterRelease):
            program(home)


def test_a_home_whose_processes_run_is_left_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    built = federation(tmp_path / "f", 3, training(1))
    home = built.member("firm-1")
    (home / RUN).mkdir()
    write_status(home, SetStatus("ready", os.getpid(), 0, "", 0.0, ()))
    monkeypatch.setattr(SetStatus, "alive", True)
    with pytest.raises(AlreadyUp, match="stop them with `down`"):
        bring_forward(home, FIRM_MIGRATIONS)
    assert state_version(home) == 0


@pytest.mark.parametrize("chain", [FIRM_MIGRATIONS, BANK_MIGRATIONS, COORDINATOR_MIGRATIONS])
def test_the_chains_lead_to_the_present_version_without_a_gap(chain: tuple[Migration, ...]) -> None:
    assert [(one.start, one.end) for one in chain] == [(n, n + 1) for n in range(STATE_VERSION)]
