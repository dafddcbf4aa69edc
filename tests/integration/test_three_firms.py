"""From empty directories to a bank's verified score by the tutorial's commands alone, and its output as it is shown."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
from documented_commands import Command, commands_of, missing_line, shell

pytestmark = pytest.mark.integration
PAGE = Path(__file__).resolve().parents[2] / "docs" / "tutorials" / "three-firms.md"


@pytest.mark.timeout(900)
def test_the_tutorial_does_what_it_says(tmp_path: Path) -> None:
    documented = commands_of(PAGE.read_text(encoding="utf-8"))
    began_s = time.monotonic()
    with shell(tmp_path) as opened:
        for command in documented:
            output = opened.run(command, 300)
            print(f"[{time.monotonic() - began_s:6.1f} s] $ {command.line}\n{output}", end="")
            lacking = missing_line(command.said, output)
            assert lacking is None, f"{command.line}: the page shows {lacking!r}, and it says: {output}"


def test_trained_within_twelve_commands() -> None:
    lines = [one.line for one in commands_of(PAGE.read_text(encoding="utf-8"))]
    first = next(number for number, line in enumerate(lines) if line.startswith("artesian coordinator init"))
    trained = next(number for number, line in enumerate(lines) if line.startswith("artesian coordinator run"))
    assert trained - first + 1 <= 12


def test_what_a_page_says_is_held_against_what_comes() -> None:
    (command,) = commands_of("```console\n$ artesian x \\\n   --y\nkey 12ab-34cd of 3 firms\n…\nend\n```\n")
    assert command == Command("artesian x --y", ("key 12ab-34cd of 3 firms", "…", "end"))
    assert missing_line(command.said, "key 99ff-0000 of 17 firms\nmore\nend\n") is None
    assert missing_line(command.said, "key 99ff-0000 of 17 banks\nmore\nend\n") == "key 12ab-34cd of 3 firms"
    assert missing_line(command.said, "end\nkey 99ff-0000 of 17 firms\n") == "end"
