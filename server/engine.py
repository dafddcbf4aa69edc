"""Where rounds run: in process, in Ray workers, or on a SuperLink. Same apps, same messages.

Nothing else in this project imports Flower's internals: Flower moves fast, and this is where it is caught.
"""

from __future__ import annotations

from server.engines import EngineError, EngineUnreachable
from server.engines.grid import NodeConfig, RunConfig
from server.engines.in_process import run_in_process
from server.engines.ray_workers import run_ray
from server.engines.superlink import RunFailed, SuperLinkRun, run_superlink

__all__ = [
    "EngineError",
    "EngineUnreachable",
    "NodeConfig",
    "RunConfig",
    "RunFailed",
    "SuperLinkRun",
    "run_in_process",
    "run_ray",
    "run_superlink",
]
