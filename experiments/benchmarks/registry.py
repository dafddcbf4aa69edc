"""The benchmarks by name; each is a module of this package whose `run()` measures, imported when it is asked for."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module

from experiments.benchmarks.figure import Figure
from experiments.errors import ExperimentError

# In the order in which `artesian bench` runs them: a module of this package, and what it measures.
BENCHMARKS: dict[str, str] = {
    "startup": "how long artesian --help takes",
    "masked_round": "what masking adds to a round",
    "engine_rounds": "what an engine costs a round",
}


class UnknownBenchmark(ExperimentError):
    """No benchmark has this name."""


def benchmark(name: str) -> Callable[[], list[Figure]]:
    """The benchmark of that name, ready to run.

    Raises:
        UnknownBenchmark: naming those that there are.
    """
    if name not in BENCHMARKS:
        raise UnknownBenchmark(f"no benchmark {name!r}; there are {', '.join(BENCHMARKS)}")
    run: Callable[[], list[Figure]] = import_module(f"{__package__}.{name}").run
    return run
