"""What an engine costs: the same rounds, with the same results, in this process and in Ray workers.

Give it the round and the ClientApp to measure; left out, both are an echo, and what is measured is the
engine alone. Starting an engine (Ray takes seconds) stands on its own line.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from statistics import median
from time import perf_counter
from typing import Protocol

import numpy as np
from flwr.app import ArrayRecord, Context, Message, RecordDict
from flwr.clientapp import ClientApp
from flwr.serverapp import Grid, ServerApp

from experiments.benchmarks.figure import Figure
from experiments.errors import ExperimentError
from server.engine import NodeConfig, RunConfig, run_in_process, run_ray

FIRMS = 100
COMMAND = "artesian bench engine_rounds"

OneRound = Callable[[Grid, Context], bytes]
"""One round on the grid's nodes; returns what it computed, which every engine must agree on."""

echo_app = ClientApp()


class _Engine(Protocol):
    def __call__(
        self,
        server_app: ServerApp,
        client_app: ClientApp,
        nodes: Sequence[NodeConfig],
        run_config: RunConfig,
        seed: int = 0,
    ) -> Context: ...


@dataclass(frozen=True)
class _Measured:
    start_ms: float  # from the call of the engine to the end of its first round, and from the last to its end
    rounds_ms: tuple[float, ...]
    results: tuple[bytes, ...]


@echo_app.train()
def echo(message: Message, context: Context) -> Message:
    """Send the model back as it came."""
    return Message(message.content, reply_to=message)


def echo_round(grid: Grid, context: Context) -> bytes:
    """Send 100 numbers to every node and join what comes back."""
    content = RecordDict({"model": ArrayRecord([np.arange(100.0)])})
    replies = grid.send_and_receive([Message(content, node, "train") for node in grid.get_node_ids()])
    return b"".join(array.data for reply in replies for array in reply.content.array_records["model"].values())


def run(
    runs: int = 9,
    one_round: OneRound = echo_round,
    client_app: ClientApp = echo_app,
    nodes: Sequence[NodeConfig] | None = None,
    run_config: Mapping[str, bool | int | float | str] | None = None,
    what: str = "echo",
) -> list[Figure]:
    """Measure `runs` rounds on each engine, after one that warms it up; every figure is a median.

    Args:
        runs: rounds to measure.
        one_round: the server's side of a round.
        client_app: the nodes' side; its module must be importable in Ray's workers.
        nodes: one node_config a node; None stands for 100 firms without settings.
        run_config: read by both sides.
        what: what the round does, for the figures' names.

    Raises:
        ExperimentError: the engines came to different results from the same seed.
    """
    nodes = nodes if nodes is not None else [{}] * FIRMS
    here, there = (
        _measure(engine, runs, one_round, client_app, nodes, run_config or {}) for engine in (run_in_process, run_ray)
    )
    for number, (one, other) in enumerate(zip(here.results, there.results, strict=True)):
        if one != other:
            raise ExperimentError(f"engine_rounds: round {number} differs between the in-process engine and Ray")
    where, ray = f"{len(nodes)} firms, {what}", f"Ray, {os.cpu_count()} workers"
    in_process_ms, ray_ms = median(here.rounds_ms), median(there.rounds_ms)
    return [
        Figure(f"round in process, {where}", in_process_ms, "ms", {ray: ray_ms}, runs, COMMAND),
        Figure(f"Ray round over round in process, {where}", ray_ms / in_process_ms, "times", {}, runs, COMMAND),
        Figure(f"start in process, {where}", here.start_ms, "ms", {ray: there.start_ms}, 1, COMMAND),
    ]


def _measure(
    engine: _Engine,
    runs: int,
    one_round: OneRound,
    client_app: ClientApp,
    nodes: Sequence[NodeConfig],
    run_config: RunConfig,
) -> _Measured:
    server_app, rounds_ms, results = ServerApp(), list[float](), list[bytes]()

    @server_app.main()
    def main(grid: Grid, context: Context) -> None:
        for _ in range(runs + 1):
            began = perf_counter()
            results.append(one_round(grid, context))
            rounds_ms.append((perf_counter() - began) * 1000)

    began = perf_counter()
    engine(server_app, client_app, nodes, run_config)
    whole_ms = (perf_counter() - began) * 1000
    return _Measured(whole_ms - sum(rounds_ms[1:]), tuple(rounds_ms[1:]), tuple(results))
