"""Losses of one example, in closed form and as torch expressions."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit, log_expit

if TYPE_CHECKING:
    import torch


class Loss(Protocol):
    """A loss of one example, with its slope in closed form and as a torch expression."""

    def value(self, outputs: NDArray[np.float64], targets: NDArray[np.float64]) -> NDArray[np.float64]:
        """float64[n]: the loss of each example; outputs float64[n, k], targets float64[n]."""
        ...

    def slope(self, outputs: NDArray[np.float64], targets: NDArray[np.float64]) -> NDArray[np.float64]:
        """float64[n, k]: the derivative of `value` by the outputs."""
        ...

    def torch(self, outputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        """The same loss, [n], for automatic differentiation."""
        ...


@dataclass(frozen=True)
class LogLoss:
    """Logistic loss of one output, the log-odds; targets are 0 or 1."""

    def value(self, outputs: NDArray[np.float64], targets: NDArray[np.float64]) -> NDArray[np.float64]:
        sign = np.where(targets > 0.5, 1.0, -1.0)
        return np.asarray(-log_expit(sign * outputs[:, 0]))

    def slope(self, outputs: NDArray[np.float64], targets: NDArray[np.float64]) -> NDArray[np.float64]:
        return np.asarray(expit(outputs) - targets[:, None])

    def torch(self, outputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        from torch.nn.functional import binary_cross_entropy_with_logits

        return binary_cross_entropy_with_logits(outputs[:, 0], targets, reduction="none")


@dataclass(frozen=True)
class SmoothPinball:
    """Quantile loss whose kink is smoothed over a width `smoothing`; one output per quantile.

    q e + s softplus(-e / s) with e = target - output: tends to the pinball loss as s tends to 0.
    """

    quantiles: tuple[float, ...]
    smoothing: float

    def value(self, outputs: NDArray[np.float64], targets: NDArray[np.float64]) -> NDArray[np.float64]:
        error = targets[:, None] - outputs
        q = np.asarray(self.quantiles)
        return np.asarray((q * error - self.smoothing * log_expit(error / self.smoothing)).sum(axis=1))

    def slope(self, outputs: NDArray[np.float64], targets: NDArray[np.float64]) -> NDArray[np.float64]:
        error = targets[:, None] - outputs
        return np.asarray(expit(-error / self.smoothing) - np.asarray(self.quantiles))

    def torch(self, outputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        from torch.nn.functional import softplus

        error = targets[:, None] - outputs
        q = outputs.new_tensor(self.quantiles)
        return (q * error + self.smoothing * softplus(-error / self.smoothing)).sum(dim=1)


@dataclass(frozen=True)
class HorizonPinball:
    """The mean of `SmoothPinball` over the days of a window that count; outputs float64[n, days * quantiles].

    Targets are float64[n, days]; a day that does not count is not a number there, and every example has one that does.
    """

    daily: SmoothPinball

    def _days(
        self, outputs: NDArray[np.float64], targets: NDArray[np.float64]
    ) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
        """Outputs and targets of single days, and float64[n, days], the share of each day in its example's mean."""
        counted = ~np.isnan(targets)
        share = counted / counted.sum(axis=1, keepdims=True)
        return outputs.reshape(targets.size, -1), np.where(counted, targets, 0.0).ravel(), share

    def value(self, outputs: NDArray[np.float64], targets: NDArray[np.float64]) -> NDArray[np.float64]:
        days, known, share = self._days(outputs, targets)
        return np.asarray((self.daily.value(days, known).reshape(share.shape) * share).sum(axis=1))

    def slope(self, outputs: NDArray[np.float64], targets: NDArray[np.float64]) -> NDArray[np.float64]:
        days, known, share = self._days(outputs, targets)
        return np.asarray((self.daily.slope(days, known) * share.reshape(-1, 1)).reshape(outputs.shape))

    def torch(self, outputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        counted = ~targets.isnan()
        days = outputs.reshape(targets.numel(), -1)
        each = self.daily.torch(days, targets.nan_to_num().reshape(-1)).reshape(targets.shape)
        return (each * counted).sum(dim=1) / counted.sum(dim=1)
