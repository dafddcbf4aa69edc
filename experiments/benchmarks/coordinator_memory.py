"""The memory of a whole coordinator through a masked round, by its number of firms.

Real firms with real homes train a perceptron over a few records each, and live in a process of their own. The
coordinator's process has everything else: the run, the ledger, the artifacts on disk, the sum. What is measured is its
peak resident memory, from the operating system, over what it has once it is up; and in a run of its own, what Python
and NumPy allocate at most. Not counted: the firms, the operating system's cache of files, and what a SuperLink's
server keeps, which is a process of its own.
"""

from __future__ import annotations

import gc
import json
import resource
import subprocess
import sys
import tempfile
import tomllib
import tracemalloc
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from multiprocessing import get_context
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import numpy as np

from clients.data import Table
from clients.tasks.spec import TaskSpec, parse_spec
from clients.tasks.task import task_for
from experiments.benchmarks.figure import Figure
from experiments.errors import ExperimentError
from experiments.federation import FederatedTask, Federation, Terms, build
from server.training_config import TrainingConfig

COMMAND = "artesian bench coordinator_memory"
FEW, MANY = 10, 100
PARAMETERS = 1_000_000
MIB = 2**20
_TASK, _RECORDS = "memory", 4
_SPEC = """
name = "memory"
kind = "credit"

[privacy]
unit = "row"

[model]
kind = "mlp"
hidden = [{hidden}]

[label]
column = "outcome"
positive = ["default"]
negative = ["paid"]
base_rate = 0.3

[[column]]
name = "outcome"
kind = "category"
values = ["default", "paid"]

[[column]]
name = "income"
kind = "number"
unit = "thousands a year"
min = 0
max = 100

[[feature]]
code = "income"
text = "Income"
from = "income"
bins = [20, 40, 60]
"""


def run(few: int = FEW, many: int = MANY, parameters: int = PARAMETERS) -> list[Figure]:
    """A run of one round for each number of firms, with and without tracing.

    Raises:
        ExperimentError: a run failed.
    """
    resident, traced = ({firms: _measure(firms, parameters, how) for firms in (few, many)} for how in ("rss", "traced"))
    where = f"{many} firms x {parameters:,} parameters"
    every = 3 * many * parameters / MIB
    return [
        Figure(
            f"peak memory of a coordinator's process {what}, {where}",
            found[many],
            "MiB",
            {f"with {few} firms": found[few], "all masked vectors together": every},
            1,
            COMMAND,
        )
        for what, found in (("over what it has when idle", resident), ("allocated by Python and NumPy", traced))
    ]


def _measure(firms: int, parameters: int, how: str) -> float:
    """MiB that a coordinator of its own process needs at most for a run with so many firms."""
    with tempfile.TemporaryDirectory() as folder:
        _federation(Path(folder) / "home", firms, parameters)
        command = [sys.executable, "-m", __name__, str(Path(folder) / "home"), how]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise ExperimentError(f"coordinator_memory: {firms} firms: {done.stderr.strip().splitlines()[-1:]}")
    return float(json.loads(done.stdout.splitlines()[-1]))


def _federation(home: Path, firms: int, parameters: int) -> Federation:
    inputs = task_for(_spec(_SPEC.format(hidden=1))).architecture.inputs
    text = _SPEC.format(hidden=parameters // (inputs + 2))
    config = TrainingConfig.model_validate(
        {"training": {"rounds": 1}, "privacy": {"mode": "none"}, "aggregation": {"kind": "masked", "ring_bits": 24}}
    )
    limits = {"min_cohort": 3, "colluders": 0, "epsilon": 20.0, "delta": 1e-5, "without_privacy": True}
    one = FederatedTask(_TASK, task_for(_spec(text)), text, [_table(number) for number in range(firms)], config)
    return build(home, [one], Terms("memory", 3, None, True, False, limits))


def _spec(text: str) -> TaskSpec:
    return parse_spec(tomllib.loads(text), "benchmark")


def _table(number: int) -> Table:
    rng = np.random.default_rng(number)
    income = rng.uniform(0, 100, _RECORDS).round(1)
    outcome = np.where(np.arange(_RECORDS) % 2, "default", "paid")
    return Table({"outcome": outcome, "income": income}, _RECORDS)


def coordinate(home: Path, how: str) -> float:
    """Train with firms that live in another process; returns the peak in MiB.

    Args:
        how: `rss` for resident memory over that of the idle process, `traced` for what is allocated.
    """
    from server.app import app as server_app
    from server.engines.grid import DirectGrid, run_server_app

    nodes = [{"home": str(path)} for path in sorted((home / "firms").iterdir())]
    config = {"home": str(home / "coordinator"), "task": _TASK}
    with _firms_elsewhere() as firms:
        grid = DirectGrid(nodes, config, lambda message, context: (_asked(firms, message, context), context))
        gc.collect()
        idle = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        if how == "traced":
            tracemalloc.start()
        run_server_app(server_app, grid, config)
        if how == "traced":
            return tracemalloc.get_traced_memory()[1] / MIB
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024 - idle


def _asked(firms: Connection, *message_and_context: Any) -> Any:
    """The reply of a firm in the other process."""
    firms.send(message_and_context)
    return firms.recv()


@contextmanager
def _firms_elsewhere() -> Iterator[Connection]:
    spawn = get_context("spawn")
    ours, theirs = spawn.Pipe()
    process = spawn.Process(target=_firms, args=(theirs,), daemon=True)
    process.start()
    try:
        yield ours
    finally:
        ours.send(None)
        process.join(60)


def _firms(coordinator: Connection) -> None:
    """Answer for every firm, one message after the other, until told to stop."""
    from clients.app import app as client_app
    from server.engines.answering import answer

    while (asked := coordinator.recv()) is not None:
        coordinator.send(answer(client_app, *asked))


def main(arguments: Sequence[str]) -> None:
    """What `run` starts in a process of its own."""
    print(json.dumps(coordinate(Path(arguments[0]), arguments[1])))


if __name__ == "__main__":
    main(sys.argv[1:])
