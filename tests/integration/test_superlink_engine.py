"""A whole SuperLink deployment on loopback: three SuperNodes, two round trips, nothing left running."""

from __future__ import annotations

import contextlib
import json
import os
import textwrap
import time
from pathlib import Path

import pytest

from server.engine import EngineError, EngineUnreachable, RunFailed, run_superlink

pytestmark = pytest.mark.integration

PYPROJECT = """
[project]
name = "toy"
version = "0.1.0"
description = "two round trips"
dependencies = []

[tool.flwr.app]
publisher = "tests"

[tool.flwr.app.components]
serverapp = "toyapp.server:app"
clientapp = "toyapp.client:app"

[tool.flwr.app.config]
out = ""
fail = false
"""

SERVER = """
import json
from pathlib import Path
from flwr.app import ArrayRecord, ConfigRecord, Message, RecordDict
from flwr.serverapp import ServerApp
import numpy as np

app = ServerApp()

@app.main()
def main(grid, context):
    if context.run_config["fail"]:
        raise RuntimeError("told to fail")
    nodes = list(grid.get_node_ids())
    values, heard = np.zeros(4), []
    for number in range(2):
        content = RecordDict({"model": ArrayRecord([values])})
        messages = [Message(content, node, "train", group_id=str(number)) for node in nodes]
        replies = list(grid.send_and_receive(messages))
        values = sum(reply.content["model"].to_numpy_ndarrays()[0] for reply in replies)
        heard.append(sorted([reply.content["said"]["number"], reply.content["said"]["home"],
                             reply.content["said"]["rounds"]] for reply in replies))
        print(f"toy round {number} done", flush=True)
    Path(context.run_config["out"]).write_text(json.dumps({"values": values.tolist(), "heard": heard}))
"""

CLIENT = """
from flwr.app import ArrayRecord, ConfigRecord, Message, RecordDict
from flwr.clientapp import ClientApp

app = ClientApp()

@app.train()
def train(message, context):
    rounds = context.state["seen"]["rounds"] + 1 if "seen" in context.state else 1
    context.state["seen"] = ConfigRecord({"rounds": rounds})
    number = context.node_config["partition-id"]
    (values,) = message.content["model"].to_numpy_ndarrays()
    said = ConfigRecord({"number": number, "home": context.node_config["home"], "rounds": rounds})
    return Message(RecordDict({"model": ArrayRecord([values + number]), "said": said}), reply_to=message)
"""


@pytest.fixture
def project(tmp_path: Path) -> Path:
    folder = tmp_path / "project"
    (folder / "toyapp").mkdir(parents=True)
    (folder / "pyproject.toml").write_text(PYPROJECT)
    (folder / "toyapp" / "__init__.py").write_text("")
    (folder / "toyapp" / "server.py").write_text(textwrap.dedent(SERVER))
    (folder / "toyapp" / "client.py").write_text(textwrap.dedent(CLIENT))
    return folder


def processes_that_name(path: Path) -> list[str]:
    """Command lines of living processes that carry `path` in their arguments or environment."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            if int(folder.name) == os.getpid():
                continue
            command = (folder / "cmdline").read_bytes()
            if str(path).encode() in command + (folder / "environ").read_bytes():
                found.append(command.replace(b"\0", b" ").decode())
    return found


def test_three_nodes_complete_two_round_trips_and_nothing_stays(project: Path, tmp_path: Path) -> None:
    work, out, lines = tmp_path / "work", tmp_path / "out.json", list[str]()
    nodes = [{"home": f"/homes/firm {number}"} for number in range(3)]
    run = run_superlink(project, nodes, {"out": str(out)}, work=work, deadline_s=240, log=lines.append)
    result = json.loads(out.read_text())
    assert result["values"] == [12.0] * 4  # 0+1+2, then 3 of those and 0+1+2 again
    assert result["heard"] == [[[n, f"/homes/firm {n}", r] for n in range(3)] for r in (1, 2)]
    assert [line for line in lines if "toy round" in line] == ["toy round 0 done", "toy round 1 done"]
    assert 0 < run.wall_s < 240
    assert processes_that_name(work) == []
    assert {path.stat().st_mode & 0o077 for path in (*work.glob("*.key"), work / "superexec.secret")} == {0}
    print(f"superlink run: {run.wall_s:.1f} s")


def test_a_run_that_fails_or_never_ends_says_so_and_stops(project: Path, tmp_path: Path) -> None:
    with pytest.raises(RunFailed, match="not completed"):
        run_superlink(project, [{"home": "a"}], {"fail": True}, work=tmp_path / "one", deadline_s=120)
    assert processes_that_name(tmp_path / "one") == []
    started_s = time.monotonic()
    with pytest.raises(EngineUnreachable, match="deadline"):
        run_superlink(project, [{"home": "a"}], {}, work=tmp_path / "two", deadline_s=4)
    assert time.monotonic() - started_s < 20
    assert processes_that_name(tmp_path / "two") == []


def test_wrong_use_starts_nothing(project: Path, tmp_path: Path) -> None:
    (tmp_path / "used").mkdir()
    (tmp_path / "used" / "state.db").touch()
    with pytest.raises(EngineError, match="not empty"):
        run_superlink(project, [{}], {}, work=tmp_path / "used")
    with pytest.raises(EngineError, match="at least one node"):
        run_superlink(project, [], {}, work=tmp_path / "new")
    with pytest.raises(EngineError, match="no quote"):
        run_superlink(project, [{"home": "it's"}], {}, work=tmp_path / "new")
    assert not (tmp_path / "new").exists()
