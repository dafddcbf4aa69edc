"""The runner as a process: killed at any moment, another goes on with the same orders; never two of them."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from federation_world import SPEC

from server.coordinator import Coordinator
from server.run_orders import RunOrders, new_ticket

pytestmark = pytest.mark.integration
COMMAND = (sys.executable, "-m", "artesian", "coordinator", "runner", "--home")
WITHIN_S = 60.0


@pytest.fixture
def home(tmp_path: Path) -> Path:
    task = '\n[[task]]\nname = "credit"\nspec = "tasks/credit.toml"\n[task.privacy]\nepsilon = 1.0\n'
    (tmp_path / "tasks").mkdir()
    (tmp_path / "tasks" / "credit.toml").write_text(SPEC, encoding="utf-8")
    (tmp_path / "coordinator.toml").write_text(f'cid = "bread"\n{task}', encoding="utf-8")
    return tmp_path


@pytest.fixture
def started() -> Iterator[list[subprocess.Popen[str]]]:
    made: list[subprocess.Popen[str]] = []
    yield made
    for process in made:
        process.kill()
        process.wait()


def start(home: Path, started: list[subprocess.Popen[str]]) -> subprocess.Popen[str]:
    process = subprocess.Popen([*COMMAND, str(home)], stderr=subprocess.PIPE, text=True)
    started.append(process)
    return process


def seen_after(orders: RunOrders, moment_s: float) -> str:
    """What hinders the runner, when it is there after a moment."""
    end_s = time.monotonic() + WITHIN_S
    while time.monotonic() < end_s:
        seen = orders.runner()
        if seen is not None and seen[0] > moment_s:
            return seen[1]
        time.sleep(0.1)
    raise AssertionError("the runner has not come")


def test_a_runner_that_is_killed_is_followed_by_another_and_none_stands_beside_it(
    home: Path, started: list[subprocess.Popen[str]]
) -> None:
    with Coordinator(home) as coordinator:
        orders = RunOrders(coordinator.store, new_ticket)
        order = orders.order("credit", time.time())
        first = start(home, started)
        assert seen_after(orders, 0.0).startswith("the consortium is not founded yet")
        beside = start(home, started)
        _, said = beside.communicate(timeout=WITHIN_S)
        assert beside.returncode == 1
        assert "another process is the runner of this home already" in said
        first.kill()
        first.wait()
        second = start(home, started)
        assert seen_after(orders, time.time()).startswith("the consortium is not founded yet")
        assert [one.number for one in orders.open()] == [order.number]
        orders.end(order, "stopped", "", time.time())
        asked = ["measure", "credit", "--what", "columns", "--home", str(home), "--json"]
        measured = subprocess.run([*COMMAND[:4], *asked], capture_output=True, text=True, check=True, timeout=WITHIN_S)
        given = json.loads(measured.stdout)["order"]
        assert (given["number"], given["measure"]) == (order.number + 1, "what=columns bins=20")
        assert "No runner" not in measured.stderr
        seen_after(orders, time.time())
        assert [(one.number, one.measure) for one in orders.open()] == [(given["number"], given["measure"])]
        second.send_signal(signal.SIGTERM)
        assert second.wait(WITHIN_S) == 0
