"""How a task is trained: rounds, step, privacy and aggregation, as an operator or a researcher writes it."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from clients.masking.threshold import threshold_for
from clients.plan import MICRO, NANO, Plan
from clients.privacy import noise_for
from clients.tasks.task import Task
from server.errors import ServerError

MOST_ROUNDING = 0.02


class TrainingConfigInvalid(ServerError):
    """A training configuration that cannot be carried out."""


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Steps(_Part):
    """Rounds and the server's step; `average_last` is the share of rounds whose models are averaged."""

    rounds: int = Field(default=40, ge=1, le=100_000)
    rate: float = Field(default=8.0, gt=0)
    momentum: float = Field(default=0.8, ge=0, lt=1)
    clip: float = Field(default=1.0, gt=0)
    sampling_rate: float = Field(default=1.0, gt=0, le=1)
    average_last: float = Field(default=0.5, ge=0, le=1)
    initial_seed: int = 0


class PrivacyTarget(_Part):
    """Epsilon of the whole run for every unit of every firm, at `delta`.

    With distributed noise the claim holds against the coordinator and any `colluders` firms together, whoever drops
    out; None takes an eighth of the cohort, at least one.
    """

    mode: Literal["none", "local", "distributed"] = "distributed"
    epsilon: float | None = Field(default=None, gt=0)
    delta: float = Field(default=1e-5, ge=1e-9, lt=1)
    colluders: int | None = Field(default=None, ge=0)


class Aggregation(_Part):
    """How updates are added up.

    A round goes on without up to `drop_outs` firms, as far as the masking's threshold allows; None takes an eighth of
    the cohort, at least one. Each drop-out that is allowed makes every firm's share of distributed noise larger.

    None for `ring_bits` takes 24, and 32 (a third more to send) where rounding to the coarser grid would add more than
    `MOST_ROUNDING` to the noise.
    """

    kind: Literal["masked", "plain"] = "masked"
    ring_bits: Literal[24, 32] | None = None
    smallest_group: int = Field(default=2, ge=2)
    drop_outs: int | None = Field(default=None, ge=0)
    deadline_s: int = Field(default=600, ge=1)


class TrainingConfig(_Part):
    """All that turns a task and a cohort into plans."""

    training: Steps = Steps()
    privacy: PrivacyTarget = PrivacyTarget(epsilon=3.0)
    aggregation: Aggregation = Aggregation()

    def plans(self, task: Task, units: Mapping[str, int], epoch: int, least: int = 1) -> list[Plan]:
        """The plan of every round of a run.

        Args:
            units: declared units of every cohort firm.
            epoch: number of the masking keys' epoch; 0 where nothing is masked.
            least: fewest contributions that the consortium's policy allows in an aggregate.

        Raises:
            TrainingConfigInvalid: the numbers do not fit each other.
            PrivacyError: no noise reaches the epsilon asked for.
        """
        n, steps, privacy = len(units), self.training, self.privacy
        if privacy.mode != "none" and privacy.epsilon is None:
            raise TrainingConfigInvalid(f"privacy: mode {privacy.mode!r} needs epsilon")
        if privacy.mode == "distributed" and self.aggregation.kind != "masked":
            raise TrainingConfigInvalid("privacy: distributed noise protects only a masked sum; use aggregation masked")
        colluders = max(1, n // 8) if privacy.colluders is None else privacy.colluders
        if least > n:
            raise TrainingConfigInvalid(f"cohort: {n} firms, the policy asks for at least {least} contributions")
        if privacy.mode == "distributed" and colluders >= n:
            raise TrainingConfigInvalid(f"privacy: {colluders} colluders leave no honest firm among {n}")
        box = steps.clip * max(units.values())
        noise_micro = 0
        if privacy.mode != "none":
            assert privacy.epsilon is not None
            sampling_rate = round(steps.sampling_rate * MICRO) / MICRO  # as the plan will say it
            sigma = noise_for(privacy.epsilon, privacy.delta, sampling_rate, steps.rounds)
            noise_micro = math.ceil(sigma * MICRO)
        common: dict[str, Any] = {
            "rounds": steps.rounds,
            "spec": task.spec.hash,
            "aggregation": self.aggregation.kind,
            "privacy": privacy.mode,
            "dimension": task.architecture.size,
            "noise_micro": noise_micro,
            "clip_micro": round(steps.clip * MICRO),
            "box_micro": math.ceil(box * MICRO),
            "sampling_micro": round(steps.sampling_rate * MICRO),
            "delta_nano": round(privacy.delta * NANO),
            "colluders": colluders,
            "epoch": epoch,
            "threshold": max(least, self._threshold(n, colluders)),
            "ring_bits": self.aggregation.ring_bits or 24,
            "units": sum(units.values()),
            "rate_micro": round(steps.rate * MICRO),
            "momentum_micro": round(steps.momentum * MICRO),
            "average_from": steps.rounds - round(steps.rounds * steps.average_last),
            "deadline_s": self.aggregation.deadline_s,
        }
        first = Plan(number=1, **common)
        if self.aggregation.ring_bits is None and not first.grid_is_fine(n, MOST_ROUNDING):
            common["ring_bits"] = 32
        plans = [Plan(number=number, **common) for number in range(1, steps.rounds + 1)]
        plans[0].grid(n)
        return plans

    def _threshold(self, n: int, colluders: int) -> int:
        if self.aggregation.kind == "plain":
            return 1
        least = threshold_for(n, colluders=min(colluders, n - 2), smallest_group=self.aggregation.smallest_group)
        drop_outs = self.aggregation.drop_outs
        if drop_outs is not None and drop_outs > n - least:
            raise TrainingConfigInvalid(
                f"aggregation.drop_outs: {drop_outs} of {n} firms; at most {n - least} may be missing"
            )
        return max(least, n - (max(1, n // 8) if drop_outs is None else drop_outs))
