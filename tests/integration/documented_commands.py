"""A tutorial as a test: its commands are run as they stand, and its output must come line by line.

In a block ```console a line that begins with `$ ` is a command, and those after it are what it says; `…` stands for
lines that are left out. Numbers and hexadecimal digits may differ from those on the page; nothing else may.
"""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from clients.supervision.up import stop_set

PROJECT = Path(__file__).resolve().parents[2]
_BLOCK = re.compile(r"^```console\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_VARIES = re.compile(r"[0-9a-f]*\d[0-9a-f]*|\b[0-9a-f]{4}\b")
_LEFT_OUT = "…"


@dataclass(frozen=True)
class Command:
    """A documented command.

    Attributes:
        line: as it is typed.
        said: the lines that the page shows after it.
    """

    line: str
    said: tuple[str, ...]


def commands_of(page: str) -> list[Command]:
    """The commands of a page of Markdown, in their order; one may go on after a backslash."""
    found: list[Command] = []
    for block in _BLOCK.findall(page):
        line, said = "", list[str]()
        for row in [*block.replace("\\\n", "").splitlines(), "$ "]:
            if not row.startswith("$ "):
                said.append(row)
                continue
            if line:
                found.append(Command(line, tuple(said)))
            line, said = " ".join(row[2:].split()), []
    return found


def missing_line(expected: Sequence[str], output: str) -> str | None:
    """The first documented line that did not come after those before it; None if all did."""
    rest = iter([_pattern_of(one) for one in output.splitlines()])
    for line in expected:
        if line.strip() != _LEFT_OUT and not any(one == _pattern_of(line) for one in rest):
            return line
    return None


def _pattern_of(line: str) -> str:
    return " ".join(_VARIES.sub("0", line).split())


class Shell:
    """A bash in a folder, as a person would have it open, with `artesian` on its path."""

    def __init__(self, folder: Path, bin_folder: Path) -> None:
        self._folder = folder
        script = bin_folder / "artesian"
        script.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m artesian "$@"\n', encoding="utf-8")
        script.chmod(0o755)
        self._environment = {
            **os.environ,
            "PATH": f"{bin_folder}{os.pathsep}{os.environ['PATH']}",
            "PYTHONPATH": str(PROJECT),
            "OMP_NUM_THREADS": "1",
            "COLUMNS": "120",
        }

    def run(self, command: Command, timeout_s: float) -> str:
        """Run a command; returns what it wrote.

        Raises:
            AssertionError: it failed, or took longer than `timeout_s`.
        """
        with (self._folder.parent / "output").open("w+") as output:  # no pipe: it stays open in the background
            process = subprocess.Popen(
                ["bash", "-c", command.line],
                cwd=self._folder,
                env=self._environment,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
            try:
                code = process.wait(timeout_s)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()
                code = None
            output.seek(0)
            said = output.read()
        assert code == 0, f"{command.line}: {'no end' if code is None else f'ended with {code}'}: {said}"
        return said

    def close(self) -> None:
        """Stop what commands have left running."""
        for status in sorted(self._folder.glob("*/run/status.json"), reverse=True):
            stop_set(status.parents[1], 60)


@contextmanager
def shell(folder: Path) -> Iterator[Shell]:
    """A shell in a new folder below `folder`; what it brought up is brought down with it."""
    work, programs = folder / "work", folder / "bin"
    work.mkdir()
    programs.mkdir()
    opened = Shell(work, programs)
    try:
        yield opened
    finally:
        opened.close()
