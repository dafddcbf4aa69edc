"""How long `artesian --help` takes, beside an interpreter that does nothing and one that imports the trainer."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence
from statistics import median
from time import perf_counter

from experiments.benchmarks.figure import Figure
from experiments.errors import ExperimentError

COMMAND = "artesian bench startup"
_HELP = ("-m", "artesian", "--help")
_BESIDE = {"python -c pass": ("-c", "pass"), "python -c 'import torch'": ("-c", "import torch")}
_TIMEOUT_S = 60


def run(runs: int = 9) -> list[Figure]:
    """Time `runs` processes of each kind, in turn, after one of each that warms the disk's cache.

    Raises:
        ExperimentError: one of them failed.
    """
    kinds = {"": _HELP, **_BESIDE}
    taken: dict[str, list[float]] = {kind: [] for kind in kinds}
    for _ in range(runs + 1):
        for kind, arguments in kinds.items():
            taken[kind].append(_time_ms(arguments))
    medians = {kind: median(times[1:]) for kind, times in taken.items()}
    return [Figure("artesian --help", medians.pop(""), "ms", medians, runs, COMMAND)]


def _time_ms(arguments: Sequence[str]) -> float:
    command = [sys.executable, *arguments]
    began = perf_counter()
    done = subprocess.run(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, timeout=_TIMEOUT_S, check=False)
    took_ms = (perf_counter() - began) * 1000
    if done.returncode != 0:
        problem = done.stderr.decode(errors="replace").strip().splitlines()[-1:]
        raise ExperimentError(f"startup: {' '.join(arguments)} failed: {' '.join(problem)}")
    return took_ms
