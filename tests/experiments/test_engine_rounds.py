"""The engines' benchmark: it measures what it says, and only engines that agree."""

from __future__ import annotations

import itertools

import pytest
from flwr.app import Context
from flwr.serverapp import Grid

from experiments.benchmarks import engine_rounds
from experiments.errors import ExperimentError
from server.engine import run_in_process


def test_figures_compare_the_two_engines(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine_rounds, "run_ray", run_in_process)
    figures = engine_rounds.run(runs=3, nodes=[{}] * 4)
    assert [(figure.unit, figure.runs, len(figure.beside)) for figure in figures] == [
        ("ms", 3, 1),
        ("times", 3, 0),
        ("ms", 1, 1),
    ]
    assert all("4 firms, echo" in figure.name and figure.value > 0 for figure in figures)


def test_engines_that_disagree_are_not_compared(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine_rounds, "run_ray", run_in_process)
    numbers = itertools.count()

    def one_round(grid: Grid, context: Context) -> bytes:
        return bytes([next(numbers)])

    with pytest.raises(ExperimentError, match="round 0 differs"):
        engine_rounds.run(runs=1, one_round=one_round)
