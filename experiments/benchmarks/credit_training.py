"""A whole private training of a scorecard at epsilon 1, ours beside Opacus's own engine, on made-up records.

The records have the shape of the UCI credit table (21,000 to train on, 761 one-hot columns in 36 groups) and a label
drawn from a scorecard, so that this runs without any download. Both trainings end in the same test of what they
learned. No ledger, no masks: what is timed is gradients, noise and steps, and Opacus's sampling of batches.
"""

from __future__ import annotations

import warnings
from statistics import median
from time import process_time
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit

from clients.calibration import noise_micro_for
from clients.discrete_gaussian import discrete_gaussian
from clients.noise import RandomStream
from clients.tasks import metrics
from clients.tasks.examples import Examples
from clients.tasks.linear_model import LinearModel
from clients.tasks.losses import LogLoss
from clients.training import Protection, bounded_gradient_sum
from experiments.benchmarks.figure import Figure
from experiments.benchmarks.one_thread import one_thread
from experiments.benchmarks.sgd_steps import scorecard_rows

COMMAND = "artesian bench credit_training"
_TRAINED, _TESTED, _COLUMNS, _GROUPS = 21_000, 9_000, 761, 36
_EPSILON, _DELTA = 1.0, 1e-5
_ROUNDS, _RATE, _MOMENTUM = 40, 16.0, 0.8
_EPOCHS, _BATCH, _OPACUS_RATE = 20, 1024, 4.0
_STEPS_IN_CLIP = 1 << 16
Floats = NDArray[np.float64]


def run(runs: int = 5) -> list[Figure]:
    """Medians of processor seconds and AUC over `runs` seeds, the two trainings in turn."""
    ours, theirs = [], []
    with one_thread():
        for seed in range(runs):
            inputs, targets = _records(seed)
            ours.append(_timed(_ours, inputs, targets))
            theirs.append(_timed(_with_opacus, inputs, targets))
    seconds, auc = (median(column) for column in zip(*ours, strict=True))
    opacus_s, opacus_auc = (median(column) for column in zip(*theirs, strict=True))
    ratio = median(b / a for (a, _), (b, _) in zip(ours, theirs, strict=True))
    name = "whole training at epsilon 1, 21,000 records, 761 one-hot columns"
    beside = {"Opacus, 20 epochs of Poisson batches of 1024": round(opacus_s, 3), "times as long": round(ratio, 1)}
    return [
        Figure(name, round(seconds, 3), "s", beside, runs, COMMAND),
        Figure(f"{name}: what it learned", round(auc, 4), "AUC", {"Opacus": round(opacus_auc, 4)}, runs, COMMAND),
    ]


def _records(seed: int) -> tuple[Any, Floats]:
    rows = _TRAINED + _TESTED
    inputs = scorecard_rows(rows, _COLUMNS, _GROUPS, seed)
    rng = np.random.default_rng([seed, 1])
    odds = inputs @ rng.normal(size=_COLUMNS) * 1.3 - 1.5
    return inputs, (rng.random(rows) < expit(odds)).astype(np.float64)


def _timed(train: Any, inputs: Any, targets: Floats) -> tuple[float, float]:
    """Processor seconds of a training, and the AUC of its weights on the other records."""
    began = process_time()
    weights = train(inputs[:_TRAINED], targets[:_TRAINED])
    seconds = process_time() - began
    return seconds, metrics.auc(targets[_TRAINED:], inputs[_TRAINED:] @ weights)


def _ours(inputs: Any, targets: Floats) -> Floats:
    """Full-batch descent with momentum and exact integer noise; the average of the last half."""
    noise = noise_micro_for(_EPSILON, _DELTA, 1_000_000, _ROUNDS) / 1e6
    stream, model = RandomStream.secure(), LinearModel(_COLUMNS, 1, LogLoss())
    examples = Examples(inputs, targets, np.full((_TRAINED, 1), -1.3), np.arange(_TRAINED), _TRAINED)
    protection = Protection(1.0, 1e6, 1.0)
    weights, velocity, average = np.zeros(_COLUMNS), np.zeros(_COLUMNS), np.zeros(_COLUMNS)
    for number in range(_ROUNDS):
        total = bounded_gradient_sum(model, weights, examples, protection, stream)
        values = np.rint(total * _STEPS_IN_CLIP).astype(np.int64)
        values += discrete_gaussian(stream, int(np.ceil(noise * _STEPS_IN_CLIP)), _COLUMNS)
        velocity = _MOMENTUM * velocity + values / _STEPS_IN_CLIP / _TRAINED
        weights = weights - _RATE * velocity
        average += weights * (number >= _ROUNDS // 2)
    return average / (_ROUNDS - _ROUNDS // 2)


def _with_opacus(inputs: Any, targets: Floats) -> Floats:
    """Opacus's engine as its tutorials use it: Poisson batches, hooks, torch's noise, its own calibration."""
    import torch
    from opacus import PrivacyEngine
    from torch.utils.data import DataLoader, TensorDataset

    module = torch.nn.Linear(_COLUMNS, 1)
    with torch.no_grad():
        module.weight.zero_()
        module.bias.fill_(-1.3)
    rows = TensorDataset(
        torch.tensor(inputs.toarray(), dtype=torch.float32), torch.tensor(targets, dtype=torch.float32)
    )
    optimizer = torch.optim.SGD(module.parameters(), lr=_OPACUS_RATE)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        engine: Any = PrivacyEngine()
        private, optimizer, batches = engine.make_private_with_epsilon(
            module=module,
            optimizer=optimizer,
            data_loader=DataLoader(rows, batch_size=_BATCH),
            target_epsilon=_EPSILON,
            target_delta=_DELTA,
            epochs=_EPOCHS,
            max_grad_norm=1.0,
        )
        loss_of: Any = LogLoss().torch
        for _ in range(_EPOCHS):
            for x, y in batches:
                optimizer.zero_grad()
                loss_of(private(x), y).mean().backward()
                optimizer.step()
    return np.asarray(module.weight.detach().numpy()[0], dtype=np.float64)
