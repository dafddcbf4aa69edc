"""The documents name commands, options, tests and files that exist."""

import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

from artesian import app

ROOT = Path(__file__).parent.parent
DOCUMENTS = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
NAMES = [path.relative_to(ROOT).as_posix() for path in DOCUMENTS]

_SPAN = re.compile("`([^`\n]+)`")
_TEST = re.compile(r"`((?:[\w./-]+/)?test_\w+\.py)(?:::(test_\w+))?`")
_LINK = re.compile(r"\]\(([^)#:\s]+)(?:#[^)]*)?\)")


def commands(text: str) -> Iterator[str]:
    """Every command line of ours that a document shows, in a span or in a block; `…` and comments end it."""
    lines = text.replace("\\\n", "").splitlines()
    shown = [*_SPAN.findall(text), *(line.strip().removeprefix("$ ") for line in lines)]
    ledger = app.resolve_command(click.Context(app), ["ledger"])[1]
    groups = tuple(f"{name} " for name in getattr(ledger, "commands", {}))
    for line in shown:
        line = re.split("…| — |  +#", line)[0].strip()
        if line.startswith("artesian "):
            yield line
        elif line.startswith(groups) and " --" in line:  # in a table of `artesian ledger` commands
            yield f"artesian ledger {line}"


def fault(line: str) -> str | None:
    """What does not exist in a command line, or None."""
    words = shlex.split(line)[1:]
    command: click.Command = app
    context = click.Context(app)
    while words and isinstance(command, click.Group) and not words[0].startswith("-"):
        name = words.pop(0)
        inner = app.resolve_command(context, [name])[1] if command is app else command.commands.get(name)
        if inner is None:
            return f"{line!r}: there is no command {name!r}" if name.islower() else None
        command = inner
    known = {"--help", *(option for parameter in command.params for option in parameter.opts)}
    unknown = [word for word in words if word.startswith("--") and word.split("=")[0] not in known]
    return f"{line!r}: there is no option {unknown[0]}" if unknown else None


@pytest.mark.parametrize("name", NAMES)
def test_commands_are_there(name: str) -> None:
    faults = [found for line in commands((ROOT / name).read_text("utf-8")) if (found := fault(line))]
    assert not faults, "\n".join(faults)


def test_what_is_not_there_is_found() -> None:
    text = (
        "`artesian ledger shwo`, `artesian ledger show --hom x`, `members propose enrol --form x` `artesian ledger …`"
    )
    assert sum(fault(line) is not None for line in commands(text)) == 3
    assert fault("artesian ledger show --home x --last 3") is None


@pytest.mark.parametrize("name", NAMES)
def test_tests_are_there(name: str) -> None:
    tests = {path: path.read_text("utf-8") for path in (ROOT / "tests").rglob("test_*.py")}
    for file, test in _TEST.findall((ROOT / name).read_text("utf-8")):
        found = [text for path, text in tests.items() if path.as_posix().endswith(f"/{file}")]
        assert found, f"{name} names {file}"
        assert not test or any(f"def {test}(" in text for text in found), f"{name} names {file}::{test}"


@pytest.mark.parametrize("name", NAMES)
def test_linked_files_are_there(name: str) -> None:
    missing = [
        link
        for link in _LINK.findall((ROOT / name).read_text("utf-8"))
        if not (ROOT / name).parent.joinpath(link).exists()
    ]
    assert not missing
