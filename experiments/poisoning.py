"""Firms that poison a model, and what is left of it: the attackers' own code, played against a whole federation.

The attackers run a changed client. Everything else is the real thing: plans, groups, sums, rules, votes and steps.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal
from unittest.mock import patch

import cbor2
import numpy as np
from numpy.typing import NDArray

from clients import participation, validation
from clients.app import app as honest_app
from clients.data import Table
from clients.firm import open_firm
from clients.groups import draw_groups
from clients.masking.session import RosterEntry
from clients.messages import REQUESTS, TRAIN, VALIDATE, unpack
from clients.plan import MICRO, Plan
from clients.tasks.examples import Examples
from clients.tasks.spec import TaskSpec
from clients.tasks.task import Task
from clients.training import Protection, clipped_gradient_sum
from ledger.statement import decode_statement

Attack = Literal["none", "sign-flip", "label-flip", "adaptive"]
Vector = NDArray[np.float64]
SIGN_FLIP = 8.0
SHARES: Mapping[str, float] = {"none": 0.0, "sign-flip": 0.1, "label-flip": 0.2, "adaptive": 0.2}
"""Share of the firms that attack."""
_UNDER = 0.95  # how much of the norm that the rules allow an adaptive attacker uses
_COSINE = 0.1  # to the honest gradient, where the rules look at it
_LIE = 1 << 50


def attackers_of(attack: str, firms: Sequence[str], seed: int) -> tuple[str, ...]:
    """Which firms attack: drawn by the seed."""
    count = round(SHARES[attack] * len(firms))
    rng = np.random.Generator(np.random.PCG64([seed, 77]))
    return tuple(sorted(str(one) for one in rng.choice(list(firms), size=count, replace=False)))


def flip_labels(table: Table, spec: TaskSpec) -> Table:
    """The table with every label turned round."""
    assert spec.label is not None
    label = spec.label
    positive, negative = label.positive[0], label.negative[0]
    values = table.columns[label.column]
    return Table({**table.columns, label.column: np.where(values == positive, negative, positive)}, table.rows)


@dataclass(frozen=True)
class View:
    """What an attacker reads of a round that it is asked to train for.

    Attributes:
        mates: the members of its group, itself among them.
    """

    plan: Plan
    groups: tuple[tuple[str, ...], ...]
    mates: tuple[str, ...]


@dataclass
class PoisonedApp:
    """The firms' app, with some firms that answer as attackers.

    Attributes:
        homes: by attacker, its home.
    """

    attack: str
    task: Task
    homes: Mapping[str, Path]
    views: dict[bytes, View] = field(default_factory=dict)

    def __call__(self, message: Any, context: Any) -> Any:
        kind, me = message.metadata.message_type, Path(str(context.node_config["home"])).name
        if me not in self.homes or self.attack not in ("sign-flip", "adaptive") or kind not in (TRAIN, VALIDATE):
            return honest_app(message, context)
        view = self._view(me, message, kind)
        if kind == VALIDATE:
            with patch.object(validation, "scores_of", lambda *_: self._lying_scores(view)):
                return honest_app(message, context)

        def poisoned(
            architecture: Any, parameters: Vector, examples: Examples, protection: Protection, *_: Any, **__: Any
        ) -> Vector:
            total = self._poisoned_sum(view, parameters, examples, protection.clip)
            return np.clip(total, -protection.box, protection.box)

        with patch.object(participation, "bounded_gradient_sum", poisoned):
            return honest_app(message, context)

    def _poisoned_sum(self, view: View, parameters: Vector, examples: Examples, clip: float) -> Vector:
        if self.attack == "sign-flip":
            return -SIGN_FLIP * clipped_gradient_sum(self.task.architecture, parameters, examples, clip)
        return self._adaptive_sum(view, parameters, clip)

    def _adaptive_sum(self, view: View, parameters: Vector, clip: float) -> Vector:
        """What makes the group's mean as harmful as the rules let through, as far as the attackers can tell.

        Together they know their own records: the mean gradient of those stands for that of the honest firms.
        """
        own = [open_firm(home).task(self.task.spec.name).examples for home in self.homes.values()]
        units = sum(one.units for one in own)
        sums = [clipped_gradient_sum(self.task.architecture, parameters, one, clip) for one in own]
        honest = np.asarray(np.sum(sums, axis=0) / units)
        wanted = self._harmful(view.plan, honest, own) * np.linalg.norm(honest) * self._reach(view.plan)
        each = units / len(own) * (1.0 - view.plan.held_out_micro / MICRO)
        mine = sum(member in self.homes for member in view.mates)
        total = wanted * each * len(view.mates) - honest * each * (len(view.mates) - mine)
        return np.asarray(total / mine)

    def _harmful(self, plan: Plan, honest: Vector, own: Sequence[Examples]) -> Vector:
        """A direction of length 1: straight back, or as far aside as a look at the cosine allows."""
        ahead = honest / np.linalg.norm(honest)
        if not plan.root:
            return -ahead
        against = np.sum([one.inputs.T @ (2.0 * one.targets - 1.0) for one in own], axis=0)
        aside = against - ahead * float(against @ ahead)
        return np.asarray(_COSINE * ahead + np.sqrt(1.0 - _COSINE**2) * aside / np.linalg.norm(aside))

    @staticmethod
    def _reach(plan: Plan) -> float:
        """How long the group's mean may be, over the honest ones."""
        return _UNDER * plan.norm_cap_milli / 1000 if plan.norm_cap_milli else SIGN_FLIP

    def _lying_scores(self, view: View) -> tuple[int, ...]:
        """For the groups with most attackers, against the others."""
        bad = [sum(member in self.homes for member in group) for group in view.groups]
        return tuple(_LIE if count == max(bad) else -_LIE for count in bad)

    def _view(self, me: str, message: Any, kind: str) -> View:
        fields = unpack(message.content, REQUESTS[kind], kind)
        firm = open_firm(self.homes[me])
        bare = firm.config.limits.without_ledger
        payload = cbor2.loads(fields["statement"]) if bare else decode_statement(fields["statement"]).payload
        plan = Plan.from_map(payload["plan"])
        if plan.aggregation == "masked":
            known = {one.member: one for one in firm.round_secrets.roster(plan.epoch)}
        else:
            known = {member: RosterEntry(member, bytes(32)) for member in payload["cohort"]}
        roster = tuple(known[member] for member in sorted(payload["cohort"]))
        drawn = draw_groups(firm.config.cid, payload["task"], plan.number, plan.groups, roster)
        groups = tuple(tuple(one.member for one in group) for group in drawn)
        return View(plan, groups, next(group for group in groups if me in group))
