"""How a model moves: rounds, algorithm, rates, as an operator or a researcher writes them in `[training]`."""

from __future__ import annotations

import math
from functools import cached_property
from typing import Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from clients.calibration import noise_micro_for
from clients.correlation import MOST_BANDS, Correlation
from clients.plan import MICRO, NANO
from server.bands import correlation_for

WEIGHT_SHARE = 0.125
"""A unit's weight over the clip, where weights go through the sum: 0.8 % more noise, see docs/adr/0013."""


class Steps(BaseModel):
    """Rounds, what firms do in one, and the server's step; `average_last` is the share of rounds averaged at the end.

    `weighting` says what a step divides by: the units that firms declare, or the units that they count, which go
    through the sum as gradients do (bounded, noised, masked), so that no firm need declare a true figure.

    Adam divides each value's mean gradient by the root of its mean square, from which `correct_moments` takes the
    variance of the noise, which is known (Tang et al. 2024, DP-AdamBC), but by no less than `floor`.

    With `local_steps` firms take that many noisy steps by themselves in a round, at `local_rate`, and send their sum.
    At the same `rate`, and without momentum, that is federated averaging (McMahan et al. 2017).

    With `bands` above 1 the noise is correlated over so many rounds, and the units are dealt into as many parts, of
    which each round takes one; see `clients.correlation`.

    `held_out` is the share of each firm's units that it never trains on, so that the model can be measured on them.

    With `plan = "auto"` the planner puts its own rounds (at most those given), rate, momentum and clip in place of
    what is written here, from public figures alone; see `server.planner`.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    plan: Literal["given", "auto"] = "given"
    rounds: int = Field(default=40, ge=1, le=100_000)
    rate: float = Field(default=8.0, gt=0)
    momentum: float = Field(default=0.8, ge=0, lt=1)
    clip: float = Field(default=1.0, gt=0)
    sampling_rate: float = Field(default=1.0, gt=0, le=1)
    average_last: float = Field(default=0.5, ge=0, le=1)
    initial_seed: int = 0
    weighting: Literal["declared", "summed"] = "declared"
    optimiser: Literal["momentum", "adam"] = "momentum"
    second_momentum: float = Field(default=0.95, gt=0, lt=1)
    floor: float = Field(default=3e-3, ge=1e-9, le=1e6)
    correct_moments: bool = True
    local_steps: int = Field(default=1, ge=1, le=1000)
    local_rate: float | None = Field(default=None, gt=0)
    bands: int = Field(default=1, ge=1, le=MOST_BANDS)
    held_out: float = Field(default=0.0, ge=0, le=0.5)

    @model_validator(mode="after")
    def _fit_each_other(self) -> Self:
        if self.local_rate is not None and self.local_steps == 1:
            raise ValueError("local_rate is the rate of local_steps, of which there is one: leave it out")
        if self.local_steps > 1 and self.weighting == "summed":
            raise ValueError("local_steps divide by the units that a firm declares: use weighting declared")
        if self.plan == "auto" and (self.optimiser, self.local_steps, self.bands) != ("momentum", 1, 1):
            raise ValueError("plan: 'auto' proposes full-batch descent with momentum; leave other algorithms out")
        return self

    @cached_property
    def correlation(self) -> Correlation | None:
        """How noise is correlated over the rounds; None where it is not."""
        return None if self.bands == 1 else correlation_for(self.bands, self.rounds, self.momentum)

    def noise_micro_for(self, epsilon: float, delta: float) -> int:
        """The noise multiplier, in 1e-6, of a run that costs epsilon at delta.

        Raises:
            PrivacyError: no noise reaches it.
        """
        delta = round(delta * NANO) / NANO  # as the plan will say it
        if self.correlation is None:
            return noise_micro_for(epsilon, delta, round(self.sampling_rate * MICRO), self.rounds * self.local_steps)
        # Full-batch releases add up in squares. What a row costs is rounded up: a hair more noise covers it.
        whole = math.sqrt(self.correlation.squared_sensitivity(self.rounds))
        return math.ceil(whole * noise_micro_for(epsilon, delta, MICRO, 1) * (1 + 1e-5))

    def fields(self) -> dict[str, Any]:
        """What a plan says of it; the least total weight and the correction of moments depend on the noise."""
        return {
            "rounds": self.rounds,
            "clip_micro": round(self.clip * MICRO),
            "sampling_micro": round(self.sampling_rate * MICRO),
            "rate_micro": round(self.rate * MICRO),
            "momentum_micro": round(self.momentum * MICRO),
            "average_from": self.rounds - round(self.rounds * self.average_last),
            **({"held_out_micro": round(self.held_out * MICRO)} if self.held_out else {}),
            **self._weights(),
            **self._adam(),
            **self._local(),
            **({} if self.correlation is None else {"correlation": self.correlation.text, "stream_from": 1}),
        }

    def _weights(self) -> dict[str, Any]:
        """What it says of weights that go through the sum, before the least total is known."""
        if self.weighting == "declared":
            return {}
        weight_micro = math.ceil(WEIGHT_SHARE * round(self.clip * MICRO))
        return {"weighting": self.weighting, "weight_micro": weight_micro, "least_weight_micro": weight_micro}

    def _adam(self) -> dict[str, Any]:
        if self.optimiser != "adam":
            return {}
        second = max(1, round(self.second_momentum * MICRO))
        return {"optimiser": "adam", "second_micro": min(second, MICRO - 1), "floor_nano": round(self.floor * NANO)}

    def _local(self) -> dict[str, Any]:
        if self.local_steps == 1:
            return {}
        rate = self.rate if self.local_rate is None else self.local_rate
        return {"local_steps": self.local_steps, "local_rate_micro": max(1, round(rate * MICRO))}
