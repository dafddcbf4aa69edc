"""What privacy costs a training step: clipped unit gradients beside plain SGD of the same model, on one thread.

Each way is timed in turn with plain SGD, round by round, in processor time; a figure is the median of the rounds'
ratios, so that what slows the machine for a while slows both sides of a ratio.
"""

from __future__ import annotations

from statistics import median
from time import process_time

import numpy as np

from clients.tasks.linear_model import LinearModel
from clients.tasks.losses import HorizonPinball, LogLoss, SmoothPinball
from clients.tasks.perceptron import Perceptron
from clients.tasks.recurrent import RecurrentModel
from experiments.benchmarks.figure import Figure
from experiments.benchmarks.one_thread import one_thread
from experiments.benchmarks.sgd_steps import (
    Batch,
    Step,
    Way,
    opacus_step,
    plain_step,
    private_step,
    scorecard_rows,
    window_batch,
)

COMMAND = "artesian bench unit_gradients"
BATCHES = (256, 1024, 4096)
_BESIDE_OPACUS = 1024  # a perceptron's per-example gradients of a larger batch take gigabytes
_COLUMNS, _GROUPS = 761, 36
_LEAST_S = 0.02
_WAYS: tuple[Way, ...] = ("hooks", "ghost", "functorch")


def run(runs: int = 15, batches: tuple[int, ...] = BATCHES) -> list[Figure]:
    """Medians of ratios over `runs` rounds; the recurrent model, whose steps are long, takes a third of them."""
    out = []
    with one_thread():
        for name in _MODELS:
            rounds = max(1, runs // 3) if name == "GRU 32" else runs
            out += [_figure(name, _batch(name, rows), rounds) for rows in batches]
    return out


_MODELS = ("logistic, 761 one-hot columns", "MLP 64x64, 761 one-hot columns", "MLP 64x64, 64 dense columns", "GRU 32")


def _batch(name: str, rows: int) -> Batch:
    rng = np.random.default_rng(rows)
    if name == "GRU 32":
        loss = HorizonPinball(SmoothPinball((0.1, 0.5, 0.9), 0.03))
        return window_batch(RecurrentModel(28, 11, 14, 55, 3, 32, loss), rows, rows)
    targets = (rng.random(rows) < 0.22).astype(np.float64)
    if "dense" in name:
        return Batch(Perceptron(64, 1, (64, 64), LogLoss()), rng.normal(size=(rows, 64)), targets)
    inputs = scorecard_rows(rows, _COLUMNS, _GROUPS, rows)
    if name.startswith("logistic"):
        return Batch(LinearModel(_COLUMNS, 1, LogLoss()), inputs, targets)
    return Batch(Perceptron(_COLUMNS, 1, (64, 64), LogLoss()), inputs, targets)


def _figure(name: str, batch: Batch, rounds: int) -> Figure:
    plain = plain_step(batch)
    beside: dict[str, Step] = {"with a round's integer noise": private_step(batch, noise=True)}
    if batch.rows == _BESIDE_OPACUS:
        beside |= {f"Opacus, {way}, float32": opacus_step(batch, way) for way in _WAYS}
    ours, plain_s = _compared(private_step(batch), plain, rounds)
    ratios = {what: round(_compared(step, plain, rounds)[0], 2) for what, step in beside.items()}
    return Figure(
        f"private step, {name}, batch {batch.rows}",
        round(ours, 2),
        "times plain SGD",
        {**ratios, "plain SGD, float32, ms": round(1000 * plain_s, 2)},
        rounds,
        COMMAND,
    )


def _compared(step: Step, plain: Step, rounds: int) -> tuple[float, float]:
    """The median ratio of their processor times, taken in turn, and the median seconds of `plain`."""
    times = [(_seconds(plain), _seconds(step)) for _ in range(rounds + 1)][1:]
    return median(ours / theirs for theirs, ours in times), median(theirs for theirs, _ in times)


def _seconds(step: Step) -> float:
    """Processor seconds of a step, the mean of as many as fill some milliseconds."""
    steps, began = 0, process_time()
    while process_time() - began < _LEAST_S:
        step()
        steps += 1
    return (process_time() - began) / steps
