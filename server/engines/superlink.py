"""The SuperLink engine: a whole Flower deployment on loopback, from an app's folder to its last process.

TLS, SuperNode keys, an external SuperExec that holds a secret (so that the run outlives a killed
SuperLink), no dependency installation at run time, no telemetry. It is how the apps run in production,
in small; the flags are those of Flower 1.41 and change between its releases.
"""

from __future__ import annotations

import json
import os
import shutil
import socket
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from flwr.common.constant import NUM_PARTITIONS_KEY, PARTITION_ID_KEY

from server.engines import EngineError, EngineUnreachable
from server.engines.grid import NodeConfig, RunConfig
from server.engines.loopback import CONNECTION, HOST, Loopback, node_config_text, toml
from server.engines.processes import Processes

_COMPLETED = "finished:completed"

_Value = str | int | Path | None


class RunFailed(EngineError):
    """The run came to its end, and the end was not a good one."""

    exit_code = 1


@dataclass(frozen=True)
class SuperLinkRun:
    """A completed run: Flower's id for it, and wall seconds from the first process to the last one's end."""

    run_id: int
    wall_s: float


def run_superlink(
    project: Path,
    nodes: Sequence[NodeConfig],
    run_config: RunConfig,
    *,
    work: Path,
    environment: Mapping[str, str] | None = None,
    deadline_s: float = 600.0,
    log: Callable[[str], None] = lambda line: None,
) -> SuperLinkRun:
    """Run the app in `project` on a SuperLink and one SuperNode for each of `nodes`, on loopback.

    Args:
        project: folder with a `pyproject.toml` that names the app's components; submitted as it stands.
        nodes: one node_config a node; `partition-id` and `num-partitions` are filled in where missing.
        run_config: overrides; every key must stand in the project's `[tool.flwr.app.config]`.
        work: a new or empty folder for keys, state and logs; it stays, for a look afterwards.
        environment: adds to and overrides this process's environment, for every process of the run.
        deadline_s: seconds from now in which the run must have completed.
        log: called with each line of the run's log, as it comes.

    Returns:
        The completed run. By then, and also when this raises, every process that it started has ended.

    Raises:
        RunFailed: the ServerApp failed or the run was stopped.
        EngineUnreachable: a process did not start or ended early, or the deadline passed.
        EngineError: no nodes, a folder that is not empty, or a setting that cannot be passed on.
    """
    if not nodes:
        raise EngineError("engine: a run needs at least one node")
    configs = [
        node_config_text({PARTITION_ID_KEY: number, NUM_PARTITIONS_KEY: len(nodes), **node})
        for number, node in enumerate(nodes)
    ]
    started_s = time.monotonic()
    files = Loopback(work, len(nodes))
    with Processes(files.logs, _environment(files, environment or {}), started_s + deadline_s) as processes:
        _start_superlink(files, processes)
        _start_nodes(files, processes, configs)
        run_id = _submit(files, processes, project, run_config)
        _follow(processes, run_id, log)
        _require_completed(processes, run_id)
    return SuperLinkRun(run_id, time.monotonic() - started_s)


def _environment(files: Loopback, more: Mapping[str, str]) -> dict[str, str]:
    ours = {
        "FLWR_HOME": str(files.flower_home),
        "FLWR_TELEMETRY_ENABLED": "0",
        "FLWR_DISABLE_UPDATE_CHECK": "1",
        "FLWR_DISABLE_RUNTIME_DEPENDENCY_INSTALLATION": "1",
        "FLWR_SUPEREXEC_TASK_POLL_INTERVAL": "0.1",
        # A SuperExec looks its commands up by name, and prints must reach the log as they happen.
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', os.defpath)}",
        "PYTHONUNBUFFERED": "1",
    }
    return {**os.environ, **ours, **more}


def _command(name: str) -> str:
    beside = Path(sys.executable).parent / name
    found = str(beside) if beside.exists() else shutil.which(name)
    if found is None:
        raise EngineUnreachable(f"engine: the command {name} is not installed: pip install flwr")
    return found


def _options(options: Mapping[str, _Value]) -> list[str]:
    """Options as they stand on a command line; None for those that take no value."""
    return [str(word) for pair in options.items() for word in pair if word is not None]


def _start_superlink(files: Loopback, processes: Processes) -> None:
    options: dict[str, _Value] = {
        "--host": HOST,
        "--port": files.port,
        "--ssl-ca-certfile": files.authority,
        "--ssl-certfile": files.certificate,
        "--ssl-keyfile": files.key,
        "--enable-supernode-auth": None,
        "--database": files.work / "state.db",
        "--isolation": "process",
        "--superexec-auth-secret-file": files.secret,
        "--disable-runtime-dependency-installation": None,
    }
    processes.serve("superlink", [_command("flower-superlink"), *_options(options)])
    processes.wait_until(lambda: _answers(files.port), "the SuperLink to listen")
    options = {
        "--runtime-api-address": files.address,
        "--root-certificates": files.authority,
        "--superexec-auth-secret-file": files.secret,
    }
    processes.serve("superexec", [_command("flower-superexec"), *_options(options)])


def _start_nodes(files: Loopback, processes: Processes, configs: Sequence[str]) -> None:
    """Register every node's key, start the nodes, and wait until the SuperLink has seen them all."""
    register = [_command("flwr"), "supernode", "register"]
    registering = [
        processes.launch(
            f"register-{number}",
            [*register, files.node_key(number).with_suffix(".key.pub"), CONNECTION, "--name", f"node-{number}"],
        )
        for number in range(len(configs))
    ]
    for child in registering:
        processes.finish(child)
    for number, config in enumerate(configs):
        files.node_home(number).mkdir(mode=0o700)
        options: dict[str, _Value] = {
            "--superlink": files.address,
            "--root-certificates": files.authority,
            "--auth-supernode-private-key": files.node_key(number),
            "--node-config": config,
            "--host": HOST,
            "--port": files.node_ports[number],
        }
        command = [_command("flower-supernode"), *_options(options)]
        processes.serve(f"node-{number}", command, FLWR_HOME=str(files.node_home(number)))
    processes.wait_until(lambda: _online(processes) == len(configs), "every SuperNode to be online")


def _online(processes: Processes) -> int:
    answer = _json(processes.call("nodes", [_command("flwr"), "supernode", "ls", CONNECTION, "--format", "json"]))
    return sum(node.get("status") == "online" for node in answer.get("nodes", []))


def _submit(files: Loopback, processes: Processes, project: Path, run_config: RunConfig) -> int:
    overrides = files.work / "run-config.toml"
    overrides.write_text(toml(run_config), encoding="utf-8")
    command: list[str | Path] = [_command("flwr"), "run", project.resolve(), CONNECTION, "--format", "json"]
    if run_config:
        command += ["-c", overrides]
    answer = _json(processes.call("submit", command))
    if not answer.get("success"):
        raise EngineUnreachable(f"engine: the SuperLink refused the run: {answer.get('error-message', answer)}")
    return int(answer["run-id"])


def _follow(processes: Processes, run_id: int, log: Callable[[str], None]) -> None:
    """Hand on the run's log line by line until Flower ends it, which it does when the run ends."""
    child = processes.launch("run", [_command("flwr"), "log", str(run_id), CONNECTION])
    with child.log.open(encoding="utf-8", errors="replace") as lines:
        rest = ""

        def hand_on() -> bool:
            nonlocal rest
            ended = child.process.poll() is not None
            *whole, rest = (rest + lines.read()).split("\n")
            for line in whole:
                log(line)
            return ended

        processes.wait_until(hand_on, f"run {run_id} to complete")
        if rest:
            log(rest)


def _require_completed(processes: Processes, run_id: int) -> None:
    command = [_command("flwr"), "ls", CONNECTION, "--run-id", str(run_id), "--format", "json"]
    (run,) = _json(processes.call("status", command)).get("runs", [{}])
    if run.get("status") != _COMPLETED:
        raise RunFailed(f"engine: run {run_id} is {run.get('status')}, not completed: {run.get('status-details', '')}")


def _answers(port: int) -> bool:
    try:
        with socket.create_connection((HOST, port), timeout=1):
            return True
    except OSError:
        return False


def _json(text: str) -> dict[str, Any]:
    """The JSON object in what a `flwr` command printed."""
    try:
        answer = json.loads(text[text.index("{") :])
    except ValueError as error:
        raise EngineUnreachable(f"engine: Flower's command line answered without JSON: {text[:200]!r}") from error
    if not isinstance(answer, dict):
        raise EngineUnreachable(f"engine: Flower's command line answered with something else: {text[:200]!r}")
    return answer
