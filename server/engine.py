"""Where rounds of one machine run: in process, or in Ray workers. Same apps and messages as in a deployment.

Nothing else in this project imports Flower's internals: Flower moves fast, and this is where it is caught.
"""

from __future__ import annotations

from server.engines import EngineError, EngineUnreachable
from server.engines.control import RunConfig
from server.engines.grid import NodeConfig
from server.engines.in_process import run_in_process
from server.engines.ray_workers import run_ray

__all__ = [
    "EngineError",
    "EngineUnreachable",
    "NodeConfig",
    "RunConfig",
    "run_in_process",
    "run_ray",
]
