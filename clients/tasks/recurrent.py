"""Recurrent models of a window: a gated recurrent unit reads the past, a linear head forecasts each future day.

The unit is that of torch.nn.GRU and opacus.layers.DPGRU (Cho et al. 2014, with the reset gate after the product).
Training needs its gradient and nothing else, so both passes are written out here, over all examples at once.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit

from clients.tasks.architecture import LayeredArchitecture, LayerPass
from clients.tasks.losses import Loss
from clients.tasks.row_products import row_products

if TYPE_CHECKING:
    import torch

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class RecurrentModel(LayeredArchitecture):
    """A GRU of `hidden` over `past` days of `channels`; its last state stands beside each future day's columns.

    An example's row holds `past` x `channels` values, then `future` x `columns`; its outputs are `future` x `per_day`.
    """

    past: int
    channels: int
    future: int
    columns: int
    per_day: int
    hidden: int
    loss: Loss

    @property
    def inputs(self) -> int:  # type: ignore[override]
        return self.past * self.channels + self.future * self.columns

    @property
    def outputs(self) -> int:  # type: ignore[override]
        return self.future * self.per_day

    @cached_property
    def shapes(self) -> tuple[tuple[str, tuple[int, ...]], ...]:
        gates = 3 * self.hidden  # reset, update, new, as torch orders them
        return (
            ("past.weight", (gates, self.channels)),
            ("past.bias", (gates,)),
            ("state.weight", (gates, self.hidden)),
            ("state.bias", (gates,)),
            ("head.weight", (self.per_day, self.hidden + self.columns)),
            ("head.bias", (self.per_day,)),
        )

    def initial(self, seed: int) -> Floats:
        """torch's uniform initialisation of the GRU; the head starts from zeros: the first forecast is the offset."""
        rng = np.random.Generator(np.random.PCG64(seed))
        limit = 1.0 / np.sqrt(self.hidden)
        recurrent = rng.uniform(-limit, limit, size=3 * self.hidden * (self.channels + self.hidden + 2))
        return np.concatenate([recurrent, np.zeros(self.size - len(recurrent))])

    def forward(self, parameters: Floats, inputs: Any) -> Floats:
        return self._outputs(parameters, self._read(parameters, inputs), inputs)[1]

    def _read(self, parameters: Floats, inputs: Floats) -> _Reading:
        past = inputs[:, : self.past * self.channels].reshape(-1, self.past, self.channels)
        return _Reading(self.tensors(parameters), past)

    def _outputs(self, parameters: Floats, reading: _Reading, inputs: Floats) -> tuple[Floats, Floats]:
        """The head's inputs [n * future, hidden + columns] and outputs [n, outputs]."""
        n = len(inputs)
        seen = np.empty((n, self.future, self.hidden + self.columns))
        seen[:, :, : self.hidden] = reading.last[:, None, :]
        seen[:, :, self.hidden :] = inputs[:, self.past * self.channels :].reshape(n, self.future, self.columns)
        rows = seen.reshape(n * self.future, -1)
        tensors = self.tensors(parameters)
        return rows, (row_products(rows, tensors["head.weight"].T) + tensors["head.bias"]).reshape(n, self.outputs)

    @property
    def pass_values(self) -> int:
        a_day_behind = 2 * self.channels + 3 * self.hidden + 12 * self.hidden
        return self.past * a_day_behind + self.future * (self.hidden + self.columns + 2 * self.per_day)

    def layer_passes(self, parameters: Floats, inputs: Any, offset: Floats, targets: Floats) -> tuple[LayerPass, ...]:
        n = len(inputs)
        reading = self._read(parameters, inputs)
        seen, outputs = self._outputs(parameters, reading, inputs)
        slopes = self.loss.slope(outputs + offset, targets).reshape(n * self.future, self.per_day)
        by_day = row_products(slopes, self.tensors(parameters)["head.weight"][:, : self.hidden])
        last = by_day.reshape(n, self.future, self.hidden).sum(axis=1)
        return (*reading.passes(last), LayerPass(seen, slopes, self.future))

    def module(self) -> torch.nn.Module:
        from clients.tasks.recurrent_module import RecurrentModule

        return RecurrentModule(self.past, self.channels, self.future, self.columns, self.per_day, self.hidden)


class _Reading:
    """A GRU's pass over n sequences: states and gates of every day, kept for the way back; arrays are [day, n, ...]."""

    def __init__(self, tensors: dict[str, Floats], past: Floats) -> None:
        self._weight = tensors["state.weight"]
        n, days, channels = past.shape
        hidden = self._weight.shape[1]
        self._past = past
        by_day = past.transpose(1, 0, 2).reshape(days * n, channels)
        from_past = (row_products(by_day, tensors["past.weight"].T) + tensors["past.bias"]).reshape(days, n, 3 * hidden)
        self._states = np.zeros((days + 1, n, hidden))
        self._gates = np.empty((days, n, 2 * hidden))  # reset and update
        self._new = np.empty((days, n, hidden))
        self._from_state = np.empty((days, n, hidden))  # what the reset gate multiplies
        for day in range(days):
            state = self._states[day]
            product = row_products(state, self._weight.T) + tensors["state.bias"]
            gates = expit(from_past[day, :, : 2 * hidden] + product[:, : 2 * hidden], out=self._gates[day])
            self._from_state[day] = product[:, 2 * hidden :]
            reset, update = gates[:, :hidden], gates[:, hidden:]
            new = np.tanh(from_past[day, :, 2 * hidden :] + reset * self._from_state[day], out=self._new[day])
            np.add(new, update * (state - new), out=self._states[day + 1])

    @property
    def last(self) -> Floats:
        """float64[n, hidden], the state after the last day."""
        return np.asarray(self._states[-1])

    def passes(self, slope: Floats) -> tuple[LayerPass, LayerPass]:
        """What the layers of the past and of the state saw, when the last state has the slope float64[n, hidden]."""
        days, n, hidden = self._new.shape
        to_past = np.empty((n, days, 3 * hidden))
        to_state = np.empty((n, days, 3 * hidden))
        for day in range(days - 1, -1, -1):
            state, new, gates = self._states[day], self._new[day], self._gates[day]
            reset, update = gates[:, :hidden], gates[:, hidden:]
            by_new = slope * (1.0 - update) * (1.0 - new * new)
            by_gates = to_past[:, day, : 2 * hidden]
            np.multiply(by_new, self._from_state[day], out=by_gates[:, :hidden])
            np.multiply(slope, state - new, out=by_gates[:, hidden:])
            by_gates *= gates * (1.0 - gates)
            to_past[:, day, 2 * hidden :] = by_new
            to_state[:, day, : 2 * hidden] = by_gates
            np.multiply(by_new, reset, out=to_state[:, day, 2 * hidden :])
            slope = slope * update + row_products(to_state[:, day], self._weight)
        states = np.ascontiguousarray(self._states[:-1].transpose(1, 0, 2)).reshape(n * days, hidden)
        past = self._past.reshape(n * days, -1)
        return (
            LayerPass(past, to_past.reshape(n * days, -1), days),
            LayerPass(states, to_state.reshape(n * days, -1), days),
        )
