"""How a task is trained: rounds, step, privacy and aggregation, as an operator or a researcher writes it."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from clients.encryption.scheme import require_room
from clients.groups import group_sizes
from clients.masking.threshold import threshold_for
from clients.plan import MICRO, NANO, Plan
from clients.tasks.spec import Slug
from ledger.rules import COORDINATOR
from server.errors import ServerError
from server.planner import planned_steps, rule_for
from server.steps import Steps

if TYPE_CHECKING:
    from clients.tasks.task import Task

MOST_ROUNDING = 0.02
LEAST_WEIGHT_STDS = 4.0
"""Least total weight over the deviation of its noise when nobody drops out."""


class TrainingConfigInvalid(ServerError):
    """A training configuration that cannot be carried out."""


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class PrivacyTarget(_Part):
    """Epsilon of the whole run for every unit of every firm, at `delta`.

    With distributed noise the claim holds against the coordinator and any `colluders` firms together, whoever drops
    out; None takes an eighth of the cohort (of a group, where there are several), at least one.
    """

    mode: Literal["none", "local", "distributed"] = "distributed"
    epsilon: float | None = Field(default=None, gt=0)
    delta: float = Field(default=1e-5, ge=1e-9, lt=1)
    colluders: int | None = Field(default=None, ge=0)


class Aggregation(_Part):
    """How updates are added up.

    A round goes on without up to `drop_outs` firms, as far as the masking's threshold allows; None takes an eighth of
    the cohort, at least one. Where there are several groups, that is of each. Each drop-out that is allowed makes every
    firm's share of distributed noise larger.

    None for `ring_bits` takes 24, and 32 (a third more to send) where rounding to the coarser grid would add more than
    `MOST_ROUNDING` to the noise.

    `encrypted` sums are opened by `key_holder`, a firm of the consortium that takes no part in the task.
    """

    kind: Literal["masked", "encrypted", "plain"] = "masked"
    key_holder: Slug | None = None
    ring_bits: Literal[24, 32] | None = None
    smallest_group: int = Field(default=2, ge=2)
    drop_outs: int | None = Field(default=None, ge=0)
    deadline_s: int = Field(default=600, ge=1)

    @field_validator("key_holder")
    @classmethod
    def _is_a_firm(cls, name: str | None) -> str | None:
        if name == COORDINATOR:
            raise ValueError(f"{name!r} adds the updates up and holds no key to them; name a firm that does not train")
        return name

    @model_validator(mode="after")
    def _names_its_key_holder(self) -> Self:
        if (self.kind == "encrypted") != (self.key_holder is not None):
            raise ValueError("kind 'encrypted' names a key_holder, and no other does")
        return self

    def fields(self) -> dict[str, Any]:
        """What a plan says of an encrypted sum; each round gets a context of its own in place of the zeros."""
        return {"key_holder": self.key_holder, "context": bytes(32)} if self.kind == "encrypted" else {}


class Robust(_Part):
    """Rules against poisoned updates, on the opened sums of random groups of at least five firms; see `clients.plan`.

    One group is a plain sum and knows no rules. `norm_cap` is a multiple of the median norm, None for no cap. `root` is
    a small table of the coordinator's own in the task's columns, relative to its home: its bare gradients are stored,
    so no private one. `held_out` is the share of each firm's units that it keeps out of training and votes with;
    `vote_clip` the most, in nats, that one of them can add.
    """

    groups: int = Field(default=1, ge=1, le=10_000)
    combine: Literal["sum", "mean", "median"] = "mean"
    norm_cap: float | None = Field(default=1.0, gt=0, le=1000)
    root: str | None = None
    held_out: float = Field(default=0.0, ge=0, le=0.5)
    vote_clip: float = Field(default=0.1, gt=0, le=100)

    @model_validator(mode="after")
    def _rules_need_groups(self) -> Self:
        if (self.root is not None or self.held_out) and (self.groups == 1 or self.combine == "sum"):
            raise ValueError("root and held_out are rules about groups: give groups, and combine mean or median")
        if self.groups == 2 and self.combine == "median":
            raise ValueError("a median is of at least 3 groups")
        return self

    def fields(self, root: bytes) -> dict[str, Any]:
        """What a plan says of it; `root` is the root table's SHA-256, or empty."""
        if self.groups == 1:
            return {}
        if self.combine == "sum":
            return {"groups": self.groups, "combine": "sum"}
        return {
            "groups": self.groups,
            "combine": self.combine,
            "norm_cap_milli": 0 if self.norm_cap is None else max(1, round(self.norm_cap * 1000)),
            "root": root,
            **self._votes(),
        }

    def _votes(self) -> dict[str, Any]:
        if not self.held_out:
            return {}
        return {
            "held_out_micro": round(self.held_out * MICRO),
            "vote_clip_micro": max(1, round(self.vote_clip * MICRO)),
        }


class TrainingConfig(_Part):
    """All that turns a task and a cohort into plans."""

    training: Steps = Steps()
    privacy: PrivacyTarget = PrivacyTarget(epsilon=3.0)
    aggregation: Aggregation = Aggregation()
    robust: Robust = Robust()

    @model_validator(mode="after")
    def _holds_out_once(self) -> Self:
        if self.robust.held_out and self.training.held_out:
            raise ValueError("held_out: give it in [robust], with votes, or in [training], not in both")
        return self

    def plans(
        self,
        task: Task,
        units: Mapping[str, int],
        epoch: int,
        least: int = 1,
        root: bytes = b"",
        measures: Mapping[str, Any] | None = None,
    ) -> list[Plan]:
        """The plan of every round of a run.

        Args:
            units: declared units of every cohort firm.
            epoch: number of the masking keys' epoch; 0 where nothing is masked.
            least: fewest contributions that the consortium's policy allows in an aggregate.
            root: SHA-256 of the root table, where there is one.
            measures: fields of a plan that measures; its norm is the clip.

        Raises:
            TrainingConfigInvalid: the numbers do not fit each other.
            PrivacyError: no noise reaches the epsilon asked for.
            PlanRefused: an encrypted sum would not round to the exact one.
            GroupsImpossible: too few firms for so many groups.
        """
        if self.training.plan == "auto":
            return self.settled(task, units, epoch, least).plans(task, units, epoch, least, root)
        steps, privacy = self.training, self.privacy
        n, most = group_sizes(len(units), self.robust.groups)
        if privacy.mode != "none" and privacy.epsilon is None:
            raise TrainingConfigInvalid(f"privacy: mode {privacy.mode!r} needs epsilon")
        if privacy.mode == "distributed" and self.aggregation.kind == "plain":
            raise TrainingConfigInvalid("privacy: distributed noise protects only a sum; use aggregation masked")
        if self.aggregation.kind == "encrypted" and self.robust.groups > 1:
            raise TrainingConfigInvalid("robust.groups: an encrypted sum is of one group; use aggregation masked")
        if steps.bands > 1 and (self.aggregation.drop_outs or self.robust.groups > 1):
            raise TrainingConfigInvalid("training.bands: correlated noise needs all firms, in one group: no drop_outs")
        colluders = max(1, most // 8) if privacy.colluders is None else privacy.colluders
        if least > n:
            raise TrainingConfigInvalid(f"cohort: {n} firms, the policy asks for at least {least} contributions")
        if privacy.mode == "distributed" and colluders >= n:
            raise TrainingConfigInvalid(f"privacy: {colluders} colluders leave no honest firm among {n}")
        box = steps.clip * max(units.values())
        noise_micro = 0
        if privacy.mode != "none":
            assert privacy.epsilon is not None
            noise_micro = steps.noise_micro_for(privacy.epsilon, privacy.delta)
        common: dict[str, Any] = {
            "spec": task.spec.hash,
            "aggregation": self.aggregation.kind,
            "privacy": privacy.mode,
            "dimension": task.architecture.size,
            "noise_micro": noise_micro,
            "box_micro": math.ceil(box * MICRO),
            "delta_nano": round(privacy.delta * NANO),
            "colluders": colluders,
            "epoch": epoch,
            "threshold": n if steps.bands > 1 else max(least, self._threshold(n, most, colluders)),
            "ring_bits": self.aggregation.ring_bits or 24,
            "units": sum(units.values()),
            "deadline_s": self.aggregation.deadline_s,
            **steps.fields(),
            **self.robust.fields(root),
            **self.aggregation.fields(),
            **(measures or {}),
        }
        first = Plan(number=1, **common)
        if self.aggregation.ring_bits is None and not all(first.grid_is_fine(k, MOST_ROUNDING) for k in (n, most)):
            common["ring_bits"] = 32
        common |= _least_weight(Plan(number=1, **common), len(units), (n, most))
        if steps.optimiser == "adam" and steps.correct_moments:
            noise = Plan(number=1, **common).noise_in_mean(len(units))
            common["correction_nano"] = math.floor(noise * NANO)
        plans = [Plan(number=number, **common) for number in range(1, steps.rounds + 1)]
        for size in (n, most):
            plans[0].grid(size)
        if plans[0].aggregation == "encrypted":
            require_room(n, plans[0].ring_bits, plans[0].values)
        return plans

    def settled(self, task: Task, units: Mapping[str, int], epoch: int, least: int = 1) -> Self:
        """The same with the planner's steps, in at most the rounds given, in place of `plan = "auto"`; else itself.

        Raises:
            NoRule: nothing was measured for such models.
            TrainingConfigInvalid, PrivacyError: as for `plans`.
        """
        given, kind = self.training, task.spec.model.kind
        if given.plan == "given":
            return self
        once = given.model_copy(update={"plan": "given", "rounds": 1, "clip": rule_for(kind).clip})
        first = self.model_copy(update={"training": once}).plans(task, units, epoch, least)[0]
        steps = planned_steps(kind, first, len(units), given.rounds, given)
        return self.model_copy(update={"training": steps})

    def _threshold(self, n: int, most: int, colluders: int) -> int:
        """The threshold of groups of `n` to `most` firms."""
        if self.aggregation.kind == "plain":
            return 1
        colluders, group = min(colluders, most - 2), self.aggregation.smallest_group
        if self.aggregation.kind == "encrypted":
            least = min(n, max(2, colluders + group))
        else:
            least = threshold_for(most, colluders=colluders, smallest_group=group)
        if least > n:
            raise TrainingConfigInvalid(f"robust.groups: a group of {most} firms needs {least}, and one has {n}")
        drop_outs = self.aggregation.drop_outs
        if drop_outs is not None and drop_outs > n - least:
            raise TrainingConfigInvalid(
                f"aggregation.drop_outs: {drop_outs} of {n} firms; at most {n - least} may be missing"
            )
        return max(least, n - (max(1, n // 8) if drop_outs is None else drop_outs))


def _least_weight(plan: Plan, firms: int, sizes: tuple[int, int]) -> dict[str, int]:
    """The least total weight that a mean of this plan divides by: one unit's, or some deviations of its noise.

    Args:
        firms: in the cohort.
        sizes: firms in the smallest and in the largest group.

    Raises:
        TrainingConfigInvalid: the units declared do not weigh that much, so steps would be too short.
    """
    if plan.weighting == "declared":
        return {}
    smallest, largest = sizes
    # Groups whose sums are added up are divided by one total weight; otherwise each by its own.
    together, units = (firms, plan.units) if plan.combine == "sum" else (largest, plan.units * smallest // firms)
    noise = max(map(plan.noise_std, sizes)) * math.sqrt(together)
    least = max(plan.weight, LEAST_WEIGHT_STDS * noise)
    trained = units * plan.trained_share * plan.sampling_rate
    if trained * plan.weight < least:
        raise TrainingConfigInvalid(
            f"training.weighting: a round trains on {trained:.0f} units, too few to count through "
            f"noise of {noise / plan.weight:.0f} units; use weighting declared"
        )
    return {"least_weight_micro": math.ceil(least * MICRO)}
