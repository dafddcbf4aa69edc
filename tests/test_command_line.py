"""The command line as a whole: quick to answer, one line for every expected error, the right exit code."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from types import ModuleType
from typing import Any

import click
import pytest
import typer
from click.testing import CliRunner, Result
from rich.text import Text

import artesian
from artesian import PLACES, CommandLine, Place, app
from clients.errors import ClientError
from clients.help_panels import arrange
from experiments.errors import ExperimentError
from ledger.errors import LedgerError
from server.errors import ServerError

HEAVY = ("numpy", "pandas", "torch", "flwr", "grpc", "cryptography", "sqlalchemy", "pydantic", "ray")
OURS = [name for name in PLACES if name != "ledger"]  # its commands are tested where it is


def run(*arguments: object) -> Result:
    return CliRunner().invoke(app, [str(a) for a in arguments])


def test_help_imports_nothing_heavy() -> None:
    code = f"import sys, artesian; artesian.run(['--help']); sys.exit(' '.join(set({HEAVY}) & set(sys.modules)) or 0)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


def test_the_environment_is_quiet_before_anything_is_imported() -> None:
    names = ("FLWR_TELEMETRY_ENABLED", "FLWR_DISABLE_UPDATE_CHECK", "GRPC_VERBOSITY")
    code = f"import artesian, os; print([os.environ[name] for name in {names}])"
    environment = {key: value for key, value in os.environ.items() if key not in names}
    environment["GRPC_VERBOSITY"] = "DEBUG"  # what a person set stays
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=environment)
    assert done.stdout == "['0', '1', 'DEBUG']\n"


def commands(name: str, command: click.Command) -> list[tuple[str, ...]]:
    inner = getattr(command, "commands", {})
    return [(name,), *((name, one) for one in inner)]


@pytest.mark.parametrize("name", OURS)
def test_every_command_has_help_with_an_example(name: str) -> None:
    _, command, _ = app.resolve_command(click.Context(app), [name])
    assert command is not None
    for path in commands(name, command):
        shown = run(*path, "--help")
        assert shown.exit_code == 0
        assert f"Example: artesian {' '.join(path)}" in " ".join(shown.stdout.split())


def test_commands_stand_under_headings_in_their_order() -> None:
    group = typer.Typer()
    for command in ("down", "other", "up"):
        group.command(command)(lambda: None)
    arrange(group, {"Run": ("up", "down")})
    assert [(one.name, one.rich_help_panel) for one in group.registered_commands[:2]] == [
        ("up", "Run"),
        ("down", "Run"),
    ]
    assert group.registered_commands[2].name == "other"
    with pytest.raises(ValueError, match="stop"):
        arrange(group, {"Run": ("up", "stop")})
    shown = run("firm", "--help").stdout
    assert shown.index("Join and run") < shown.index(" join ") < shown.index("Privacy") < shown.index(" wallet ")


@pytest.mark.parametrize("name", PLACES)
def test_every_group_is_there_and_no_command_lacks_its_line(name: str) -> None:
    shown = run(name, "--help")
    assert shown.exit_code == 0
    assert "Usage: artesian " + name in shown.stdout


def texts(command: click.Command) -> Iterator[str]:
    """All that the help of a command, and of those in it, is written as."""
    options = (getattr(one, "help", None) for one in command.params)
    yield from (one for one in (command.help, command.epilog, *options) if one)
    for inner in getattr(command, "commands", {}).values():
        yield from texts(inner)


@pytest.mark.parametrize("name", PLACES)
def test_no_help_loses_what_stands_in_brackets(name: str) -> None:
    """Rich takes words in brackets for markup unless they are escaped."""
    _, command, _ = app.resolve_command(click.Context(app), [name])
    assert command is not None
    for text in texts(command):
        assert Text.from_markup(text).plain == text.replace("\\[", "[")


def test_version() -> None:
    assert run("--version").stdout.startswith("artesian 0.")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["bnak"], "artesian: No such command 'bnak'"),
        (["--nonsense"], "artesian: No such option"),
        (["bank", "score"], "artesian bank score: Missing option '--home'"),
        (["firm", "check", "--spec", "a", "--data", "b", "c"], "artesian firm check: Got unexpected extra argument"),
        (["simulate", "x.toml", "--seed", "-1"], "artesian simulate: Invalid value for '--seed'"),
        (["simulate", "x.toml", "--engine", "abacus"], "artesian simulate: Invalid value for '--engine'"),
        (["simulate", "nowhere.toml"], "nowhere.toml: cannot be read: No such file or directory"),
        (["firm", "status", "--home", "nowhere"], "nowhere/firm.toml: cannot be read: No such file or directory"),
    ],
)
def test_wrong_usage_is_one_line_and_exit_2(arguments: list[str], words: str) -> None:
    wrong = run(*arguments)
    assert (wrong.exit_code, wrong.stdout, wrong.stderr.count("\n")) == (2, "", 1)
    assert wrong.stderr.startswith(words)


def test_a_group_without_a_command_shows_its_help() -> None:
    shown = run("bank")
    assert (shown.exit_code, "Usage: artesian bank" in shown.stdout) == (2, True)


class No(LedgerError):
    exit_code = 1


class Unreachable(ServerError):
    exit_code = 3


@pytest.fixture
def failing(monkeypatch: pytest.MonkeyPatch) -> Any:
    """A command line whose one command, `fail`, raises what it is told to."""
    module, told = ModuleType("failing_commands"), dict[str, BaseException]()
    group = typer.Typer()

    @group.command()
    def fail(as_json: bool = typer.Option(False, "--json")) -> None:
        raise told["error"]

    @group.command()
    def rest() -> None: ...

    module.app = group  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, module.__name__, module)
    broken = CommandLine({"fail": Place(module.__name__, "Fail.", "fail")}, name="artesian")
    monkeypatch.setattr(artesian, "app", broken)

    def fail_with(error: BaseException, *arguments: str) -> Result:
        told["error"] = error
        return CliRunner().invoke(broken, ["fail", *arguments])

    return fail_with


@pytest.mark.parametrize(
    ("error", "code", "line"),
    [
        (No("the receipt does not hold"), 1, "the receipt does not hold"),
        (ClientError("table: no rows"), 2, "table: no rows"),
        (Unreachable("nobody at x:1"), 3, "nobody at x:1"),
        (ExperimentError("two\nlines \x1b[31mred"), 2, "two lines \\u001b[31mred"),
        (FileNotFoundError(2, "No such file or directory", "a/b.toml"), 2, "a/b.toml: No such file or directory"),
        (PermissionError(13, "Permission denied", b"a/b"), 2, "a/b: Permission denied"),
        (OSError(28, "No space left on device"), 2, "No space left on device"),
        (ConnectionRefusedError(111, "Connection refused"), 3, "cannot be reached: [Errno 111] Connection refused"),
        (UnicodeDecodeError("utf-8", b"\xff", 0, 1, "invalid start byte"), 2, None),
        (KeyboardInterrupt(), 130, "interrupted"),
    ],
)
def test_an_expected_error_is_one_line_and_its_exit_code(
    failing: Any, error: BaseException, code: int, line: str | None
) -> None:
    failed = failing(error)
    assert (failed.exit_code, failed.stdout, failed.stderr.count("\n")) == (code, "", 1)
    assert "Traceback" not in failed.stderr
    if line is not None:
        assert failed.stderr == line + "\n"


def test_with_json_a_no_is_a_json_document_and_nothing_else(failing: Any) -> None:
    failed = failing(No("the receipt does not hold"), "--json")
    assert (failed.exit_code, failed.stderr) == (1, "")
    assert json.loads(failed.stdout) == {"ok": False, "problem": "the receipt does not hold"}


def test_a_fault_of_ours_is_not_hidden(failing: Any) -> None:
    assert isinstance(failing(ZeroDivisionError()).exception, ZeroDivisionError)


def test_a_reader_that_has_enough_is_no_error() -> None:
    command = [sys.executable, "-m", "artesian", "task", "show", "experiments/configs/tasks/loans.toml"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stderr is not None
    process.stdout.close()
    assert (process.wait(60), process.stderr.read()) == (141, "")
    process.stderr.close()
