"""The sandbox's set, its commands, and what it says when a step fails."""

import os
import shlex
import threading
import time
from pathlib import Path

import click
import pytest

from artesian import app
from clients.supervision.program import in_order
from experiments.sandbox import Commands, Sandbox, SandboxFailed, what_next


def sandbox(home: Path) -> Sandbox:
    return Sandbox(home, ("firm-1", "firm-2", "firm-3"))


def commands(said: list[str]) -> Commands:
    return Commands(said.append, os.environ)


def test_a_firm_comes_up_when_it_has_asked_to_join(tmp_path: Path) -> None:
    programs = in_order(sandbox(tmp_path).programs())
    assert [one.name for one in programs] == ["coordinator", "firm-1", "firm-2", "firm-3"]
    assert [one.after for one in programs[:2]] == [(), (tmp_path / "firm-1" / "firm.toml",)]


def test_what_it_tells_to_try_is_there(tmp_path: Path) -> None:
    for line in what_next(sandbox(tmp_path), "localhost:1"):
        _, name, inner, *words = shlex.split(line)
        group = app.resolve_command(click.Context(app), [name])[1]
        command = getattr(group, "commands", {})[inner]
        known = {option for parameter in command.params for option in parameter.opts}
        assert {word for word in words if word.startswith("--")} <= known


def test_a_step_that_fails_says_why() -> None:
    said: list[str] = []
    with pytest.raises(SandboxFailed, match=r"ended with 2: nowhere"):
        commands(said)("firm", "up", "--home", "nowhere")
    assert said == ["$ artesian firm up --home nowhere"]
    with pytest.raises(SandboxFailed, match="ended with 0"):
        commands([]).quietly("-c", "print('no JSON')")


def test_stopped_it_ends_what_runs_and_runs_nothing_more() -> None:
    run = commands([])
    threading.Timer(0.2, run.stop).start()
    began = time.monotonic()
    with pytest.raises(SandboxFailed, match="ended with -15"):
        run.quietly("-c", "import time; time.sleep(100)")
    assert time.monotonic() - began < 50
    with pytest.raises(SandboxFailed, match="stopped before"):
        run.quietly("-c", "print('{}')")


def test_a_folder_with_something_else_in_it_is_left_alone(tmp_path: Path) -> None:
    from experiments.errors import ExperimentError
    from experiments.sandbox_up import bring_up

    (tmp_path / "mine").touch()
    with pytest.raises(ExperimentError, match="is not empty"):
        bring_up(tmp_path, 3, 1, once=True, verbose=False, as_json=False)
    with pytest.raises(ExperimentError, match="is a file; give a folder"):
        bring_up(tmp_path / "mine", 3, 1, once=True, verbose=False, as_json=False)
