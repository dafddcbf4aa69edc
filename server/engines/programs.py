"""Flower's processes at the coordinator, as the supervisor starts them."""

from __future__ import annotations

import sys
from pathlib import Path

from clients.supervision.program import Listens, Program, Touches
from server.engines.flower_home import FlowerHome
from server.network import Network

EXECUTOR_READY = Path("run", "executor.ready")


def coordinator_programs(home: Path, network: Network, python: str = sys.executable) -> tuple[Program, ...]:
    """SuperLink with its fence, one process on two ports, and the executor of its ServerApp."""
    home = home.resolve()
    files = FlowerHome(home, network)
    superlink = Program(
        name="superlink",
        command=(python, "-m", "server.engines.superlink_service", "--home", str(home)),
        ready=Listens(files.address),
        environment=files.environment,
    )
    executor = Program(
        name="executor",
        command=(python, "-m", "server.engines.executor", "--home", str(home)),
        needs=(superlink.name,),
        ready=Touches(home / EXECUTOR_READY),
        environment=files.environment,
    )
    return superlink, executor
