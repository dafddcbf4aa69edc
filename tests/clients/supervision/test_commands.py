"""`down` and `processes` where nothing is up, or nothing is any more; what is said of what is."""

import json
import os
from pathlib import Path

import pytest
from click.testing import CliRunner

from artesian import app
from clients.supervision.commands import ready_line, table
from clients.supervision.marked import started_at
from clients.supervision.status import RUN, ProgramStatus, SetStatus, write_status


def run(*arguments: object) -> tuple[int, str]:
    result = CliRunner().invoke(app, [str(one) for one in arguments])
    return result.exit_code, result.stdout


def up(home: Path, state: str, pid: int) -> None:
    (home / RUN).mkdir()
    programs = (ProgramStatus("ledger", "ready", 7), ProgramStatus("runner", "restarting", restarts=2, why="a pause"))
    write_status(home, SetStatus(state, pid, started_at(pid) or 0, "secret", 0.0, programs))  # type: ignore[arg-type]


@pytest.mark.parametrize("group", ["coordinator", "firm"])
def test_where_nothing_was_ever_up(group: str, tmp_path: Path) -> None:
    assert run(group, "down", "--home", tmp_path) == (0, f"{tmp_path}: Nothing was up.\n")
    assert run(group, "processes", "--home", tmp_path) == (1, f"{tmp_path}: was never up.\n")
    code, shown = run(group, "processes", "--home", tmp_path, "--json")
    assert (code, json.loads(shown)["state"]) == (1, "never up")


def test_what_is_up_is_shown(tmp_path: Path) -> None:
    up(tmp_path, "ready", os.getpid())
    code, shown = run("firm", "processes", "--home", tmp_path, "--json")
    facts = json.loads(shown)
    assert (code, facts["ok"], facts["state"]) == (0, True, "ready")
    assert [one["name"] for one in facts["programs"]] == ["ledger", "runner"]
    assert "secret" not in shown
    assert run("firm", "processes", "--home", tmp_path)[1].splitlines()[0].endswith(f"process {os.getpid()}.")


def test_what_was_killed_is_not_ready_and_need_not_be_stopped(tmp_path: Path) -> None:
    up(tmp_path, "ready", 1)
    (tmp_path / RUN / "status.json").write_text(
        (tmp_path / RUN / "status.json").read_text().replace('"started": ', '"started": 9')
    )
    assert run("firm", "processes", "--home", tmp_path)[0] == 1
    assert run("firm", "down", "--home", tmp_path, "--json") == (0, '{"ok": true, "was_up": false}\n')


def test_where_nothing_is_ready_yet_nothing_is_called_so() -> None:
    waits = ProgramStatus("witness", "waiting", why="for tls.crt")

    def line(*programs: ProgramStatus) -> str:
        return ready_line(SetStatus("ready", 1, 1, "token", 0.0, programs))

    assert line(waits) == "up; waiting: witness (for tls.crt)"
    assert line(ProgramStatus("renewal", "ready"), waits) == "ready: renewal; not yet: witness (for tls.crt)"
    assert line(ProgramStatus("renewal", "ready")) == "ready: renewal"


def test_the_table_lines_up() -> None:
    assert table((ProgramStatus("a", "ready", 7), ProgramStatus("bcd", "waiting", restarts=1, why="for x"))) == [
        "  a    ready                7",
        "  bcd  waiting              -  1 restart     for x",
    ]
