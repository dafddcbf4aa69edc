"""A measurement: one round that sums a statistic of the firms' records with noise, and what it says.

It is opened, paid for, masked and recorded as a training round is, and leaves the task's model as it was. Anyone can
compute the sum again from the ledger and the store (`artesian audit`); the figures follow from it.
"""

from __future__ import annotations

import json
import math
import shlex
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, Self

import numpy as np
from flwr.serverapp import Grid as Nodes
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from clients.composition import tightest_epsilon
from clients.grid import Grid
from clients.masking.ring import Integers
from clients.measuring.statistic import Statistic, statistic_of
from clients.plan import MICRO, Plan
from clients.plan_record import MEASUREMENTS
from clients.tasks.spec import TaskSpec, load_spec
from ledger.errors import LedgerError
from ledger.rules import Phase
from server.cohort import RunFailed
from server.coordinator import Coordinator, CoordinatorConfig, Progress, write_json
from server.descent import Descent
from server.errors import ServerError
from server.figures import Counts, figures
from server.ledger_copy import LedgerCopy, RecordedRound
from server.releases import current_release
from server.resumption import Standing
from server.round_journal import Begun, Step
from server.rounds import Run
from server.steps import Steps
from server.training_config import Robust
from server.training_round import RoundAborted, TrainingRound

FOLDER = "measurements"
BINS = 20


class OrderInvalid(ServerError):
    """A measurement that cannot be ordered as it is written."""


class Order(BaseModel):
    """What to measure, and what the round may cost every unit.

    `bins` are score bins, for evaluation and fairness; `column` is whose values fairness compares.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    what: str
    epsilon: float | None = Field(default=None, gt=0, allow_inf_nan=False)
    bins: int = Field(default=BINS, ge=2, le=1000)
    column: str = ""

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read an order as a run config holds it: `what=evaluation epsilon=0.1 bins=20`.

        Raises:
            OrderInvalid: naming the word that is wrong.
        """
        orders = cls.parse_all(text)
        if len(orders) != 1:
            raise OrderInvalid(f"measure: {len(orders)} orders where one is wanted: {text!r}")
        return orders[0]

    @classmethod
    def parse_all(cls, text: str) -> list[Self]:
        """Read orders with semicolons between them; a name with a space or a semicolon in it stands in quotes.

        Raises:
            OrderInvalid: naming the word that is wrong.
        """
        lexer = shlex.shlex(text, posix=True, punctuation_chars=";")
        lexer.whitespace_split, lexer.commenters = True, ""
        try:
            tokens = list(lexer)
        except ValueError as error:
            raise OrderInvalid(f"measure: {text!r}: {error}") from None
        orders = list[list[str]]([[]])
        for token in tokens:
            if token.strip(";"):
                orders[-1].append(token)
            else:
                orders.append([])
        return [cls._read(words) for words in orders if words]

    @classmethod
    def _read(cls, tokens: Iterable[str]) -> Self:
        words = [token.partition("=") for token in tokens]
        odd = next((name for name, _, _ in words if name not in cls.model_fields), None)
        if odd is not None:
            raise OrderInvalid(f"measure: {odd!r} is none of {', '.join(cls.model_fields)}")
        order = cls.of(**{name: value for name, _, value in words})
        if order.what not in MEASUREMENTS:
            raise OrderInvalid(f"measure: what must be one of {', '.join(MEASUREMENTS)}, not {order.what!r}")
        return order

    @classmethod
    def of(cls, **values: Any) -> Self:
        """An order of these values.

        Raises:
            OrderInvalid: naming the one that is wrong.
        """
        try:
            return cls.model_validate(values)
        except ValidationError as error:
            wrong = error.errors()[0]
            where = " ".join(map(str, wrong["loc"]))
            raise OrderInvalid(f"measure: {where} {wrong['input']!r}: {wrong['msg']}") from None

    def text(self) -> str:
        """The order as a run config holds it."""
        given = self.model_dump(exclude_none=True).items()
        return " ".join(shlex.quote(f"{name}={value}") for name, value in given if value != "")


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
        plans = self._with_keys(plans) if left is None else plans
        descent, plan = self._present(start), self._with_key(plans[0]) if left is None else left.plan
        firms = len(self.cohort.members) if left is None else len(left.offer.cohort)
        found: list[dict[str, Any]] = []

        def keep(round_id: bytes) -> None:
            found.append(self._document(one, plan, descent, round_id, firms))
            kept = {"order": self._order.text(), "document": json.dumps(found[-1])}
            self._journal.take(round_id, Step.FIGURES, "", kept)

        one = TrainingRound(self._setting(), plan, descent, left, when_opened=keep)
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


def plans_before(rounds: Iterable[RecordedRound], task_name: str, entry: int | None = None) -> list[Plan | None]:
    """The plans of a task's rounds that made a model, up to an entry of the ledger; None where one cannot be read."""
    made = (one for one in rounds if one.payload["task"] == task_name and one.aggregate is not None)
    plans = [one.plan for one in made if entry is None or one.entry < entry]
    return [plan for plan in plans if plan is None or not plan.measures]


def whose_units(plan: Plan, trained: Sequence[Plan | None]) -> str:
    """Which units a figure is of: a model is only ever tested on those that no round has trained on.

    Args:
        trained: the plans of all rounds of the task that trained; with another plan, or one that this version cannot
            read, nobody knows whom it trained on.
    """
    if plan.measures in ("units", "columns"):
        return "all units"
    if not plan.held_out_micro:
        return "units that the model was trained on: no test"
    if any(one is None or one.held_out_micro < plan.held_out_micro for one in trained):
        return "units some of which a round has trained on: no test"
    votes = any(one is not None and one.votes for one in trained)
    return f"units held out of training{', which voted on its steps' if votes else ''}"


def cost_of(spec: TaskSpec, plan: Plan) -> dict[str, Any]:
    """What a measurement has cost every unit of a firm, and what one is."""
    mechanism = plan.round_mechanism()
    return {
        "mode": plan.privacy,
        "unit": spec.privacy.words(spec.series),
        "epsilon": None if mechanism is None else tightest_epsilon([mechanism], plan.delta),
        "delta": plan.delta,
        "noise_multiplier": plan.noise_multiplier,
    }


def said(statistic: Statistic, demand: bool, plan: Plan, total: Integers, firms: int, grid: Grid) -> dict[str, Any]:
    """What an opened sum says; the same for the coordinator and for whoever computes the sum again.

    Args:
        total: int64[plan.dimension], the opened sum.
        firms: how many are in it: each has added its noise.
        grid: the plan's, for the round's cohort.
    """
    counts = counts_of(statistic, total, firms, grid)
    return {
        "what": statistic.what,
        "column": plan.measure_column,
        "bins": plan.measure_bins,
        "counts": [round(float(one), 6) for one in counts.values],
        "noise": round(counts.noise, 6),
        "figures": figures(statistic, demand, plan.measure_bins, counts),
    }


def counts_of(statistic: Statistic, total: Integers, firms: int, grid: Grid) -> Counts:
    """An opened sum in counts, with the noise that these firms have added."""
    one = grid.step / statistic.scale
    return Counts(total.astype(np.float64) * one, grid.sigma * one * math.sqrt(firms))


def read_measurements(home: Path, task_name: str) -> list[dict[str, Any]]:
    """All that a coordinator has measured of a task, oldest first."""
    folder = home / FOLDER / task_name
    paths = sorted(folder.glob("*.json"), key=lambda path: path.stat().st_mtime_ns) if folder.is_dir() else []
    return [json.loads(path.read_text(encoding="utf-8")) for path in paths]


def told_of(document: dict[str, Any]) -> str:
    """How a measurement's order ends: what was measured, in which round."""
    return f"measured {document['what']} in round {document['round'][:12]}"


def round_told_in(words: str) -> str:
    """How the id of the round begins that `told_of` names."""
    return words.rpartition(" ")[2]


def check_order(home: Path, config: CoordinatorConfig, task_name: str, order: Order) -> None:
    """Refuse an order that no run could carry out, before there is one.

    Raises:
        OrderInvalid, PlanInvalid: naming what is wrong.
    """
    task = next((one for one in config.task if one.name == task_name), None)
    if task is None:
        raise OrderInvalid(f"measure: {home} has no task {task_name!r}")
    if task.privacy.mode != "none" and order.epsilon is None and task.privacy.epsilon is None:
        raise OrderInvalid("measure: give --epsilon, what it may cost every unit")
    statistic_of(load_spec(home / task.spec), order.what, order.bins, order.column)


def measurement_file(home: Path, task_name: str, round_id: bytes) -> Path:
    """Where a coordinator keeps what a measurement said."""
    return home / FOLDER / task_name / f"{round_id.hex()}.json"
