"""Steps of training to be timed beside each other: plain, private in our way, private in Opacus's ways."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from clients.discrete_gaussian import discrete_gaussian
from clients.noise import RandomStream
from clients.tasks.architecture import Architecture
from clients.tasks.examples import Examples, one_hot
from clients.tasks.losses import HorizonPinball
from clients.tasks.recurrent import RecurrentModel
from clients.training import Protection, bounded_gradient_sum

Step = Callable[[], object]
Way = Literal["hooks", "ghost", "functorch"]
_CLIP, _RATE = 0.5, 0.1
_SIGMA = 1 << 16  # of integer noise; its size takes no time


@dataclass(frozen=True)
class Batch:
    """A model and what one step sees: inputs dense or CSR float64[n, d], targets, all of different units."""

    architecture: Architecture
    inputs: Any
    targets: NDArray[np.float64]

    @property
    def rows(self) -> int:
        return len(self.targets)


def scorecard_rows(rows: int, columns: int, groups: int, seed: int) -> Any:
    """float64 CSR [rows, columns], one-hot in `groups` groups of about the same width, each row of norm 1."""
    rng = np.random.default_rng(seed)
    edges = np.linspace(0, columns, groups + 1).astype(np.int64)
    codes = edges[:-1] + (rng.random((rows, groups)) * np.diff(edges)).astype(np.int64)
    return one_hot(codes.astype(np.int32), columns)


def private_step(batch: Batch, *, noise: bool = False) -> Step:
    """A firm's gradient sum and the step with it; with `noise` the integers that a round adds, too.

    The batch is a fresh one each time: norms and transposes that a firm keeps from round to round are worked out anew.
    """
    parameters = batch.architecture.initial(1)
    protection = Protection(_CLIP, 1e9, 1.0)
    stream = RandomStream.secure()
    offset, unit = np.zeros((batch.rows, batch.architecture.outputs)), np.arange(batch.rows)

    def step() -> None:
        examples = Examples(batch.inputs, batch.targets, offset, unit, batch.rows)
        total = bounded_gradient_sum(batch.architecture, parameters, examples, protection, stream)
        if noise:
            total += discrete_gaussian(stream, _SIGMA, len(total)) * 1e-9
        np.subtract(parameters, _RATE / batch.rows * total, out=parameters)

    return step


def plain_step(batch: Batch) -> Step:
    """torch's SGD of the same model in float32, on dense inputs; the recurrent unit is torch's own."""
    import torch
    from torch import nn

    module: Any = batch.architecture.module()
    if isinstance(batch.architecture, RecurrentModel):
        module.gru = nn.GRU(batch.architecture.channels, batch.architecture.hidden, batch_first=True)
    optimizer = torch.optim.SGD(module.parameters(), lr=_RATE)
    inputs, targets = _tensors(batch)

    def step() -> None:
        optimizer.zero_grad()
        batch.architecture.loss.torch(module(inputs), targets).mean().backward()  # type: ignore[no-untyped-call]
        optimizer.step()

    return step


def opacus_step(batch: Batch, way: Way) -> Step:
    """Opacus's own private step in float32, without noise: clipped as ours."""
    from opacus.grad_sample import GradSampleModule
    from opacus.grad_sample.grad_sample_module_fast_gradient_clipping import GradSampleModuleFastGradientClipping
    from opacus.optimizers import DPOptimizer
    from opacus.optimizers.optimizer_fast_gradient_clipping import DPOptimizerFastGradientClipping
    from torch.optim import SGD

    warnings.filterwarnings("ignore", message="Full backward hook is firing")
    inputs, targets = _tensors(batch)
    loss_of: Any = batch.architecture.loss.torch
    of_batch = {"noise_multiplier": 0.0, "max_grad_norm": _CLIP, "expected_batch_size": batch.rows}
    if way == "ghost":
        ghost: Any = GradSampleModuleFastGradientClipping(
            batch.architecture.module(), loss_reduction="mean", max_grad_norm=_CLIP
        )
        doubly: Any = DPOptimizerFastGradientClipping(SGD(ghost.parameters(), lr=_RATE), **of_batch)

        def twice_backward() -> None:
            doubly.zero_grad()
            losses = loss_of(ghost(inputs), targets)
            losses.mean().backward(retain_graph=True)
            factors = ghost.get_clipping_coef()
            doubly.zero_grad()
            ghost.disable_hooks()
            (factors * losses).sum().backward()
            ghost.enable_hooks()
            doubly.step()

        return twice_backward
    hooked: Any = GradSampleModule(batch.architecture.module(), force_functorch=way == "functorch")
    optimizer: Any = DPOptimizer(SGD(hooked.parameters(), lr=_RATE), **of_batch)

    def step() -> None:
        optimizer.zero_grad()
        loss_of(hooked(inputs), targets).mean().backward()
        optimizer.step()

    return step


def _tensors(batch: Batch) -> tuple[Any, Any]:
    import torch

    dense = batch.inputs.toarray() if sparse.issparse(batch.inputs) else batch.inputs
    return torch.tensor(dense, dtype=torch.float32), torch.tensor(batch.targets, dtype=torch.float32)


def window_batch(model: RecurrentModel, rows: int, seed: int) -> Batch:
    """Windows of the recurrent model with a seventh of the days closed."""
    assert isinstance(model.loss, HorizonPinball)
    rng = np.random.default_rng(seed)
    targets = rng.gamma(5.0, 0.2, size=(rows, model.future))
    targets[:, 6::7] = np.nan
    return Batch(model, rng.normal(size=(rows, model.inputs)) * 0.3, targets)
