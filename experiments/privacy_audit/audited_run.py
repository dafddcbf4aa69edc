"""One audited run: a whole federation with masks, its worst coalition, and the sums that the coalition opens.

The adversary is the coordinator, with all that the plan's claim lets it have. With distributed noise as many firms drop
out as the threshold allows, and `colluders` of the others tell it their noise; with local noise all firms but one do.
Noise that the adversary knows it takes off the sum, so those firms add none here, which is the same.
"""

from __future__ import annotations

import logging
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
from numpy.typing import NDArray

from clients.errors import ClientError
from clients.firm import Firm, PrivateTask, close_firms, open_firm
from clients.firm_config import SIMULATION
from clients.held_out import deal
from clients.plan import Plan
from clients.private_tables import Stream
from clients.tasks.examples import Examples
from clients.tasks.task import Task
from clients.wallet_row import Reservation
from experiments.federation import FederatedTask, Federation, Terms, build, run
from experiments.privacy_audit.canaries import CanaryTask
from experiments.privacy_audit.faults import Fault, FaultyStream, rows_as_units, wrong_with
from experiments.simulation import Prepared
from server import rounds, training_round
from server.aggregation.group_sums import GroupSum, after_round
from server.releases import current_release
from server.training_config import TrainingConfig

_NO_CAP = 1e6  # of a wallet: an audit spends what it likes


@dataclass(frozen=True)
class Coalition:
    """Which firms, by position, are what in an audited run.

    Attributes:
        honest: whose noise the adversary does not know; canaries are theirs.
        absent: who do not answer when asked to train.
    """

    honest: tuple[int, ...]
    absent: tuple[int, ...]

    @classmethod
    def worst(cls, plan: Plan, firms: int) -> Coalition:
        """The coalition that the plan's claim allows for at most."""
        if plan.privacy == "local":
            return cls((0,), ())
        present = min(plan.threshold, firms)
        return cls(tuple(range(present - plan.colluders)), tuple(range(present, firms)))

    def holds(self, position: int, canaries: int) -> NDArray[np.bool_]:
        """bool[canaries]: those that are a firm's, if they are included. They are dealt out to the honest firms."""
        dealt = np.arange(canaries) % len(self.honest)
        return np.asarray(dealt == (self.honest.index(position) if position in self.honest else -1))


@dataclass(frozen=True)
class Opened:
    """What an audited run leaves: the sums as the coordinator opened them, and what its release claims.

    Attributes:
        sums: float64[rounds, values], in gradient units.
        plans: of the rounds.
        privacy: the release's statement about privacy.
        usable: bool[canaries], those that the claim is about in full. Where units are dealt into parts (correlated
            noise), those of the first part; else all.
    """

    sums: NDArray[np.float64]
    plans: tuple[Plan, ...]
    privacy: dict[str, Any]
    usable: NDArray[np.bool_]


class Absent(ClientError):
    """A firm that plays one that has dropped out."""


class AuditedFirm(Firm):
    """A firm of an audited run: its task has canaries, its noise what the fault makes of it, its code is a firm's."""

    def __init__(
        self, home: Path, *, task: CanaryTask, chosen: NDArray[np.int64], noise: float, absent: bool, split: bool
    ) -> None:
        super().__init__(home)
        self._audited, self._chosen, self._noise = task, chosen, noise
        self._is_absent, self._split = absent, split
        self._with_canaries: dict[str, PrivateTask] = {}

    def model(self, name: str) -> Task:
        return self._audited

    def task(self, name: str, stream: Stream | None = None) -> PrivateTask:
        if name not in self._with_canaries:
            own = super().task(name)
            self._with_canaries[name] = PrivateTask(own.settings, self._audited, self._examples(own.examples))
        return self._with_canaries[name]

    def _examples(self, own: Examples) -> Examples:
        examples = self._audited.among(own, self._chosen)
        return rows_as_units(examples) if self._split else examples

    def charge(self, *terms: Any, **more: Any) -> Reservation | None:
        if self._is_absent:
            raise Absent(f"{self.member} plays a firm that has dropped out")
        return super().charge(*terms, **more)

    def stream(self, *labels: str | int) -> FaultyStream:
        assert self.config.experiment is not None
        out = FaultyStream.seeded(self.config.experiment.seed, self.member, *labels)
        assert isinstance(out, FaultyStream)
        out.noise = self._noise
        return out


def audited_run(
    prepared: Prepared,
    config: TrainingConfig,
    task: CanaryTask,
    included: NDArray[np.bool_],
    fault: Fault,
    seed: int,
    progress: Callable[[str], None] = lambda _: None,
) -> Opened:
    """Train a federation with the canaries that are included, and keep the sums that its coordinator opens.

    Args:
        prepared: the table among firms.
        included: bool[canaries], the auditor's coins.
    """
    name, opened = prepared.task.spec.name, list[NDArray[np.float64]]()
    plans, usable = list[Plan](), np.ones(len(included), dtype=np.bool_)

    def watching(before: Any, plan: Plan, sums: Sequence[GroupSum], *rest: Any) -> Any:
        (one,) = sums
        opened.append(one.total)
        plans.append(plan)
        return after_round(before, plan, sums, *rest)

    with tempfile.TemporaryDirectory(prefix="artesian-") as scratch:
        federated = FederatedTask(name, prepared.task, prepared.spec_text, prepared.parts, config)
        federation = build(Path(scratch) / "home", [federated], _terms(config, len(prepared.parts), seed))
        units = {member: Firm(federation.member(member)).declared(name).settings.units for member in federation.firms}
        first = config.plans(task, units, 1)[0]
        coalition = Coalition.worst(first, len(federation.firms))
        if first.correlated is not None:
            usable = _first_part(federation, task, coalition, name, first.correlated.bands, len(included))
        _open(federation, task, coalition, included, fault)
        with (
            wrong_with(fault),
            _quiet_refusals(),
            patch.object(rounds, "task_for", lambda _: task),
            patch.object(training_round, "after_round", watching),
        ):
            run(federation, name, "in-process", progress, seed)
        release = current_release(federation.coordinator, name)
    assert release is not None
    return Opened(np.array(opened), tuple(plans), release.manifest["privacy"], usable)


def _open(
    federation: Federation, task: CanaryTask, coalition: Coalition, included: NDArray[np.bool_], fault: Fault
) -> None:
    """Open every firm as what it is in this run; the canaries that are included are dealt out to the honest ones."""
    close_firms()
    honest = coalition.honest
    silent = honest[-1:] if fault.missing_share else ()
    for position, member in enumerate(federation.firms):
        mine = np.flatnonzero(included & coalition.holds(position, len(included)))
        noisy = position in honest and position not in silent

        def make(
            home: Path,
            mine: NDArray[np.int64] = mine,
            noise: float = fault.noise_factor(len(honest)) if noisy else 0.0,
            absent: bool = position in coalition.absent,
        ) -> Firm:
            return AuditedFirm(home, task=task, chosen=mine, noise=noise, absent=absent, split=fault.rows_are_units)

        open_firm(federation.member(member), make)


def _first_part(
    federation: Federation, task: CanaryTask, coalition: Coalition, name: str, parts: int, canaries: int
) -> NDArray[np.bool_]:
    """bool[canaries]: those that their firm deals into the first part, included or not."""
    out = np.zeros(canaries, dtype=np.bool_)
    for position in coalition.honest:
        mine = np.flatnonzero(coalition.holds(position, canaries))
        home = federation.member(federation.firms[position])
        firm = AuditedFirm(home, task=task, chosen=mine, noise=1.0, absent=False, split=False)
        out[task.found_in(deal(firm, firm.task(name), parts).parts[0])] = True
        firm.close()
    return out


def _terms(config: TrainingConfig, firms: int, seed: int) -> Terms:
    limits = {
        "min_cohort": 3,
        "colluders": min(1, config.privacy.colluders if config.privacy.colluders is not None else 1),
        "aggregation": [config.aggregation.kind],
        "without_ledger": True,
        "epsilon": _NO_CAP,
        "delta": config.privacy.delta,
    }
    return Terms(SIMULATION, min(3, firms), seed, ledger=False, in_memory=True, limits=limits)


@contextmanager
def _quiet_refusals() -> Iterator[None]:
    """Firms that play absent ones refuse every round on purpose."""
    logger = logging.getLogger("artesian.firm")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(level)
