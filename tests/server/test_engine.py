"""Engines without a network: same bytes from the same seed, nothing shared, errors as Flower gives them."""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from engine_toys import client_app, content_for, server_app
from flwr.app import Array, ConfigRecord, Context, Message, MetricRecord, RecordDict
from flwr.clientapp import ClientApp
from flwr.serverapp import Grid, ServerApp

from clients.node import NodeUnknown, node_settings
from server.engine import EngineError, run_in_process, run_ray
from server.engines import EngineUnreachable
from server.engines.grid import DirectGrid

NODES = [{"home": f"/homes/firm-{number}"} for number in range(5)]
CONFIG = {"rounds": 3, "seed": 7}


def server(main: Callable[[Grid, Context], None]) -> ServerApp:
    app = ServerApp()
    app.main()(main)
    return app


def result(context: Context) -> dict[str, object]:
    return dict(context.state["result"])


def test_same_seed_same_bytes_whatever_the_number_of_workers() -> None:
    first = run_in_process(server_app, client_app, NODES, CONFIG, seed=3)
    assert result(first)["errors"] == 0
    for workers in (1, 4):
        again = run_in_process(server_app, client_app, NODES, CONFIG, seed=3, workers=workers)
        assert result(again) == result(first)
        assert again.run_id == first.run_id
    assert result(run_in_process(server_app, client_app, NODES, CONFIG, seed=4)) != result(first)


def test_an_error_is_a_reply_and_leaves_no_trace_in_the_state() -> None:
    seen = []

    def main(grid: Grid, context: Context) -> None:
        for number in range(2):
            content = content_for(np.zeros(2))
            replies = list(grid.send_and_receive([Message(content, node, "train") for node in grid.get_node_ids()]))
            seen.append([reply.has_error() for reply in replies])
            error = replies[1].error
            assert (error.code, error.reason) == (2, "<class 'RuntimeError'>:<'node 1 is broken'>")
            assert replies[1].metadata.src_node_id == list(grid.get_node_ids())[1]
            assert [reply.content["said"]["rounds"] for reply in replies[2:]] == [number] * 3  # type: ignore[index]
        asked = [Message(RecordDict(), node, "query.seen") for node in grid.get_node_ids()]
        _, broken, good, *_ = grid.send_and_receive(asked)
        assert broken.content == RecordDict()
        assert good.content == RecordDict({"seen": ConfigRecord({"rounds": 2})})

    run_in_process(server(main), client_app, NODES, {**CONFIG, "broken": 1})
    assert seen == [[False, True, False, False, False]] * 2


def test_nothing_mutable_is_shared_between_the_two_sides() -> None:
    kept: list[RecordDict] = []
    app = ClientApp()

    @app.query()
    def keep(message: Message, context: Context) -> Message:
        kept.append(message.content)
        return Message(message.content, reply_to=message)

    def main(grid: Grid, context: Context) -> None:
        mine = content_for(np.arange(3.0))
        mine["metrics"] = MetricRecord({"losses": [1.0, 2.0]})
        (reply,) = grid.send_and_receive([Message(mine, next(iter(grid.get_node_ids())), "query")])
        (theirs,) = kept
        assert reply.content == theirs == mine
        for one, other in itertools.combinations((mine, theirs, reply.content), 2):
            assert one is not other
            for name in one:
                assert one[name] is not other[name]
            assert one["plan"]["names"] is not other["plan"]["names"]  # type: ignore[index]
            assert one["metrics"]["losses"] is not other["metrics"]["losses"]  # type: ignore[index]
            first, second = (next(iter(side["model"].values())) for side in (one, other))
            assert isinstance(first, Array)
            assert first is not second
            assert isinstance(first.data, bytes)  # immutable: the megabytes themselves may be shared

    run_in_process(server(main), app, [{}], CONFIG)


def test_ids_configs_and_stamps_are_what_flower_gives() -> None:
    def main(grid: Grid, context: Context) -> None:
        nodes = list(grid.get_node_ids())
        assert nodes == sorted(set(nodes))
        assert [node.node_id for node in grid.get_nodes()] == nodes  # type: ignore[attr-defined]
        assert all(1 < node < 2**63 for node in nodes)
        messages = [Message(RecordDict(), node, "query", group_id="r1") for node in nodes]
        replies = list(grid.send_and_receive(messages))
        for message, reply, node in zip(messages, replies, nodes, strict=True):
            assert message.metadata.run_id == reply.metadata.run_id == grid.run.run_id == context.run_id
            assert message.metadata.message_id != ""
            assert reply.metadata.reply_to_message_id == message.metadata.message_id
            assert (reply.metadata.src_node_id, reply.metadata.dst_node_id) == (node, 1)
            assert (reply.metadata.group_id, reply.metadata.message_type) == ("r1", "query")
        assert len({one.metadata.message_id for one in (*messages, *replies)}) == 2 * len(nodes)

    run_in_process(server(main), client_app, NODES, CONFIG)


def test_push_and_pull_give_each_reply_once() -> None:
    def main(grid: Grid, context: Context) -> None:
        node = next(iter(grid.get_node_ids()))
        ids = list(grid.push_messages([Message(content_for(np.zeros(1)), node, "train") for _ in range(3)]))
        second = list(grid.pull_messages(ids[1:2]))
        rest = list(grid.pull_messages(ids))
        assert [one.metadata.reply_to_message_id for one in second + rest] == [ids[1], ids[0], ids[2]]
        assert [one.content["said"]["rounds"] for one in second + rest] == [0, 1, 2]  # type: ignore[index]
        assert list(grid.pull_messages(ids)) == []
        assert list(grid.pull_messages(["no such message"])) == []

    run_in_process(server(main), client_app, NODES, CONFIG)


def test_one_node_handles_its_messages_in_order_even_with_many_workers() -> None:
    def main(grid: Grid, context: Context) -> None:
        nodes = list(grid.get_node_ids())
        messages = [Message(content_for(np.zeros(1)), node, "train") for _ in range(20) for node in nodes]
        replies = list(grid.send_and_receive(messages))
        rounds = [reply.content["said"]["rounds"] for reply in replies]  # type: ignore[index]
        assert rounds == [number for number in range(20) for _ in nodes]

    run_in_process(server(main), client_app, NODES, CONFIG, workers=4)


def test_after_the_timeout_no_further_node_is_called() -> None:
    ticks = itertools.count()
    called: list[int] = []

    def call_node(message: Message, context: Context) -> tuple[Message, Context]:
        called.append(int(context.node_config["partition-id"]))
        return Message(message.content, reply_to=message), context

    grid = DirectGrid(NODES, CONFIG, call_node, clock=lambda: float(next(ticks)))

    def main(grid: Grid, context: Context) -> None:
        messages = [Message(RecordDict(), node, "query") for node in grid.get_node_ids()]
        assert len(list(grid.send_and_receive(messages, timeout=3))) == 2
        assert called == [0, 1]
        assert len(list(grid.pull_messages([one.metadata.message_id for one in messages]))) == 3

    from server.engines.grid import run_server_app

    run_server_app(server(main), grid, CONFIG)
    assert called == [0, 1, 2, 3, 4]


@pytest.mark.parametrize(("message_type", "reason"), [("query.nothing", "TypeError"), ("query.missing", "ValueError")])
def test_what_is_no_answer_is_an_error_reply(message_type: str, reason: str) -> None:
    def main(grid: Grid, context: Context) -> None:
        (reply,) = grid.send_and_receive([Message(RecordDict(), next(iter(grid.get_node_ids())), message_type)])
        assert reply.error.code == 2
        assert reason in reply.error.reason

    run_in_process(server(main), client_app, NODES, CONFIG)


def test_what_the_server_app_raises_goes_through() -> None:
    def main(grid: Grid, context: Context) -> None:
        raise LookupError("mine")

    with pytest.raises(LookupError, match="mine"):
        run_in_process(server(main), client_app, NODES, CONFIG)


def test_wrong_use_is_one_line() -> None:
    def main(grid: Grid, context: Context) -> None:
        grid.send_and_receive([Message(RecordDict(), 12345, "query")])

    with pytest.raises(EngineError, match="no node 12345"):
        run_in_process(server(main), client_app, NODES, CONFIG)
    with pytest.raises(EngineError, match="at least one node"):
        run_in_process(server_app, client_app, [], CONFIG)
    with pytest.raises(EngineError, match="at least one worker"):
        run_in_process(server_app, client_app, NODES, CONFIG, workers=0)


def context_of(node_config: dict[str, str | int]) -> Context:
    return Context(1, 2, node_config, RecordDict(), {"home": "/theirs", "nodes": "/theirs.json"})


def test_node_settings_come_from_the_firm_only(tmp_path: Path) -> None:
    path = tmp_path / "nodes.json"
    path.write_text(json.dumps([{"home": "/homes/a"}, {"home": "/homes/b", "table": "/b.csv", "partition-id": 9}]))
    numbered = context_of({"partition-id": 1, "num-partitions": 2})
    given = context_of({"partition-id": 1, "num-partitions": 2, "home": "/mine"})
    environment = {"ARTESIAN_NODES": str(path)}
    theirs = {"partition-id": 1, "num-partitions": 2, "home": "/homes/b", "table": "/b.csv"}
    assert node_settings(numbered, environment) == theirs
    assert node_settings(given, environment) == given.node_config
    assert node_settings(numbered, {}) == numbered.node_config


@pytest.mark.parametrize("text", [None, "{", "{}", "[{}]", "[{}, 5]", '[{}, {"home": [1]}]'])
def test_node_settings_that_cannot_be_read_are_refused(tmp_path: Path, text: str | None) -> None:
    path = tmp_path / "nodes.json"
    if text is not None:
        path.write_text(text)
    with pytest.raises(NodeUnknown, match="ARTESIAN_NODES"):
        node_settings(context_of({"partition-id": 1}), {"ARTESIAN_NODES": str(path)})


def children() -> set[int]:
    """Ids of all processes below this one that have not ended."""
    parents: dict[int, list[int]] = {}
    for status in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            state, parent = status.read_text().rsplit(")", 1)[1].split()[:2]
            if state != "Z":
                parents.setdefault(int(parent), []).append(int(status.parent.name))
    found, waiting = set[int](), [os.getpid()]
    while waiting:
        below = parents.get(waiting.pop(), [])
        found.update(below)
        waiting.extend(below)
    return found


@pytest.mark.usefixtures("one_ray")
@pytest.mark.integration
def test_ray_gives_the_bytes_of_the_in_process_engine_and_stops(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", os.path.dirname(__file__))
    before, folders = children(), set(Path("/tmp").glob("artesian-ray-*"))
    pids: set[object] = set()

    def main(grid: Grid, context: Context) -> None:
        server_app(grid, context)
        asked = [Message(RecordDict(), node, "query.worker") for node in grid.get_node_ids()]
        pids.update(reply.content["said"]["pid"] for reply in grid.send_and_receive(asked))  # type: ignore[index]
        (reply,) = grid.send_and_receive([Message(RecordDict(), next(iter(grid.get_node_ids())), "query.crash")])
        assert reply.error.code == 0
        assert "worker failed" in reply.error.reason

    config = {**CONFIG, "broken": 2}
    here = run_in_process(server_app, client_app, NODES, config, seed=3)
    there = run_ray(server(main), client_app, NODES, config, seed=3, workers=2)
    assert result(here)["errors"] == 3
    assert result(there) == result(here)
    assert os.getpid() not in pids
    assert len(pids) == 2
    assert os.environ["PYTHONPATH"] == os.path.dirname(__file__)
    deadline = time.monotonic() + 60
    while children() - before and time.monotonic() < deadline:
        time.sleep(0.1)
    assert children() - before == set()
    assert set(Path("/tmp").glob("artesian-ray-*")) <= folders


@pytest.mark.usefixtures("one_ray")
@pytest.mark.integration
def test_a_ray_that_did_not_come_up_leaves_nothing_and_is_started_again(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    from ray._private.node import Node

    monkeypatch.setenv("PYTHONPATH", os.path.dirname(__file__))
    before, folders = children(), set(Path("/tmp").glob("artesian-ray-*"))
    left: list[set[int]] = []
    start = Node.start_ray_processes

    def late_once(self: Node) -> None:
        left.append(children() - before)
        start(self)
        if len(left) == 1:
            left.append(children() - before)
            raise Exception("The current node timed out during startup.\nMore")  # as Ray's own

    monkeypatch.setattr(Node, "start_ray_processes", late_once)
    there = run_ray(server_app, client_app, NODES, CONFIG, seed=3, workers=2)
    at_first, of_failed, at_second = left
    assert at_first
    assert of_failed > at_first
    assert not at_second & of_failed
    assert result(there) == result(run_in_process(server_app, client_app, NODES, CONFIG, seed=3))
    assert "Ray did not start (The current node timed out during startup.): trying again" in caplog.text
    assert set(Path("/tmp").glob("artesian-ray-*")) <= folders


def test_a_ray_that_never_comes_up_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    backends = pytest.importorskip("flwr.server.superlink.fleet.vce.backend.raybackend")
    seen: list[Path] = []

    def never(_: object, config: dict[str, dict[str, str]]) -> None:
        seen.append(Path(config["init_args"]["_temp_dir"]))
        os.environ["PYTHONPATH"] = "longer"
        raise RuntimeError("no port")

    monkeypatch.setattr(backends.RayBackend, "init_ray", never)
    monkeypatch.delenv("PYTHONPATH", raising=False)
    with pytest.raises(EngineUnreachable, match=r"Ray did not start in 3 tries \(no port\): try again when"):
        run_ray(server_app, client_app, NODES, CONFIG)
    assert len(set(seen)) == 3
    assert not any(folder.exists() for folder in seen)
    assert "PYTHONPATH" not in os.environ


def test_a_ray_cluster_that_does_not_answer_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("ray")
    monkeypatch.setenv("RAY_ADDRESS", "not-an-address")
    with pytest.raises(EngineUnreachable, match="RAY_ADDRESS=not-an-address does not answer"):
        run_ray(server_app, client_app, NODES, CONFIG)
