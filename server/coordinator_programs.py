"""What `artesian coordinator up` runs: join desk, ledger, SuperLink and its executor, runner, scores, metrics."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

from clients.flower.node_home import LOOPBACK, flower_environment
from clients.supervision.program import Listens, Program
from ledger.homes import POLICY, SETTINGS
from server.certificates import TLS_CERTIFICATE
from server.engines.programs import coordinator_programs as flower_programs
from server.network import CONFIG_FILE, Network, load_network

_ANY = ("0.0.0.0", "::")


def coordinator_programs(home: Path, python: str = sys.executable) -> list[Program]:
    """All processes of the coordinator. Before the founding all but the join desk wait for it.

    Raises:
        NetworkInvalid: there is no `coordinator.toml`, or `[network]` in it cannot be read.
    """
    home = home.resolve()
    network = load_network(home)
    certificate, config = home / TLS_CERTIFICATE, home / CONFIG_FILE

    def ours(name: str, port: int | None, *words: str) -> Program:
        command = (python, "-m", "artesian", *words, "--home", str(home))
        return Program(name, command, ready=None if port is None else Listens(_address(network, port)))

    enrolment = replace(ours("enrolment", network.enrolment_port, "coordinator", "enrolment"), reads=(certificate,))
    serve = ("ledger", "serve", "--address", _joined(network.bind, network.ledger_port))
    ledger = replace(ours("ledger", network.ledger_port, *serve), reads=(certificate,))
    superlink, executor = flower_programs(home, network, python)
    runner = replace(ours("runner", None, "coordinator", "runner"), needs=("ledger", "superlink"), reads=(config,))
    listening = ("--host", network.bind, "--port", str(network.scores_port))
    scores = replace(
        ours("scores", network.scores_port, "coordinator", "scores", *listening),
        needs=("ledger",),
        reads=(certificate,),
        essential=False,
    )
    programs = [
        enrolment,
        _once_founded(home, ledger),
        _once_founded(home, superlink),
        replace(executor, needs=(*executor.needs, "ledger")),
        runner,
        scores,
        _once_founded(home, replace(ours("metrics", None, "coordinator", "metrics"), reads=(config,), essential=False)),
    ]
    return [replace(one, environment={**flower_environment(), **one.environment}) for one in programs]


def _once_founded(home: Path, program: Program) -> Program:
    return replace(program, after=(home / POLICY, home / SETTINGS), after_words="all founders to be admitted")


def _address(network: Network, port: int) -> str:
    """Where this machine reaches what listens on `bind`."""
    return _joined(LOOPBACK if network.bind in _ANY else network.bind, port)


def _joined(host: str, port: int) -> str:
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
