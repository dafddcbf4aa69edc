"""A federation's homes deployed on loopback: SuperLink, SuperNodes and executors, each in a process of its own.

For benchmarks and tests: it does by itself what founding, joining and the supervisor do for a real consortium.
"""

from __future__ import annotations

import os
import shutil
import tempfile
import time
import tomllib
from collections.abc import Callable, Mapping
from pathlib import Path
from types import TracebackType

import tomli_w
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from clients.connection import CONNECTION, NODE_KEY
from clients.flower.node_home import NodeHome
from clients.flower.programs import firm_programs
from clients.supervision.program import Program, Touches
from experiments.federation import Federation
from ledger.secret_files import write_secret_file
from server.certificates import AUTHORITY_CERTIFICATE
from server.coordinator import CONFIG_FILE
from server.engines import EngineUnreachable
from server.engines.flower_control import FlowerControl
from server.engines.loopback import free_ports
from server.engines.processes import Processes
from server.engines.programs import coordinator_programs
from server.network import Network, load_network

_POLL_S = 1.0


class Deployment:
    """The processes of one federation, from `start` to the end of the context.

    Args:
        built: its homes; they get ports, keys of SuperNodes and connections.
        firms: which of them to start; all if left out.
        deadline_s: from now; nothing is waited for any longer.
    """

    def __init__(self, built: Federation, deadline_s: float, firms: tuple[str, ...] | None = None) -> None:
        self._built, self.firms = built, built.firms if firms is None else firms
        self.logs = Path(tempfile.mkdtemp(prefix="artesian-deployment-"))
        self.network = give_ports(built.coordinator)
        self.control = FlowerControl(built.coordinator, self.network)
        environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(Path(__file__).parents[1])}
        self._processes = Processes(self.logs, environment, time.monotonic() + deadline_s)
        self._keys = {firm: connect(built, firm, self.network) for firm in self.firms}

    def __enter__(self) -> Deployment:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self._processes.stop()
        if error is None:
            shutil.rmtree(self.logs, ignore_errors=True)

    def start(self) -> None:
        """Start everything; returns when every firm's node is online."""
        for program in coordinator_programs(self._built.coordinator, self.network):
            self.serve("coordinator", program)
        for firm, key in self._keys.items():
            self.control.register(firm, key)
        for firm in self.firms:
            for program in self.programs(firm):
                self.launch(firm, program)
        self.wait_until(lambda: self.online() == set(self.firms), "every firm to be online")
        ready = [NodeHome(self._built.member(firm)).executor_ready for firm in self.firms]
        self.wait_until(lambda: all(file.exists() for file in ready), "every firm's executor")

    @property
    def coordinator(self) -> Path:
        """The coordinator's home."""
        return self._built.coordinator

    def member(self, firm: str) -> Path:
        """A firm's home."""
        return self._built.member(firm)

    def programs(self, firm: str) -> tuple[Program, ...]:
        """The SuperNode and the executor of a firm."""
        return firm_programs(self._built.member(firm))

    def serve(self, owner: str, program: Program) -> None:
        """Start one process and wait until it is ready."""
        self.launch(owner, program)
        ready = program.ready.path.exists if isinstance(program.ready, Touches) else self._superlink_answers
        self.wait_until(ready, f"{owner}'s {program.name}")

    def launch(self, owner: str, program: Program) -> None:
        """Start one process."""
        if isinstance(program.ready, Touches):
            program.ready.path.unlink(missing_ok=True)
        self._processes.serve(f"{owner}-{program.name}", program.command, **program.environment)

    def kill(self, owner: str, program: Program) -> None:
        """Kill one process, as a crash would."""
        self._processes.kill(f"{owner}-{program.name}")

    def pid(self, owner: str, program: Program) -> int:
        """One of the processes."""
        return self._processes.pid(f"{owner}-{program.name}")

    def processor_s(self) -> float:
        """Seconds of processor time that all processes took so far."""
        return self._processes.processor_s()

    def online(self) -> set[str]:
        """The firms whose SuperNodes are connected."""
        return {node.name for node in self.control.nodes() if node.online}

    def run(self, run_config: Mapping[str, str]) -> int:
        """Submit a run and wait for its end; returns its number."""
        run_id = self.control.submit(run_config)
        ends = {"completed", "failed", "stopped"}

        def has_ended() -> bool:
            time.sleep(_POLL_S)  # each question costs SuperLink a hundredth of a second
            return self.control.run(run_id).phase in ends

        self.wait_until(has_ended, f"run {run_id} to end")
        return run_id

    def wait_until(self, ready: Callable[[], bool], what: str) -> None:
        """As `Processes.wait_until`."""
        self._processes.wait_until(ready, what)

    def _superlink_answers(self) -> bool:
        try:
            self.control.nodes()
        except EngineUnreachable:
            return False
        return True


def give_ports(coordinator: Path) -> Network:
    """Write free ports into a `coordinator.toml`."""
    path = coordinator / CONFIG_FILE
    document = tomllib.loads(path.read_text("utf-8"))
    names = ("superlink_port", "fleet_port", "ledger_port", "enrolment_port", "scores_port", "metrics_port")
    document["network"] = dict(zip(names, free_ports(len(names)), strict=True))
    path.write_text(tomli_w.dumps(document), encoding="utf-8")
    return load_network(coordinator)


def connect(built: Federation, firm: str, network: Network) -> bytes:
    """Give a firm's home what joining gives it; returns the public key of its SuperNode (OpenSSH)."""
    home = built.member(firm)
    shutil.copyfile(built.coordinator / AUTHORITY_CERTIFICATE, home / AUTHORITY_CERTIFICATE)
    connection = {
        "member": firm,
        "kind": "firm",
        "cid": "simulation",
        "enrolment": network.address(network.enrolment_port),
        "ledger": network.address(network.ledger_port),
        "fleet": network.address(network.fleet_port),
        "authority_sha256": "0" * 64,
    }
    (home / CONNECTION).write_text(tomli_w.dumps(connection), encoding="utf-8")
    key = ec.generate_private_key(ec.SECP384R1())
    form = serialization.Encoding.PEM, serialization.PrivateFormat.OpenSSH, serialization.NoEncryption()
    write_secret_file(home / NODE_KEY, key.private_bytes(*form), "the SuperNode's key")
    return key.public_key().public_bytes(serialization.Encoding.OpenSSH, serialization.PublicFormat.OpenSSH)
