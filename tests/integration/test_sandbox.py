"""`artesian sandbox up`: real processes train a round; what is killed comes back, and nothing is left at the end."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from clients.enrolment.consortium import ConsortiumApp
from clients.supervision.marked import marked
from clients.supervision.status import read_status

pytestmark = [pytest.mark.integration, pytest.mark.timeout(900)]

DEADLINE_S = 400.0


def wait_for(what: Callable[[], bool], words: str) -> None:
    end_s = time.monotonic() + DEADLINE_S
    while not what():
        assert time.monotonic() < end_s, f"the deadline passed: {words}"
        time.sleep(0.2)


def tokens(home: Path) -> list[str]:
    """The marks of all supervisors of the sandbox."""
    found = [read_status(folder) for folder in (home, *sorted(home.iterdir())) if folder.is_dir()]
    return [f"{status.token}/" for status in found if status is not None]


def is_ready(home: Path) -> bool:
    status = read_status(home)
    return status is not None and status.alive and status.state == "ready"


def artesian(*words: object) -> Any:
    """What a command says with --json; it ends well."""
    command = [sys.executable, "-m", "artesian", *map(str, words), "--json"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=DEADLINE_S)
    assert done.returncode == 0, (words, done.stdout, done.stderr)
    return json.loads(done.stdout)


def agree_on_the_installed_release(home: Path) -> None:
    """The members name its app bundle in their policy, at the desk; every firm that is up takes it by itself."""
    installed, new = artesian("coordinator", "apps", "--home", home / "coordinator"), home / "new" / "consortium.toml"
    assert installed["policy"] == []
    own = ConsortiumApp(**installed["installed"])
    new.parent.mkdir()
    new.write_text(f"{(home / 'coordinator' / 'consortium.toml').read_text()}\n{own.text()}\n")
    name = artesian("coordinator", "propose-policy", new, "--home", home / "coordinator")["name"]
    for member in ("firm-1", "firm-2", "bank-1"):
        placed = artesian(member[:4], "approve", name, "--yes", "--home", home / member)["placed"]
    assert placed
    places = [home / one / "consortium.toml" for one in ("coordinator", "firm-1", "firm-2", "firm-3")]
    wait_for(lambda: all(place.read_bytes() == new.read_bytes() for place in places), "the policy to be taken")
    assert [one["sha256"] for one in artesian("firm", "apps", "--home", home / "firm-3")["policy"]] == [own.sha256]


def test_one_command_trains_a_round_and_leaves_nothing_behind(tmp_path: Path) -> None:
    home = tmp_path / "sandbox"
    command = [sys.executable, "-m", "artesian", "sandbox", "up", "--home", str(home), "--json"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as sandbox:
        assert sandbox.stdout is not None
        assert sandbox.stderr is not None
        try:
            said = sandbox.stdout.readline()
            assert said, sandbox.stderr.read()[-2000:]
            facts = json.loads(said)
            assert (facts["ok"], len(facts["firms"])) == (True, 3)
            assert list((home / "coordinator" / "artifacts").iterdir())
            question = next(line for line in facts["next"] if " bank score " in line).split()[1:]
            asked = [sys.executable, "-m", "artesian", *question, "--json"]
            answer = subprocess.run(asked, capture_output=True, text=True, check=False, timeout=DEADLINE_S)
            assert answer.returncode == 0, answer.stdout + answer.stderr

            agree_on_the_installed_release(home)
            again = artesian("coordinator", "run", "credit", "--wait", "--home", home / "coordinator")
            assert again["order"]["outcome"] == "completed"

            # One firm's supervisor dies: the kernel and the guard end its programs, the sandbox brings it up again.
            before = read_status(home / "firm-1")
            assert before is not None
            os.kill(before.pid, signal.SIGKILL)
            wait_for(lambda: is_ready(home / "firm-1") and not marked(f"{before.token}/"), "the firm to come back")
        finally:
            marks = tokens(home)
            sandbox.send_signal(signal.SIGINT)
            sandbox.communicate(timeout=DEADLINE_S)
    assert sandbox.returncode == 0
    assert [mark for mark in marks if marked(mark)] == []
