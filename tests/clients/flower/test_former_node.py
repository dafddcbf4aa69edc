"""Only of a SuperNode that has certainly ended is it said that it has gone."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from clients.flower.former_node import gone, remember
from clients.flower.retrying import LONGEST_RETRY_S, retry_sooner
from clients.flower.supernode import adapted_flower
from clients.supervision.marked import started_at

NODE = 2**63 + 5


def written(home: Path, **changed: object) -> None:
    """As by another process, with these facts of it."""
    remember(home, NODE)
    said = json.loads((home / "node.json").read_text())
    said["process"] |= changed
    (home / "node.json").write_text(json.dumps(said))


def ended() -> int:
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    return process.pid


def test_where_nobody_was_nobody_is_gone(tmp_path: Path) -> None:
    assert gone(tmp_path) is None
    (tmp_path / "node.json").write_text('{"node": 1, "process": {}}')
    assert gone(tmp_path) is None


def test_a_process_that_has_ended_is_gone_and_its_number_may_be_a_strangers(tmp_path: Path) -> None:
    written(tmp_path, pid=ended())
    assert gone(tmp_path) == NODE
    parent = os.getppid()
    written(tmp_path, pid=parent, started=-1)
    assert gone(tmp_path) == NODE


def test_one_that_lives_is_not(tmp_path: Path) -> None:
    written(tmp_path, pid=os.getppid(), started=started_at(os.getppid()))
    assert gone(tmp_path) is None


def test_who_connects_anew_speaks_for_itself(tmp_path: Path) -> None:
    remember(tmp_path, NODE)
    assert gone(tmp_path) == NODE


@pytest.mark.parametrize("changed", [{"boot": "another"}, {"boot": ""}, {"folder": "1:2"}])
def test_of_another_boot_or_another_folder_nothing_is_known(tmp_path: Path, changed: dict[str, str]) -> None:
    written(tmp_path, pid=ended(), **changed)
    assert gone(tmp_path) is None


def test_the_node_is_remembered_when_it_is_let_in(tmp_path: Path) -> None:
    states = adapted_flower()
    states.state().on_connected(lambda node: remember(tmp_path, node))
    states.state().set_node_id(NODE)
    assert gone(tmp_path) == NODE


def test_flowers_clients_try_again_within_seconds() -> None:
    from flwr.supercore import heartbeat
    from flwr.supercore.retry import make_simple_http_retry_invoker

    retry_sooner()
    sender = heartbeat.HeartbeatSender(lambda: True)
    for invoker in (make_simple_http_retry_invoker(), sender._retry_invoker):
        pauses = invoker.wait_gen_factory()
        assert max(next(pauses) for _ in range(10)) == LONGEST_RETRY_S
