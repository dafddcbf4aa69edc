"""A measurement: one round that sums a statistic of the firms' records with noise, and what it says.

It is opened, paid for, masked and recorded as a training round is, and leaves the task's model as it was. Anyone can
compute the sum again from the ledger and the store (`artesian audit`); the figures follow from it.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from typing import Any

from flwr.serverapp import Grid as Nodes

from clients.measuring.statistic import Statistic, statistic_of
from clients.plan import MICRO, Plan
from ledger.errors import LedgerError
from ledger.rules import Phase
from server.cohort import RunFailed
from server.coordinator import Coordinator, Progress, write_json
from server.descent import Descent
from server.errors import ServerError
from server.ledger_copy import LedgerCopy
from server.measurement_order import Order
from server.measurement_report import (
    cost_of,
    measurement_file,
    plans_before,
    read_measurements,
    said,
    whose_units,
)
from server.releases import current_release
from server.resumption import Standing
from server.round_journal import Begun, Step
from server.rounds import Run
from server.steps import Steps
from server.training_config import Robust
from server.training_round import RoundAborted, TrainingRound


class Measuring(Run):
    """One measurement of a task's present model: the last that was aggregated or published, else its initial one."""

    def __init__(
        self,
        nodes: Nodes,
        coordinator: Coordinator,
        task_name: str,
        order: Order,
        *,
        progress: Progress = lambda _: None,
        begins: Callable[[bytes], None] = lambda _: None,
    ) -> None:
        journal = f"{task_name}/{order.what}"
        super().__init__(nodes, coordinator, task_name, progress=progress, journal=journal, begins=begins)
        self._order = order
        scores = order.what == "fairness" or (order.what == "evaluation" and self._task.spec.kind == "credit")
        self._bins = order.bins if scores else 0
        self._statistic: Statistic = statistic_of(self._task.spec, order.what, self._bins, order.column)

    def measure(self) -> dict[str, Any]:
        """Measure, and write what came out; returns the same document.

        Raises:
            RunFailed: too few firms answered, or agree to be measured; says who said what.
            NotWitnessed: the ledger does not become final.
        """
        with self._journaled():
            return self._measure()

    def measured(self) -> dict[str, Any]:
        """What the last measurement of this kind has said, once its run is over."""
        return [one for one in read_measurements(self._home.home, self._name) if one["what"] == self._order.what][-1]

    def _measure(self) -> dict[str, Any]:
        begun = self._journal.begin(1)
        self._begins(begun.run)
        paid = self._paid(begun)
        if paid is not None:
            return self._written(paid)
        plans = self._begin(begun)
        start = self._resume(plans, begun)
        left = self._left
        plans = self._coming.with_keys(plans) if left is None else plans
        descent, plan = self._present(start), self._coming.with_key(plans[0]) if left is None else left.plan
        firms = len(self.cohort.members) if left is None else len(left.offer.cohort)
        found: list[dict[str, Any]] = []

        def keep(round_id: bytes) -> None:
            found.append(self._document(one, plan, descent, round_id, firms))
            kept = {"order": self._order.text(), "document": json.dumps(found[-1])}
            self._journal.take(round_id, Step.FIGURES, "", kept)

        one = TrainingRound(self._setting, plan, descent, left, when_opened=keep)
        try:
            after, _ = one.run()
        except RoundAborted as error:
            raise RunFailed(f"{self._name}: the measurement was given up: {error}") from error
        assert after.digest == descent.digest
        document = self._written(found[-1])
        if self._record is not None:
            try:
                self._witness()
            except (ServerError, LedgerError) as error:
                self._progress(f"{self._name}: the measurement is on the ledger, and not witnessed yet: {error}")
        return document

    def _paid(self, begun: Begun) -> dict[str, Any] | None:
        """What this very order has measured, if that is paid for and on the ledger, and nothing came after it."""
        kept = self._journal.taken(begun.round, Step.FIGURES).get("") if begun.round else None
        if self._record is None or kept is None or kept["order"] != self._order.text():
            return None
        state = self._record.ledger.state
        task, measured = state.tasks.get(self._name), state.rounds.get(begun.round)
        latest = task is not None and task.latest == begun.round
        if not latest or measured is None or measured.phase is not Phase.AGGREGATED:
            return None
        document: dict[str, Any] = json.loads(kept["document"])
        return document

    def _document(
        self, one: TrainingRound, plan: Plan, descent: Descent, round_id: bytes, cohort: int
    ) -> dict[str, Any]:
        (total,), (firms,) = one.totals, one.included
        return {
            "task": self._name,
            "round": round_id.hex(),
            "model": descent.digest.hex(),
            "firms": sorted(firms),
            "of_units": whose_units(plan, self._trained()),
            "privacy": cost_of(self._task.spec, plan),
            **said(self._statistic, self._task.spec.kind == "demand", plan, total, len(firms), plan.grid(cohort)),
        }

    def _written(self, document: dict[str, Any]) -> dict[str, Any]:
        write_json(measurement_file(self._home.home, self._name, bytes.fromhex(document["round"])), document)
        self._progress(f"{self._name}: measured {self._order.what} in round {document['round'][:8]}")
        return document

    def _present(self, start: Standing) -> Descent:
        """The model that is measured; without a ledger the current release says which."""
        release = current_release(self._home.home, self._name) if self._record is None else None
        return self._model(start) if release is None else release.descent

    def _plans(self, epoch: int) -> list[Plan]:
        """The one plan of a measurement: the task's own terms, with this statistic in place of a gradient."""
        settings = self._settings
        privacy = settings.privacy.model_copy(update={"epsilon": self._order.epsilon or settings.privacy.epsilon})
        norm_micro = math.ceil(self._statistic.norm * MICRO)
        # The least that is above the norm as the plan says it, so that nobody is cut.
        steps = Steps(rounds=1, clip=norm_micro / MICRO, momentum=0.0, average_last=0.0)
        config = settings.model_copy(update={"training": steps, "privacy": privacy, "robust": Robust()})
        least = 1 if self._record is None else self._record.ledger.state.terms.min_cohort
        if len(self.cohort.members) < least:
            raise RunFailed(f"{self._name}: {len(self.cohort.members)} firms take part, the policy asks for {least}")
        held_out = settings.training.held_out or settings.robust.held_out
        measures: dict[str, Any] = {
            "dimension": self._statistic.size,
            "measures": self._order.what,
            "measure_bins": self._bins,
            "measure_column": self._order.column,
            "held_out_micro": round(held_out * MICRO) if self._order.what in ("evaluation", "fairness") else 0,
        }
        return config.plans(self._task, self.cohort.units, epoch, least=least, measures=measures)

    def _trained(self) -> list[Plan | None]:
        """The plans of the rounds that the ledger has of the task; none without one."""
        if self._record is None:
            return []
        log = self._record.ledger
        return plans_before(LedgerCopy.index(log.entries(0, log.size)).values(), self._name)
