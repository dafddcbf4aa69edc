"""Processes of a run: all of them end, with their children, and what went wrong is said in one line."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from server.engines import EngineUnreachable
from server.engines.loopback import free_ports
from server.engines.processes import Processes


def start(tmp_path: Path, deadline_s: float = 20.0) -> Processes:
    return Processes(tmp_path, dict(os.environ), time.monotonic() + deadline_s, grace_s=0.5)


def written(path: Path) -> Callable[[], bool]:
    return lambda: path.exists() and path.read_text().endswith("\n")


def ended(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] == "Z"
    except FileNotFoundError:
        return True


def test_a_deaf_child_and_its_own_child_are_stopped(tmp_path: Path) -> None:
    deaf = "trap '' TERM; (trap '' TERM; sleep 60) & echo $$ $! > pids; wait"
    with contextlib.suppress(KeyboardInterrupt), start(tmp_path) as processes:
        processes.serve("deaf", ["sh", "-c", f"cd {tmp_path}; {deaf}"])
        processes.wait_until(written(tmp_path / "pids"), "the child to start")
        pids = [int(word) for word in (tmp_path / "pids").read_text().split()]
        assert not any(ended(pid) for pid in pids)
        raise KeyboardInterrupt
    for _ in range(50):
        if all(ended(pid) for pid in pids):
            break
        time.sleep(0.02)
    assert all(ended(pid) for pid in pids)


def test_an_orphan_of_a_command_that_ended_is_stopped(tmp_path: Path) -> None:
    with start(tmp_path) as processes:
        pid = int(processes.call("parent", ["sh", "-c", "sleep 60 >&- 2>&- & echo $!"]))
        assert not ended(pid)
    for _ in range(50):
        if ended(pid):
            break
        time.sleep(0.02)
    assert ended(pid)


def test_what_went_wrong_is_one_line(tmp_path: Path) -> None:
    with start(tmp_path) as processes:
        assert processes.call("good", ["echo", "ok"]) == "ok\n"
        with pytest.raises(EngineUnreachable, match=r"bad failed: first \| no such table \(see .*bad\.err\)") as caught:
            processes.call("bad", ["sh", "-c", "echo first >&2; echo '╰──╯' >&2; echo no such table >&2; exit 1"])
        assert "\n" not in str(caught.value)
        assert caught.value.exit_code == 3
        with pytest.raises(EngineUnreachable, match="missing cannot be started"):
            processes.call("missing", [tmp_path / "no-such-command"])
        processes.serve("short", ["sh", "-c", "echo I give up"])
        with pytest.raises(EngineUnreachable, match="short ended: I give up"):
            processes.wait_until(lambda: False, "nothing")


def test_the_deadline_is_kept(tmp_path: Path) -> None:
    with (
        start(tmp_path, deadline_s=0.2) as processes,
        pytest.raises(EngineUnreachable, match="waiting for slow to end"),
    ):
        processes.call("slow", ["sleep", "60"])


def test_free_ports_are_different() -> None:
    assert len(set(free_ports(5))) == 5
