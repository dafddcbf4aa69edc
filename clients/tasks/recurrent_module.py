"""The recurrent model as a torch module that Opacus takes; imported only where torch is wanted."""

from __future__ import annotations

import torch
from opacus.layers import DPGRU
from torch import nn


class RecurrentModule(nn.Module):
    """The module of `clients.tasks.recurrent.RecurrentModel`, whose attributes these arguments are."""

    def __init__(self, past: int, channels: int, future: int, columns: int, per_day: int, hidden: int) -> None:
        super().__init__()
        self._past, self._future = (past, channels), (future, columns)
        self.gru = DPGRU(channels, hidden, batch_first=True)
        self.head = nn.Linear(hidden + columns, per_day)

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        """[n, future * per_day], without the offset; inputs [n, past * channels + future * columns]."""
        split = self._past[0] * self._past[1]
        states, _ = self.gru(inputs[:, :split].reshape(-1, *self._past))
        days = inputs[:, split:].reshape(-1, *self._future)
        seen = torch.cat([states[:, -1:].expand(-1, self._future[0], -1), days], dim=2)
        out: torch.Tensor = self.head(seen).flatten(start_dim=1)
        return out
