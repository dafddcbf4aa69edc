"""A set in the background: who started it leaves when it is ready, and is told when it never will be."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from clients.supervision.detached import OUTPUT, detach
from clients.supervision.errors import EndedEarly, NeedsMending, NeverReady
from clients.supervision.marked import started_at
from clients.supervision.status import LOGS, READY, RUN, Exit, ProgramStatus, SetStatus, write_status


class Started:
    """Stands for the process that was started: this very one, as far as the status says."""

    pid = os.getpid()

    def __init__(self, code: int | None = None) -> None:
        self._code = code

    def poll(self) -> int | None:
        return self._code


def _start(monkeypatch: pytest.MonkeyPatch, process: Started, line: bytes = b"") -> list[Sequence[str]]:
    commands: list[Sequence[str]] = []

    def popen(command: Sequence[str], *, stdout: Any, **_: Any) -> Started:
        commands.append(command)
        stdout.write(line)
        stdout.flush()
        return process

    monkeypatch.setattr(subprocess, "Popen", popen)
    return commands


def test_it_leaves_when_all_is_ready(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    commands = _start(monkeypatch, Started())
    waited: list[float] = []

    def sleep(seconds: float) -> None:
        waited.append(seconds)
        (tmp_path / RUN).mkdir(exist_ok=True)
        write_status(tmp_path, SetStatus("ready", os.getpid(), started_at(os.getpid()) or 0, "t", 0.0, ()))
        if len(waited) == 2:
            (tmp_path / RUN / READY).touch()

    status = detach(tmp_path, ("firm", "up"), 60, clock=lambda: 0.0, sleep=sleep)
    assert (status.state, len(waited)) == ("ready", 2)
    assert commands == [[sys.executable, "-m", "artesian", "firm", "up"]]


def test_an_earlier_sets_status_is_not_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / RUN).mkdir()
    (tmp_path / RUN / READY).touch()
    write_status(tmp_path, SetStatus("ready", os.getppid(), started_at(os.getppid()) or 0, "t", 0.0, ()))
    _start(monkeypatch, Started())
    times = iter(range(100))
    with pytest.raises(NeverReady, match="not ready after 3 s"):
        detach(tmp_path, ("firm", "up"), 3, clock=lambda: next(times), sleep=lambda _: None)


@pytest.mark.parametrize("essential", [True, False])
def test_what_only_a_person_mends_is_said_at_once(
    essential: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _start(monkeypatch, Started())
    (tmp_path / RUN).mkdir()
    end = Exit(2, 0.0, "something else listens at 127.0.0.1:8442")
    one = ProgramStatus("enrolment", "needs-mending", why="ended with 2", last_exit=end, essential=essential)
    write_status(tmp_path, SetStatus("starting", os.getpid(), started_at(os.getpid()) or 0, "t", 0.0, (one,)))
    times = iter(range(100))
    with pytest.raises(NeedsMending if essential else NeverReady) as error:
        detach(tmp_path, ("firm", "up"), 3, clock=lambda: next(times), sleep=lambda _: None)
    if essential:
        assert "enrolment: something else listens at 127.0.0.1:8442; mend that" in str(error.value)
        assert error.value.exit_code == 2


@pytest.mark.parametrize(("code", "exits"), [(2, 2), (3, 3), (0, 1), (-9, 1)])
def test_one_that_ends_says_why(code: int, exits: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _start(monkeypatch, Started(code), b"from version 0 to 1\nfirm.toml: member: field required\n")
    with pytest.raises(EndedEarly, match=r"^firm\.toml: member: field required$") as error:
        detach(tmp_path, ("firm", "up"), 60, clock=lambda: 0.0, sleep=lambda _: None)
    assert error.value.exit_code == exits
    assert (tmp_path / LOGS / OUTPUT).exists()
