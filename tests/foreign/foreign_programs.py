"""Runs the programs beside this file, in which libraries that others wrote judge what the ledger wrote.

`make foreign` installs what they need. Where something is missing the tests are skipped, saying so.
"""

from __future__ import annotations

import atexit
import json
import shutil
import subprocess
import tempfile
from collections.abc import Iterable, Mapping
from functools import cache
from pathlib import Path
from typing import Any

import pytest

HERE = Path(__file__).parent
PYTHON = HERE.parents[1] / ".venv-foreign" / "bin" / "python"
NODE_MODULES = HERE / "node_modules"
GOPATH = Path("/usr/share/gocode")
X_MOD = GOPATH / "src" / "golang.org" / "x" / "mod"

Case = Mapping[str, Any]


def ask_python(cases: Iterable[Case]) -> list[str | None]:
    """What `cwt` and `pycose` answer: a case each, None for accepted, else why not."""
    if not PYTHON.exists():
        pytest.skip(".venv-foreign is missing; run: make foreign")
    return _ask([str(PYTHON), str(HERE / "check_cose.py")], cases)


def ask_node(cases: Iterable[Case]) -> list[str | None]:
    """What the npm libraries answer."""
    node = shutil.which("node")
    if node is None or not NODE_MODULES.is_dir():
        pytest.skip("Node.js or tests/foreign/node_modules is missing; install Node.js 20 and run: make foreign")
    return _ask([node, str(HERE / "check_cose.mjs")], cases)


def ask_go(cases: Iterable[Case]) -> list[str | None]:
    """What golang.org/x/mod answers."""
    if shutil.which("go") is None or not X_MOD.is_dir():
        pytest.skip("Go or golang-golang-x-mod-dev is missing; run: make foreign")
    return _ask([str(_go_program())], cases)


@cache
def _go_program() -> Path:
    """The built program; Debian's packages are of the time before Go's modules."""
    folder = Path(tempfile.mkdtemp(prefix="artesian-foreign-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    target = folder / "check_log"
    environment = {
        "GO111MODULE": "off",
        "GOPATH": str(GOPATH),
        "GOCACHE": str(folder / "cache"),
        "PATH": str(Path(shutil.which("go") or "go").parent),
    }
    subprocess.run(
        ["go", "build", "-o", str(target), str(HERE / "check_log.go")], check=True, env=environment, timeout=240
    )
    return target


def _ask(command: list[str], cases: Iterable[Case]) -> list[str | None]:
    listed = list(cases)
    done = subprocess.run(command, input=json.dumps(listed), capture_output=True, text=True, timeout=240, check=False)
    assert done.returncode == 0, done.stderr
    answers: list[str | None] = json.loads(done.stdout)
    assert len(answers) == len(listed)
    return answers
