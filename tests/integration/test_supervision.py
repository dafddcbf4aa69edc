"""Real processes kept running: killed at random from a seed, stopped, orphaned, replaced. Nothing may stay."""

import contextlib
import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from clients.supervision.marked import marked, started_at
from clients.supervision.status import LOGS, STATUS, SetStatus, read_status
from clients.supervision.up import LOCK, stop_set

pytestmark = pytest.mark.integration

# A set of tiny programs; each has a child in a session of its own, which only the mark finds again.
KEEP_UP = """
import sys
from pathlib import Path
from clients.supervision.program import Program, Touches
from clients.supervision.up import keep_up

home = Path(sys.argv[1])
child = "import subprocess, sys, time; subprocess.Popen(['sleep', '600'], start_new_session=True); "
child += "open(sys.argv[1], 'w').close(); print('hello', flush=True); time.sleep(600)"
programs = [
    Program(name, (sys.executable, "-S", "-c", child, str(home / name)), needs, Touches(home / name))
    for name, needs in (("ledger", ()), ("superlink", ("ledger",)), ("executor", ("superlink",)))
]
keep_up(home, programs, "text", lambda status: print("ready", flush=True))
"""
DEADLINE_S = 30.0


def wait_for(what: Callable[[], bool]) -> None:
    end_s = time.monotonic() + DEADLINE_S
    while not what():
        assert time.monotonic() < end_s, "the deadline passed"
        time.sleep(0.05)


class Up:
    def __init__(self, home: Path, stderr: int = subprocess.DEVNULL) -> None:
        self.home = home
        command = [sys.executable, "-c", KEEP_UP, str(home)]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=stderr, text=True)
        assert self.process.stdout is not None
        assert self.process.stdout.readline() == "ready\n"

    @property
    def status(self) -> SetStatus:
        status = read_status(self.home)
        assert status is not None
        return status

    def pids(self) -> list[int]:
        return marked(f"{self.status.token}/")

    def pid(self, name: str) -> int:
        (pid,) = [one.pid for one in self.status.programs if one.name == name]
        assert pid is not None
        return pid


@pytest.fixture
def up(tmp_path: Path) -> Iterator[Up]:
    one = Up(tmp_path / "home")
    pids = one.pids()
    assert len(pids) == 6
    try:
        yield one
    finally:
        token = one.status.token
        one.process.terminate()
        one.process.wait(DEADLINE_S)
        wait_for(lambda: not marked(f"{token}/"))


def test_what_is_killed_at_random_runs_again(up: Up) -> None:
    chance = random.Random(7)
    for _ in range(3):
        names = chance.sample(["ledger", "superlink", "executor"], chance.randint(1, 3))
        before = {name: up.pid(name) for name in names}
        for pid in before.values():
            os.kill(pid, signal.SIGKILL)

        def again(before: dict[str, int] = before) -> bool:
            return up.status.state == "ready" and all(up.pid(name) != pid for name, pid in before.items())

        wait_for(again)
        assert len(up.pids()) == 6  # the children of those that were killed have gone with them
    last = [one.last_exit for one in up.status.programs if one.last_exit is not None]
    assert {(one.code, one.line) for one in last} == {(-9, "hello")}
    assert (up.home / LOGS / "ledger.log").read_text().count("ledger info hello") == 1 + [
        one.restarts for one in up.status.programs if one.name == "ledger"
    ].pop()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_asked_to_stop_it_leaves_nothing(up: Up, number: signal.Signals) -> None:
    up.process.send_signal(number)
    assert up.process.wait(DEADLINE_S) == 0
    assert up.pids() == []
    assert up.status.state == "stopped"
    assert {one.state for one in up.status.programs} == {"stopped"}


def test_killed_it_leaves_nothing_either(up: Up) -> None:
    up.process.kill()
    up.process.wait(DEADLINE_S)
    wait_for(lambda: not up.pids())
    assert up.status.state == "killed"


def test_killed_together_with_its_guard_the_next_one_ends_what_is_left(up: Up) -> None:
    earlier = up.status.token
    children = Path(f"/proc/{up.process.pid}/task/{up.process.pid}/children").read_text().split()
    guard = [pid for pid in map(int, children) if b"marked.py" in Path(f"/proc/{pid}/cmdline").read_bytes()]
    for pid in (*guard, up.process.pid):
        os.kill(pid, signal.SIGKILL)
    up.process.wait(DEADLINE_S)
    stranger = subprocess.Popen(["sleep", "600"])
    try:
        wait_for(lambda: len(marked(f"{earlier}/")) == 3)  # the kernel ended the programs, and not their children
        after = Up(up.home)
        assert marked(f"{earlier}/") == []
        assert stranger.poll() is None
        after.process.terminate()
        assert after.process.wait(DEADLINE_S) == 0
    finally:
        stranger.kill()
        stranger.wait()


def test_a_status_that_cannot_be_written_stops_nothing_and_is_written_later(up: Up) -> None:
    before, file = up.pid("executor"), up.home / "run" / STATUS
    file.unlink()
    file.mkdir()
    os.kill(before, signal.SIGKILL)
    wait_for(lambda: "cannot be written" in (up.home / LOGS / "supervisor.log").read_text())
    assert up.process.poll() is None
    file.rmdir()
    wait_for(file.is_file)
    wait_for(lambda: before not in {program.pid for program in up.status.programs} and up.status.state == "ready")


def test_nobody_who_has_stopped_reading_its_log_holds_it_up(tmp_path: Path) -> None:
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    with contextlib.suppress(BlockingIOError):
        while True:
            os.write(writer, bytes(4096))
    os.set_blocking(writer, True)
    one = Up(tmp_path / "home", writer)
    before = one.pid("executor")
    os.kill(before, signal.SIGKILL)
    wait_for(lambda: before not in {program.pid for program in one.status.programs} and one.status.state == "ready")
    one.process.terminate()
    assert one.process.wait(DEADLINE_S) == 0
    os.close(reader)
    os.close(writer)


def test_one_that_has_only_just_started_is_stopped_too(tmp_path: Path) -> None:
    home = tmp_path / "home"
    command = [sys.executable, "-c", KEEP_UP, str(home)]
    begun = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    wait_for((home / "run" / LOCK).exists)
    stopped = stop_set(home, DEADLINE_S)
    assert begun.wait(DEADLINE_S) == 0
    assert stopped


def test_there_is_one_at_a_time(up: Up) -> None:
    command = [sys.executable, "-c", KEEP_UP, str(up.home)]
    second = subprocess.run(command, capture_output=True, text=True, check=False, timeout=DEADLINE_S)
    assert f"AlreadyUp: {up.home}: process {up.process.pid} keeps this home's processes already" in second.stderr
    assert up.status.state == "ready"


def test_a_zombie_is_not_alive() -> None:
    child = subprocess.Popen(["true"])
    wait_for(lambda: started_at(child.pid) is None)
    assert child.wait() == 0


def test_the_status_is_one_json_document(up: Up) -> None:
    facts = json.loads((up.home / "run" / "status.json").read_text())
    assert [one["name"] for one in facts["programs"]] == ["ledger", "superlink", "executor"]
