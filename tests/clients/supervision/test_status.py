"""What `run/status.json` says, and that a supervisor that is no more is known by more than its number."""

import os
from pathlib import Path

from clients.supervision.marked import started_at
from clients.supervision.status import RUN, STATUS, Exit, ProgramStatus, SetStatus, read_status, write_status


def status(pid: int, started: int, state: str = "ready") -> SetStatus:
    one = ProgramStatus("ledger", "restarting", 5, 6, 7.0, 8, "why", Exit(-9, 10.0, "last"))
    return SetStatus(state, pid, started, "token", 1.0, (one, ProgramStatus("runner", "waiting")))  # type: ignore[arg-type]


def test_it_is_read_as_it_was_written(tmp_path: Path) -> None:
    (tmp_path / RUN).mkdir()
    ours = status(os.getpid(), started_at(os.getpid()) or 0)
    write_status(tmp_path, ours)
    assert read_status(tmp_path) == ours
    assert ours.alive
    assert [path.name for path in (tmp_path / RUN).iterdir()] == [STATUS]


def test_another_process_with_the_same_number_is_not_the_supervisor(tmp_path: Path) -> None:
    (tmp_path / RUN).mkdir()
    write_status(tmp_path, status(os.getpid(), 1))
    found = read_status(tmp_path)
    assert found is not None
    assert (found.state, found.alive) == ("killed", False)


def test_one_that_stopped_stays_stopped(tmp_path: Path) -> None:
    (tmp_path / RUN).mkdir()
    write_status(tmp_path, status(1, 1, "stopped"))
    found = read_status(tmp_path)
    assert found is not None
    assert (found.state, found.alive) == ("stopped", False)


def test_nothing_is_read_from_what_is_no_status(tmp_path: Path) -> None:
    assert read_status(tmp_path) is None
    (tmp_path / RUN).mkdir()
    for text in ("", "[]", "{}", '{"programs": [], "more": 1}', '{"programs": 3}'):
        (tmp_path / RUN / STATUS).write_text(text)
        assert read_status(tmp_path) is None
