"""What a round of a scorecard costs in a deployment: three firms, every process of Flower's real, on loopback.

The same federation runs with executors that fork, and once as Flower runs it by itself, with a process for each message
that imports everything. Beside the seconds of a round stand the seconds of processor time of all processes: a machine
that has other work to do shows larger times, and the same processor time.
"""

from __future__ import annotations

import json
import tempfile
import tomllib
from collections.abc import Sequence
from pathlib import Path
from statistics import median

from clients.tasks.spec import parse_spec
from clients.tasks.task import task_for
from experiments.benchmarks.figure import Figure
from experiments.benchmarks.flower_alone import run_alone
from experiments.benchmarks.small_task import SPEC, TASK, table
from experiments.deployment import Deployment
from experiments.federation import FederatedTask, Federation, Terms, build
from server.training_config import TrainingConfig

COMMAND = "artesian bench deployed_round"
FIRMS, ROUNDS = 3, 5
_DEADLINE_S = 600.0
_PROJECT = Path(__file__).parents[2]


def run(rounds: int = ROUNDS, beside: bool = True) -> list[Figure]:
    """Measure; `beside` runs the same with a process for each message too, which takes minutes."""
    with tempfile.TemporaryDirectory() as folder:
        deployed, processor_s = _deployed(Path(folder) / "forking", rounds)
        compared = {"a process for each message": median(_a_process_each(Path(folder) / "each"))} if beside else {}
    name = f"a deployed round of a scorecard, {FIRMS} firms"
    return [
        Figure(name, median(deployed), "s", compared, len(deployed), COMMAND),
        Figure(f"processor time of a run of {rounds} rounds, all processes", processor_s, "s", {}, 1, COMMAND),
    ]


def _deployed(home: Path, rounds: int) -> tuple[Sequence[float], float]:
    """Seconds of each round, and of processor time of the whole run."""
    built = _federation(home, rounds)
    with Deployment(built, _DEADLINE_S) as deployment:
        deployment.start()
        before_s = deployment.processor_s()
        deployment.run({"task": TASK})
        return _round_s(built), deployment.processor_s() - before_s


def _a_process_each(home: Path) -> Sequence[float]:
    built = _federation(home, 1)
    homes = [built.member(firm) for firm in built.firms]
    config = {"home": str(built.coordinator), "task": TASK}
    run_alone(_PROJECT, homes, config, work=home / "flower", deadline_s=_DEADLINE_S)
    return _round_s(built)


def _round_s(built: Federation) -> Sequence[float]:
    return list(json.loads((built.coordinator / "runs" / f"{TASK}.json").read_text("utf-8"))["round_s"])


def _federation(home: Path, rounds: int) -> Federation:
    config = TrainingConfig.model_validate(
        {
            "training": {"rounds": rounds},
            "privacy": {"mode": "distributed", "epsilon": 4.0},
            "aggregation": {"kind": "masked", "deadline_s": 120},
        }
    )
    limits = {"min_cohort": 3, "colluders": 0, "epsilon": 20.0, "delta": 1e-5}
    parts = [table(number) for number in range(FIRMS)]
    task = task_for(parse_spec(tomllib.loads(SPEC), "benchmark"))
    return build(
        home, [FederatedTask(TASK, task, SPEC, parts, config)], Terms("simulation", 3, None, True, False, limits)
    )
