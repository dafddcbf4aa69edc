"""A federation as Flower runs it by itself: a SuperExec and SuperNodes that start a process for each message.

What deployments of ours are measured beside. On loopback, with TLS and SuperNode keys, no dependency installation at
run time, no telemetry; the flags are those of Flower 1.41 and change between its releases.
"""

from __future__ import annotations

import datetime as dt
import json
import os
import secrets
import shutil
import socket
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from clients.node_key import node_public_key
from experiments.errors import ExperimentError
from ledger.secret_files import write_secret_file
from server.certificates import (
    AUTHORITY_CERTIFICATE,
    TLS_CERTIFICATE,
    TLS_KEY,
    CertificateAuthority,
    install_certificate,
    request_certificate,
)
from server.engines.loopback import HOST, free_ports
from server.engines.processes import Processes

_CONNECTION = "consortium"
_COMPLETED = "finished:completed"

_Value = str | int | Path | None


class FlowerFailed(ExperimentError):
    """Flower did not do what was asked of it; says what it said."""

    exit_code = 1


def run_alone(
    project: Path, homes: Sequence[Path], run_config: Mapping[str, str], *, work: Path, deadline_s: float
) -> None:
    """Run the app in `project` on a SuperLink and one SuperNode for each firm, and wait for its end.

    Args:
        project: folder with a `pyproject.toml` that names the app's components; submitted as it stands.
        homes: of the firms; each is its node's `home`.
        run_config: overrides; every key must stand in the project's `[tool.flwr.app.config]`.
        work: a new folder for keys, state and logs.
        deadline_s: seconds from now in which the run must have completed.

    Raises:
        FlowerFailed: the run did not complete, or Flower's command line said something else than expected.
        EngineUnreachable: a process did not start or ended early, or the deadline passed.
    """
    files = _Files(work, len(homes))
    with Processes(files.logs, _environment(files), time.monotonic() + deadline_s) as processes:
        _start_superlink(files, processes)
        _start_nodes(files, processes, homes)
        run_id = _submit(files, processes, project, run_config)
        following = processes.launch("run", [_command("flwr"), "log", str(run_id), _CONNECTION])
        processes.wait_until(lambda: following.process.poll() is not None, f"run {run_id} to complete")
        _require_completed(processes, run_id)


class _Files:
    """The folder of one run: keys, certificates, the shared secret, Flower's config."""

    def __init__(self, work: Path, nodes: int) -> None:
        self.work, self.logs, self.flower_home = work, work / "logs", work / "flwr"
        for folder in (self.work, self.logs, self.flower_home):
            folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        self.port, *self.node_ports = free_ports(1 + nodes)
        self.address = f"{HOST}:{self.port}"
        self.tls, self.secret = work / "superlink", work / "superexec.secret"
        now = dt.datetime.now(dt.UTC)
        authority = CertificateAuthority.create(work / "authority", "loopback", now)
        request = request_certificate(self.tls, "superlink")
        install_certificate(self.tls, authority.issue_server(request, "superlink", now), authority.certificate_pem)
        self.authority = self.tls / AUTHORITY_CERTIFICATE
        write_secret_file(self.secret, secrets.token_bytes(32), "the secret of the SuperExec")
        for number in range(nodes):
            node_public_key(self.node_key(number))
        config = _toml({"address": self.address, "root-certificates": str(self.authority)})
        text = f'[superlink]\ndefault = "{_CONNECTION}"\n\n[superlink.{_CONNECTION}]\n{config}'
        (self.flower_home / "config.toml").write_text(text, encoding="utf-8")

    def node_home(self, number: int) -> Path:
        """FLWR_HOME of one SuperNode; apart, or two that unpack the same app at once disturb each other."""
        return self.work / f"flwr-node-{number}"

    def node_key(self, number: int) -> Path:
        """Private key of one SuperNode; its public half is beside it, `.key.pub`."""
        return self.work / f"node-{number}.key"


def _environment(files: _Files) -> dict[str, str]:
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
    return {**os.environ, **ours}


def _command(name: str) -> str:
    beside = Path(sys.executable).parent / name
    found = str(beside) if beside.exists() else shutil.which(name)
    if found is None:
        raise FlowerFailed(f"the command {name} is not installed: pip install flwr")
    return found


def _options(options: Mapping[str, _Value]) -> list[str]:
    """Options as they stand on a command line; None for those that take no value."""
    return [str(word) for pair in options.items() for word in pair if word is not None]


def _start_superlink(files: _Files, processes: Processes) -> None:
    options: dict[str, _Value] = {
        "--host": HOST,
        "--port": files.port,
        "--ssl-ca-certfile": files.authority,
        "--ssl-certfile": files.tls / TLS_CERTIFICATE,
        "--ssl-keyfile": files.tls / TLS_KEY,
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


def _start_nodes(files: _Files, processes: Processes, homes: Sequence[Path]) -> None:
    """Register every node's key, start the nodes, and wait until the SuperLink has seen them all."""
    register = [_command("flwr"), "supernode", "register"]
    registering = [
        processes.launch(
            f"register-{number}",
            [*register, files.node_key(number).with_suffix(".key.pub"), _CONNECTION, "--name", f"node-{number}"],
        )
        for number in range(len(homes))
    ]
    for child in registering:
        processes.finish(child)
    for number, home in enumerate(homes):
        files.node_home(number).mkdir(mode=0o700)
        options: dict[str, _Value] = {
            "--superlink": files.address,
            "--root-certificates": files.authority,
            "--auth-supernode-private-key": files.node_key(number),
            "--node-config": f"home='{home}'",
            "--host": HOST,
            "--port": files.node_ports[number],
        }
        command = [_command("flower-supernode"), *_options(options)]
        processes.serve(f"node-{number}", command, FLWR_HOME=str(files.node_home(number)))
    processes.wait_until(lambda: _online(processes) == len(homes), "every SuperNode to be online")


def _online(processes: Processes) -> int:
    answer = _json(processes.call("nodes", [_command("flwr"), "supernode", "ls", _CONNECTION, "--format", "json"]))
    return sum(node.get("status") == "online" for node in answer.get("nodes", []))


def _submit(files: _Files, processes: Processes, project: Path, run_config: Mapping[str, str]) -> int:
    overrides = files.work / "run-config.toml"
    overrides.write_text(_toml(run_config), encoding="utf-8")
    words = ["--format", "json", "-c"]
    command: list[str | Path] = [_command("flwr"), "run", project.resolve(), _CONNECTION, *words, overrides]
    answer = _json(processes.call("submit", command))
    if not answer.get("success"):
        raise FlowerFailed(f"the SuperLink refused the run: {answer.get('error-message', answer)}")
    return int(answer["run-id"])


def _require_completed(processes: Processes, run_id: int) -> None:
    command = [_command("flwr"), "ls", _CONNECTION, "--run-id", str(run_id), "--format", "json"]
    (run,) = _json(processes.call("status", command)).get("runs", [{}])
    if run.get("status") != _COMPLETED:
        raise FlowerFailed(f"run {run_id} is {run.get('status')}, not completed: {run.get('status-details', '')}")


def _answers(port: int) -> bool:
    try:
        with socket.create_connection((HOST, port), timeout=1):
            return True
    except OSError:
        return False


def _toml(values: Mapping[str, str]) -> str:
    return "".join(f"{json.dumps(key)} = {json.dumps(value, ensure_ascii=False)}\n" for key, value in values.items())


def _json(text: str) -> dict[str, Any]:
    """The JSON object in what a `flwr` command printed."""
    try:
        return dict(json.loads(text[text.index("{") :]))
    except ValueError as error:
        raise FlowerFailed(f"Flower's command line answered without JSON: {text[:200]!r}") from error
