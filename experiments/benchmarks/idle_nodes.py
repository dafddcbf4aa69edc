"""The memory of Flower's processes at the coordinator with many firms that are connected and have nothing to do.

The firms are threads of one process that speak Flower's Fleet API: each has a key, is let in, and asks for messages.
What is measured is resident memory, from the operating system, of SuperLink with its fence and of the executor.
"""

from __future__ import annotations

import datetime as dt
import tempfile
import threading
import time
from pathlib import Path

import httpx
import tomli_w
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from clients.flower.node_home import LOOPBACK
from experiments.benchmarks.figure import Figure
from experiments.deployment import Deployment
from experiments.federation import Federation
from server.certificates import AUTHORITY_CERTIFICATE, CertificateAuthority, install_certificate, request_certificate
from server.engines.light_node import LightNode

COMMAND = "artesian bench idle_nodes"
NODES, SECONDS = 100, 40.0
_DEADLINE_S, _HEARTBEAT_S = 400.0, 600
_OPENSSH = serialization.Encoding.OpenSSH, serialization.PublicFormat.OpenSSH


def run(nodes: int = NODES, seconds: float = SECONDS) -> list[Figure]:
    """Connect so many nodes, let them idle for so long, and measure."""
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder) / "coordinator"
        _found(home)
        with Deployment(Federation(Path(folder), (), ()), _DEADLINE_S) as deployment:
            deployment.start()
            alone = deployment.resident_mib()
            stop = threading.Event()
            threads = [_node(deployment, number, stop) for number in range(nodes)]
            before_s = deployment.processor_s()
            time.sleep(seconds)
            spent_s = deployment.processor_s() - before_s
            found, online = deployment.resident_mib(), len(deployment.online())
            stop.set()
            for thread in threads:
                thread.join(30)
    where = f"{online} idle nodes connected"
    return [
        Figure(f"resident memory of SuperLink and executor, {where}", found, "MiB", {"without any": alone}, 1, COMMAND),
        Figure(f"processor time a minute, {where}", 60 * spent_s / seconds, "s", {}, 1, COMMAND),
    ]


def _found(home: Path) -> None:
    moment = dt.datetime.now(dt.UTC)
    authority = CertificateAuthority.create(home, "idle", moment)
    request = request_certificate(home, "coordinator")
    install_certificate(home, authority.issue_server(request, "coordinator", moment), authority.certificate_pem)
    (home / "coordinator.toml").write_text(tomli_w.dumps({"cid": "idle"}), encoding="utf-8")


def _node(deployment: Deployment, number: int, stop: threading.Event) -> threading.Thread:
    """A node that is let in and asks for messages until it is stopped."""
    key = ec.generate_private_key(ec.SECP384R1())
    deployment.control.register(f"firm-{number}", key.public_key().public_bytes(*_OPENSSH))
    thread = threading.Thread(target=_ask, args=(deployment, key, stop), daemon=True)
    thread.start()
    return thread


def _ask(deployment: Deployment, key: ec.EllipticCurvePrivateKey, stop: threading.Event) -> None:
    fleet = f"{LOOPBACK}:{deployment.network.fleet_port}"
    node = LightNode(fleet, deployment.coordinator / AUTHORITY_CERTIFICATE, key, _HEARTBEAT_S)
    while not stop.is_set():
        try:
            node.ask()
        except httpx.HTTPError:  # SuperLink goes first
            time.sleep(1)
    node.close()
