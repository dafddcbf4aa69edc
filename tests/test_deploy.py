"""The example units: systemd takes them, their commands are there, and the manual shows the one that is there."""

import re
import shlex
import shutil
import subprocess
from pathlib import Path

import pytest
from typer.testing import CliRunner

from ledger.commands import app

ROOT = Path(__file__).parents[1]
UNITS = sorted((ROOT / "deploy").glob("*.service"))
each_unit = pytest.mark.parametrize("unit", UNITS, ids=lambda unit: unit.name)


def test_there_is_a_unit_for_each_of_the_two_processes() -> None:
    assert [unit.name for unit in UNITS] == ["artesian-ledger.service", "artesian-witness.service"]


@each_unit
def test_what_it_starts_is_there(unit: Path) -> None:
    [line] = re.findall(r"^ExecStart=/opt/artesian/bin/artesian ledger (.*)$", unit.read_text(), re.MULTILINE)
    command, *options = shlex.split(line)
    shown = CliRunner().invoke(app, [command, "--help"], env={"COLUMNS": "200"})
    assert shown.exit_code == 0
    assert "ARTESIAN_HOME" in shown.stdout
    assert all(option in shown.stdout for option in options if option.startswith("--"))


@each_unit
@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="there is no systemd here")
def test_systemd_takes_it(unit: Path, tmp_path: Path) -> None:
    """With a program and a user that are on this machine."""
    text = unit.read_text().replace("/opt/artesian/bin/artesian", "/bin/true").replace("User=artesian", "User=root")
    (tmp_path / unit.name).write_text(text)
    verify = ["systemd-analyze", "verify", tmp_path / unit.name]
    done = subprocess.run(verify, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


def test_the_manual_shows_the_unit() -> None:
    shown = re.findall("```ini\n(.*?)```", (ROOT / "docs" / "ledger.md").read_text(), re.DOTALL)
    assert shown == [UNITS[0].read_text()]
