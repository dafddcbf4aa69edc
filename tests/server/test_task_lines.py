"""Lines for a task land below that task, wherever it stands, and nothing else of `coordinator.toml` changes."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest
from federation_world import SPEC, spec

from server.coordinator import CoordinatorConfigInvalid, load_coordinator_config
from server.task_lines import CannotPlace, add_below

LINES = "[task.training]\nrounds = 7\n\n[task.privacy]\nepsilon = 2.0\n"
OTHER = '[[task]]\nname = "other"\nspec = "other.toml"\n'
MINE = '[[task]]  # mine\nname = "credit"\nspec = "credit.toml"\n'
HINT = "# [task.training]\n# rounds = 10\n"
RUNNER = "# patience\n[runner]\nwait_for_firms_s = 60\n"


@pytest.fixture
def home(tmp_path: Path) -> Path:
    (tmp_path / "credit.toml").write_text(SPEC, encoding="utf-8")
    (tmp_path / "other.toml").write_text(SPEC.replace('name = "credit"', 'name = "other"'), encoding="utf-8")
    return tmp_path


@pytest.mark.parametrize(
    ("first", "last"),
    [
        (MINE, ""),
        (MINE.rstrip("\n"), ""),
        (OTHER + MINE, "\n" + HINT),
        (MINE, HINT + "\n" + OTHER + "[task.training]\nrounds = 3\n" + RUNNER),
        (OTHER + "[task.privacy]\nepsilon = 1.0\n\n" + MINE + "[task.aggregation]\ndeadline_s = 9\n", "\n" + RUNNER),
        (RUNNER + MINE + '[task.schedule]\ncron = "0 2 * * 1"\n', "\n# more\n" + OTHER),
    ],
)
def test_they_land_below_their_task(home: Path, first: str, last: str) -> None:
    path = home / "coordinator.toml"
    path.write_text('cid = "bread"\n\n' + first + last, encoding="utf-8")
    path.chmod(0o640)
    assert add_below(home, spec(), LINES) == "credit"
    tasks = {task.name: task for task in load_coordinator_config(path).task}
    assert (tasks["credit"].training.rounds, tasks["credit"].privacy.epsilon) == (7, 2.0)
    assert all(task.training.rounds != 7 for name, task in tasks.items() if name != "credit")
    assert path.read_text().replace("\n" + LINES, "") == 'cid = "bread"\n\n' + first.rstrip("\n") + "\n" + last
    assert path.stat().st_mode & 0o777 == 0o640


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (OTHER, r"no task is of this spec \(tasks: other\)"),
        ("", r"\(tasks: none\)"),
        (MINE + MINE.replace('"credit"', '"again"'), r"several tasks .* \(tasks: credit, again\)"),
        (MINE + "[task.training]\nrounds = 3\n", r"credit has \[task.training\] already"),
        (
            'task = [{name = "credit", spec = "credit.toml"}]\n',
            r"not written as \[\[task\]\]; add the lines below credit",
        ),
        ('[network]\nhost = """\n[[task]]\n"""\n' + MINE, "add the lines below credit by hand"),
    ],
)
def test_what_has_no_place_is_refused_and_nothing_written(home: Path, text: str, says: str) -> None:
    path = home / "coordinator.toml"
    path.write_text('cid = "bread"\n' + text, encoding="utf-8")
    with pytest.raises(CannotPlace, match=says) as refused:
        add_below(home, spec(), LINES)
    assert (refused.value.exit_code, path.read_text()) == (1, 'cid = "bread"\n' + text)


def test_lines_that_the_file_cannot_have_are_not_written(home: Path) -> None:
    path = home / "coordinator.toml"
    path.write_text('cid = "bread"\n' + MINE, encoding="utf-8")
    with pytest.raises(CoordinatorConfigInvalid, match="rounds"):
        add_below(home, spec(), "[task.training]\nrounds = -1\n")
    assert tomllib.loads(path.read_text())["task"] == [{"name": "credit", "spec": "credit.toml"}]
