"""`coordinator up` and `firm up` as they are: before the founding and after, fenced and proxied, killed and stopped.

The coordinator has a name that nothing resolves but the firm's HTTP proxy: what does not go through it does not arrive.
It listens on 127.0.0.1 only, and the name is 127.0.0.2, which nginx has: what nginx does not let through does not
arrive either. On a machine without nginx the name is 127.0.0.1 (continuous integration insists on nginx elsewhere).
"""

import json
import os
import shutil
import signal
import socket
import ssl
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
from connect_proxy import ConnectProxy

from clients.supervision.marked import marked
from clients.supervision.status import read_status
from server.certificates import AUTHORITY_CERTIFICATE
from server.engines.loopback import free_ports
from server.network import Network, load_network

pytestmark = [pytest.mark.integration, pytest.mark.timeout(400)]

ROOT = Path(__file__).parents[2]
NAME, FRONT, BEHIND = "coordinator.test", "127.0.0.2", "127.0.0.1"
DEADLINE_S = 150.0
ENVIRONMENT = {**os.environ, "OMP_NUM_THREADS": "1"}


def artesian(*words: str | Path) -> dict[str, Any]:
    command = [sys.executable, "-m", "artesian", *map(str, words), "--json"]
    done = subprocess.run(command, capture_output=True, text=True, env=ENVIRONMENT, check=False, timeout=DEADLINE_S)
    assert done.stdout, done.stderr
    return dict(json.loads(done.stdout))


def up(role: str, home: Path) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "artesian", role, "up", "--home", str(home), "--json"]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, env=ENVIRONMENT)


def wait_for(what: Callable[[], bool], words: str) -> None:
    end_s = time.monotonic() + DEADLINE_S
    while not what():
        assert time.monotonic() < end_s, f"the deadline passed: {words}"
        time.sleep(0.2)


def all_ready(home: Path) -> bool:
    status = read_status(home)
    return status is not None and all(one.state == "ready" for one in status.programs)


def pid_of(home: Path, name: str) -> int | None:
    status = read_status(home)
    assert status is not None
    return next(one.pid for one in status.programs if one.name == name)


@contextmanager
def nginx(coordinator: Path, folder: Path) -> Iterator[str]:
    """Put the example of nginx before a coordinator; gives the address that members reach."""
    if shutil.which("nginx") is None:
        yield BEHIND
        return
    network = load_network(coordinator)
    text = (ROOT / "deploy" / "nginx.conf").read_text("utf-8")
    for name in ("enrolment_port", "ledger_port", "fleet_port", "scores_port"):
        text = text.replace(f":{getattr(Network(), name)}", f":{getattr(network, name)}")
    text = text.replace("203.0.113.10", FRONT).replace("/var/lib/artesian/coordinator", str(coordinator))
    (folder / "nginx.conf").write_text(text.replace("/run/nginx.pid", str(folder / "nginx.pid")), encoding="utf-8")
    command = ["nginx", "-c", folder / "nginx.conf", "-e", folder / "nginx.log", "-g", "daemon off;"]
    process = subprocess.Popen(command)
    try:
        wait_for(lambda: _listens(FRONT, network.fleet_port), "nginx")
        yield FRONT
    finally:
        process.terminate()
        process.wait(DEADLINE_S)


def _listens(host: str, port: int) -> bool:
    try:
        with socket.create_connection((host, port), 1):
            return True
    except OSError:
        return False


def _only_the_fleet_api_gets_in(coordinator: Path, front: str) -> None:
    """Asked with the consortium's certificate, by name, as a member would."""
    network = load_network(coordinator)
    trusted = ssl.create_default_context(cafile=str(coordinator / AUTHORITY_CERTIFICATE))
    asked = {
        "/v1/control/list-runs": 404,
        "/v1/runtime/acquire-task": 404,
        "/health": 404,
        "/v1/fleet/../control/list-runs": 404,
        "/v1/fleet/pull-messages": 401,
    }
    headers = {"host": NAME}
    with httpx.Client(verify=trusted, trust_env=False, headers=headers) as client:
        for path, status in asked.items():
            url = httpx.URL(f"https://{front}:{network.fleet_port}", raw_path=path.encode())
            answer = client.post(url, extensions={"sni_hostname": NAME}, timeout=30)
            assert answer.status_code == status, path
            assert front == BEHIND or (status != 404) == (b"nginx" not in answer.content), "it got through to SuperLink"


def test_a_coordinator_and_a_firm_behind_a_proxy_come_up_and_go_down(tmp_path: Path) -> None:
    coordinator, firm = tmp_path / "coordinator", tmp_path / "firm-1"
    names = ("enrolment", "ledger", "fleet", "scores", "superlink", "metrics", "dashboard")
    ports = [word for name, port in zip(names, free_ports(7), strict=True) for word in (f"--{name}-port", str(port))]
    where = ["--host", NAME, "--bind", BEHIND]
    artesian("coordinator", "init", "--home", coordinator, "--cid", "c1", *where, "--firm", "firm-1", *ports)
    supervisors = [up("coordinator", coordinator)]
    try:
        with nginx(coordinator, tmp_path) as front, ConnectProxy(NAME, front) as proxy:
            _tell(coordinator, firm, proxy, supervisors)
            _only_the_fleet_api_gets_in(coordinator, front)
    finally:
        for one in supervisors:
            one.send_signal(signal.SIGTERM)
        codes = [one.wait(DEADLINE_S) for one in supervisors]
    assert codes == [0, 0]
    for home in (coordinator, firm):
        status = read_status(home)
        assert status is not None
        assert status.state == "stopped"
        assert marked(f"{status.token}/") == []


def _tell(coordinator: Path, firm: Path, proxy: ConnectProxy, supervisors: list[subprocess.Popen[str]]) -> None:
    first = supervisors[0].stdout
    assert first is not None
    said = json.loads(first.readline())
    assert {one["name"] for one in said["programs"] if one["state"] == "ready"} == {"enrolment"}

    invite = coordinator / "invites" / "firm-1.txt"
    artesian("firm", "join", invite, "--home", firm, "--yes", "--wait-s", "0", "--proxy", proxy.url)
    assert artesian("coordinator", "admit", "--all", "--home", coordinator)["founded"]
    supervisors.append(up("firm", firm))  # which finishes joining too
    wait_for(lambda: all_ready(coordinator), "the coordinator's programs, once the ledger is founded")
    wait_for(lambda: all_ready(firm), "the firm's programs")
    network = load_network(coordinator)
    services = {network.enrolment_port, network.ledger_port, network.fleet_port}
    wait_for(lambda: proxy.ports == services, "the firm to reach desk, ledger and fleet by its proxy")
    assert proxy.refused == []
    assert artesian("firm", "processes", "--home", firm)["ok"]

    before = pid_of(coordinator, "ledger")
    assert before is not None
    os.kill(before, signal.SIGKILL)
    wait_for(lambda: pid_of(coordinator, "ledger") not in (None, before), "the ledger to start again")
    wait_for(lambda: all_ready(coordinator), "the ledger to be ready again")
