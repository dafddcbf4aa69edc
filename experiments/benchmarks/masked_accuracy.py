"""What masking and summed weights cost in accuracy: AUC of the loans task, beside plain averaging in float64.

The masked runs are whole ones: firms quantise, add integer noise, mask, and the coordinator opens their sum. Beside
them the same clipped gradients of the same firms are added up in float64, with no grid and no masks: without noise, and
with the very draws of the masked run, where all that differs is the quantiser. What noise alone does to the AUC is seen
between two float64 averages: with those draws, and with fresh continuous Gaussian ones of the same deviation.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from statistics import fmean, stdev

import numpy as np
from numpy.typing import NDArray

from clients.discrete_gaussian import discrete_gaussian
from clients.noise import RandomStream
from clients.plan import Plan
from clients.tasks.examples import Examples
from clients.training import Protection, bounded_gradient_sum
from experiments.benchmarks.figure import Figure
from experiments.benchmarks.tables import CONFIGS, SHIPPED
from experiments.firm_names import firm_names
from experiments.simulation import Prepared, declared_units, prepare, simulate
from experiments.simulation_config import SimulationConfig, load_simulation_config
from server.descent import Descent

COMMAND = "artesian bench masked_accuracy"
CONFIG = "loans.toml"
TABLE = "loans.csv.gz"
Vector = NDArray[np.float64]
Noise = Callable[[str, Plan], Vector]
"""Noise float64[plan.values] of a firm in a round."""


@dataclass(frozen=True)
class Case:
    """One seed of split, division and noise, with one way of training."""

    config: SimulationConfig

    @property
    def _files(self) -> tuple[Path, Path]:
        return CONFIGS / self.config.data.spec, SHIPPED / TABLE

    @cached_property
    def _prepared(self) -> Prepared:
        return prepare(self.config, *self._files)

    @cached_property
    def _examples(self) -> dict[str, Examples]:
        names, parts = firm_names(len(self._prepared.parts)), self._prepared.parts
        return {name: self._prepared.task.examples(part) for name, part in zip(names, parts, strict=True)}

    def masked(self) -> float:
        """AUC of a whole masked run, in memory and without a ledger, which changes no figure."""
        figures = simulate(self.config, *self._files, None, lambda _: None)["credit"]
        return float(figures["auc_federated"])

    def averaged(self, noise: Noise | None = None) -> float:
        """AUC of plain averaging in float64."""
        prepared, architecture = self._prepared, self._prepared.task.architecture
        descent = Descent.start(architecture.initial(self.config.training.initial_seed))
        for plan in self.config.plans(prepared.task, declared_units(prepared), 1):
            total = np.zeros(plan.values)
            protection = Protection(plan.clip, plan.box, plan.sampling_rate, plan.weight)
            for member, held in self._examples.items():
                stream = RandomStream.seeded(0)  # every unit is sampled: nothing is drawn from it
                total += bounded_gradient_sum(architecture, descent.parameters, held, protection, stream)
                if noise is not None:
                    total += noise(member, plan)
            descent = descent.step(total, plan)
        return float(prepared.task.evaluate(descent.average, prepared.held_out)["auc"])

    def same_draws(self, member: str, plan: Plan) -> Vector:
        """The noise that the simulated firm draws in its masked run, as reals."""
        grid = plan.grid(self.config.partition.firms)
        stream = RandomStream.seeded(self.config.seed, member, self._prepared.task.spec.name, plan.number)
        noise: Vector = discrete_gaussian(stream, grid.sigma, plan.values).astype(np.float64) * grid.step
        return noise

    def fresh_draws(self, member: str, plan: Plan) -> Vector:
        """Continuous Gaussian noise of the same deviation; alike for declared and summed weights but for its scale."""
        labels = [self.config.seed, plan.number, *member.encode()]
        drawn = np.random.Generator(np.random.PCG64(labels)).normal(size=plan.dimension + 1)
        noise: Vector = drawn[: plan.values] * plan.noise_std(self.config.partition.firms)
        return noise


def run(runs: int = 12, many: int = 60) -> list[Figure]:
    """Means over seeds of split, division and noise; what stands side by side has the same seeds.

    Args:
        runs: seeds of comparisons with masked runs.
        many: seeds where both sides are float64 averaging, which is quick, and differ by their draws.
    """
    bare = [_case(seed, private=False) for seed in range(1, runs + 1)]
    declared = [_case(seed) for seed in range(1, many + 1)]
    summed = [_case(seed, weighting="summed") for seed in range(1, many + 1)]
    fresh = [case.averaged(case.fresh_draws) for case in declared]
    return [
        _figure("masked, no noise", [c.masked() for c in bare], "float64, no noise", [c.averaged() for c in bare]),
        *(
            _figure(
                f"masked, epsilon 3, {what} weights",
                [c.masked() for c in cases[:runs]],
                "float64, the same draws",
                [c.averaged(c.same_draws) for c in cases[:runs]],
            )
            for what, cases in (("declared", declared), ("summed", summed))
        ),
        _figure(
            "float64, epsilon 3, the masked runs' draws",
            [c.averaged(c.same_draws) for c in declared],
            "fresh Gaussian noise of the same deviation",
            fresh,
        ),
        _figure(
            "float64, epsilon 3, summed weights",
            [c.averaged(c.fresh_draws) for c in summed],
            "the same draws, declared weights",
            fresh,
        ),
    ]


def _case(seed: int, *, private: bool = True, weighting: str = "declared") -> Case:
    document = load_simulation_config(CONFIGS / CONFIG).model_dump()
    document.update(seed=seed, ledger=False, baselines=False)
    document["training"]["weighting"] = weighting
    if not private:
        document["privacy"].update(mode="none", epsilon=None)
    return Case(SimulationConfig.model_validate(document))


def _figure(what: str, found: Sequence[float], other: str, others: Sequence[float]) -> Figure:
    """Mean AUC; beside it the other way's, the mean difference with its standard error, and the largest of one run."""
    away = [one - two for one, two in zip(found, others, strict=True)]
    beside = {
        other: fmean(others),
        "mean difference": fmean(away),
        "its standard error": stdev(away) / len(away) ** 0.5 if len(away) > 1 else 0.0,
        "largest difference of one run": max(map(abs, away)),
    }
    rounded = {name: round(value, 7) for name, value in beside.items()}
    return Figure(f"loans, 8 firms, {what}", round(fmean(found), 7), "AUC", rounded, len(found), COMMAND)
