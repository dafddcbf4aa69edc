"""A run in float64, without grid, masks and ledger: the same clipped gradients, steps and deviations of noise.

For comparing many ways of training: one run takes the time of its gradients. Masks change no bit of a sum, and the grid
adds under a fiftieth to its noise (`artesian bench masked_accuracy`).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from clients.plan import Plan
from clients.tasks.architecture import Architecture
from clients.tasks.examples import Examples
from clients.training import clipped_gradient_sum
from server.descent import Descent

Vector = NDArray[np.float64]


def float_run(
    architecture: Architecture,
    held: Mapping[str, Examples],
    plans: Sequence[Plan],
    seed: int,
    initial_seed: int = 0,
) -> Vector:
    """The average float64[d] that a run of these plans would release; noise and samples follow from the seed.

    Args:
        held: the examples of each firm.
    """
    rng = np.random.Generator(np.random.PCG64([seed, 20]))
    descent = Descent.start(architecture.initial(initial_seed))
    parts = {member: rng.integers(1 << 30, size=one.units) for member, one in held.items()}
    kept: list[Vector] = []
    for plan in plans:
        if plan.local_steps > 1:
            total = sum(
                (_local(architecture, descent.parameters, one, plan, len(held), rng) for one in held.values()),
                np.zeros(plan.values),
            )
        else:
            total = _bare(architecture, descent.parameters, held, plan, parts, rng)
            if plan.correlated is not None:
                kept = [total, *kept][: plan.correlated.bands]
                total = plan.correlated.encode(kept)
            total = total + _noise(plan, len(held), rng) * math.sqrt(len(held))
        descent = descent.step(total, plan)
    return descent.average


def _bare(
    architecture: Architecture,
    parameters: Vector,
    held: Mapping[str, Examples],
    plan: Plan,
    parts: Mapping[str, NDArray[np.int64]],
    rng: np.random.Generator,
) -> Vector:
    total = np.zeros(plan.values)
    for member, one in held.items():
        examples = one
        if plan.correlated is not None:
            bands = plan.correlated.bands
            examples = one.sample(parts[member] % bands == plan.row % bands)
        elif plan.sampling_rate < 1.0:
            examples = one.sample(rng.random(one.units) < plan.sampling_rate)
        total[: plan.dimension] += clipped_gradient_sum(architecture, parameters, examples, plan.clip)
        if plan.weight:
            total[-1] += plan.weight * examples.units
    return total


def _local(
    architecture: Architecture,
    parameters: Vector,
    examples: Examples,
    plan: Plan,
    firms: int,
    rng: np.random.Generator,
) -> Vector:
    """The sum of a firm's noisy local steps."""
    total = np.zeros(plan.values)
    for _ in range(plan.local_steps):
        noisy = clipped_gradient_sum(architecture, parameters, examples, plan.clip) + _noise(plan, firms, rng)
        total += noisy
        parameters = parameters - plan.local_rate * noisy / max(examples.units, 1)
    return total


def _noise(plan: Plan, firms: int, rng: np.random.Generator) -> Vector:
    """One firm's."""
    if plan.privacy == "none":
        return np.zeros(plan.values)
    return np.asarray(rng.normal(size=plan.values) * plan.noise_std(firms))
