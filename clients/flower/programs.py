"""Flower's processes at a firm, as the supervisor starts them."""

from __future__ import annotations

import sys
from pathlib import Path

from clients.flower.node_home import NodeHome
from clients.supervision.program import Program, Touches


def firm_programs(home: Path, python: str = sys.executable) -> tuple[Program, ...]:
    """The SuperNode, which only ever calls the coordinator, and the executor, which answers its messages."""
    files = NodeHome(home.resolve())
    supernode = Program(
        name="supernode",
        command=(python, "-m", "clients.flower.supernode", "--home", str(files.home)),
        ready=Touches(files.socket),
        environment=files.environment,
    )
    executor = Program(
        name="executor",
        command=(python, "-m", "clients.flower.executor", "--home", str(files.home)),
        needs=(supernode.name,),
        ready=Touches(files.executor_ready),
        environment=files.environment,
    )
    return supernode, executor
