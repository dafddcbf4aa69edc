"""What a member's operator reads of why a round waits, and what it reads where nobody answers."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from federation_world import federation

from artesian import app
from clients.connection import CONNECTION
from clients.coordinator_view import asked, lines_of
from clients.enrolment.state import CoordinatorState, TaskState
from clients.versions import Span

NOW_S = 1_790_000_000.0  # 2026-09-21 14:13 UTC
AT = CoordinatorState("0.2.0", Span(1, 1), NOW_S, NOW_S - 1, ())
ROUND = TaskState("credit", "runs", NOW_S - 600, "ab", 3, 10, "collecting contributions")
WAIT = replace(
    ROUND, kind="train.update", members=("firm-2", "firm-3"), waits_since_s=NOW_S - 60, until_s=NOW_S + 240.0
)


@pytest.mark.parametrize(
    ("task", "line"),
    [
        (ROUND, "credit, round 3 of 10: collecting contributions since 2026-09-21 14:03 UTC"),
        (
            WAIT,
            "credit, round 3 of 10: waits for this firm, firm-3: its update, "
            "since 2026-09-21 14:12 UTC, until 2026-09-21 14:17 UTC at most",
        ),
        (
            replace(WAIT, until_s=NOW_S - 121.0, kind="finality", members=("firm-3",)),
            "credit, round 3 of 10: waits for firm-3: the cosignature of its witness, since 2026-09-21 14:12 UTC, "
            "until 2026-09-21 14:11 UTC at most; that is over, so see whether the coordinator runs",
        ),
        (
            replace(WAIT, kind="query.hello", members=("firm-3",), more=2, waits_since_s=None),
            "credit, round 3 of 10: waits for firm-3, 2 firms not known by name yet: its greeting, "
            "until 2026-09-21 14:17 UTC at most",
        ),
        (
            TaskState("credit", "waits-for-firms", 1.0, kind="firms", members=("firm-3",), more=1, until_s=NOW_S),
            "credit: waits for 1 more firm (firm-3: its SuperNode), until 2026-09-21 14:13 UTC at most",
        ),
        (TaskState("credit", "waits-for-turn", NOW_S), "credit: waits for its turn since 2026-09-21 14:13 UTC"),
        (
            TaskState("credit", "tries-again", until_s=NOW_S),
            "credit: failed, and is tried again at 2026-09-21 14:13 UTC",
        ),
        (
            TaskState("credit", "paused", NOW_S),
            "credit: paused by the coordinator's operator since 2026-09-21 14:13 UTC",
        ),
        (
            TaskState("credit", "idle", until_s=NOW_S),
            "credit: nothing is ordered; the schedule's next time is 2026-09-21 14:13 UTC",
        ),
        (TaskState("credit", "idle"), "credit: nothing is ordered"),
        (TaskState("credit", "unknown"), "credit: in a phase that this release does not know"),
        (replace(WAIT, kind="train.reveal", members=(), waits_since_s=None, until_s=None), None),
    ],
)
def test_a_task_is_a_line(task: TaskState, line: str | None) -> None:
    (said,) = lines_of(replace(AT, tasks=(task,)), "firm-2")
    assert said == (line or "credit, round 3 of 10: waits for nobody in particular: train.reveal")


def test_a_coordinator_that_does_not_work_is_said() -> None:
    said = list(lines_of(replace(AT, tasks=None, runner_seen_s=NOW_S - 31), "firm-1"))
    assert said == [
        "The coordinator's runner is away since 2026-09-21 14:12 UTC: it begins no run meanwhile",
        "The coordinator cannot read its own tables; its operator has to see to it",
    ]
    assert list(lines_of(AT, "firm-1")) == []


def test_status_goes_on_where_nobody_answers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    home = federation(tmp_path / "f", 3).member("firm-1")

    def status(*more: str) -> Any:
        done = CliRunner().invoke(app, ["firm", "status", "--home", str(home), *more])
        assert done.exit_code == 0, done.output
        return json.loads(done.stdout) if "--json" in more else done.stdout

    assert status("--json")["coordinator"] is None  # it joined nobody
    fields = f'member = "firm-1"\nkind = "firm"\ncid = "simulation"\nauthority_sha256 = "{"a" * 64}"\n'
    places = "".join(f'{name} = "localhost:1"\n' for name in ("enrolment", "ledger", "fleet"))
    (home / CONNECTION).write_text(f"{fields}{places}", encoding="utf-8")
    assert "ca.crt" in status("--json")["coordinator"]["not_known"]
    assert "What the coordinator waits for is not known: " in status()
    assert status("--json", "--offline")["coordinator"] is None
    monkeypatch.setattr("clients.coordinator_view.ask", lambda *_: replace(AT, tasks=(WAIT,)))
    known = asked(home, lambda: NOW_S)
    assert known is not None
    assert (known["release"], known["messages"], known["tasks"][0]["members"]) == ("0.2.0", [1, 1], WAIT.members)
    assert "The coordinator (artesian 0.2.0) says:\n  credit, round 3 of 10: waits for firm-2, firm-3" in status()
