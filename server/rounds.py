"""The round loop: meet the firms, train round by round, publish. The same for every engine, task and privacy mode.

Nothing of a run lives only in memory: the ledger says which rounds are done and which model came out, the artifact
store holds the models and what firms sent, the journal where the open round is. So a run that stopped anywhere goes on
where it was. A round that cannot be taken up is aborted first: an update is never submitted twice.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from flwr.serverapp import Grid

from clients.plan import Plan
from clients.tasks.task import Task, task_for
from clients.tracing import span
from server.after_training import AfterTraining
from server.asking_again import REAL_TIME, Waiting
from server.cohort import Cohort, RunFailed
from server.coming_rounds import ComingRounds
from server.coordinator import Coordinator, Progress, write_json
from server.descent import Descent
from server.key_epochs import KeyEpochs, last_epoch
from server.live_record import open_record
from server.model_store import load_model, store_model
from server.node_names import registered_names
from server.ordered_run import HeldBetweenRounds
from server.releases import Release, is_current
from server.resumption import Standing, open_round, standing
from server.root_table import RootTable
from server.round_journal import Begun, RoundJournal, Step
from server.round_setting import Setting
from server.round_terms import RoundTerms
from server.statements import Statements
from server.taking_up import left_open, unfit
from server.training_round import RoundAborted, TrainingRound
from server.witnessing import bring_up_to_date

log = logging.getLogger("artesian.coordinator")
_ATTEMPTS = 3  # rounds in a row that may fail before a run is given up


class Run:
    """One task's training run on a grid of firms.

    Attributes:
        cohort: the firms; its `refusals` say who was missing and why.
        seconds: how long each aggregated round took.
    """

    def __init__(
        self,
        grid: Grid,
        coordinator: Coordinator,
        task_name: str,
        *,
        progress: Progress = lambda _: None,
        now: Callable[[], float] = time.time,
        before_round: Callable[[int, int], None] = lambda done, total: None,
        waiting: Waiting = REAL_TIME,
        journal: str = "",
        begins: Callable[[bytes], None] = lambda _: None,
    ) -> None:
        """Prepare to run.

        Args:
            before_round: is told before each round how many of how many are done; what it raises ends the run there.
            journal: names its journal where that is not the task's own.
            begins: is told the run's id in the journal before anything of it is done; what it raises ends it there.
        """
        self._home = coordinator
        self._name = task_name
        self._settings = coordinator.task(task_name)
        self._task: Task = task_for(coordinator.spec(task_name))
        root, robust = coordinator.home, self._settings.robust
        self._root = None if robust.root is None else RootTable.read(root / robust.root, self._task)
        keeps = coordinator.config.ledger and not coordinator.config.in_memory
        self._journal = RoundJournal(coordinator.store if keeps else None, journal or task_name, now)
        self._record = open_record(coordinator, self._journal) if coordinator.config.ledger else None
        self._statements = Statements(coordinator.config.cid, lambda: coordinator.key, now)
        self._progress = progress
        self._now = now
        self._before_round = before_round
        self._begins = begins
        self.cohort = Cohort(
            grid,
            coordinator.config.cid,
            task_name,
            self._settings.aggregation.deadline_s,
            journal=self._journal,
            waiting=waiting,
            names=registered_names(coordinator.home, coordinator.config.network),
        )
        self._setting = Setting(
            task_name,
            self._task.architecture.size,
            self.cohort,
            self._record,
            self._statements,
            coordinator.artifacts,
            self._root,
            self._journal,
        )
        self._coming = ComingRounds(
            coordinator,
            self._setting,
            KeyEpochs(self.cohort, self._record, now),
            self._task.spec.hash,
            plans=self._plans,
            progress=progress,
            waiting=waiting,
        )
        self.seconds: list[float] = []
        self._left: RoundTerms | None = None
        self._has_trained = False

    def is_over(self, run: bytes) -> bool:
        """Whether the run with this id in the journal has come to its end: nothing of it is to be paid for again."""
        return self._journal.is_over(run)

    def run(self) -> Release:
        """Train until the last round and publish the model.

        Raises:
            RunFailed: too few firms answered, several rounds in a row; says who said what.
            NotWitnessed: the ledger does not become final.
        """
        with self._journaled():
            begun = self._journal.begin(self._settings.training.rounds)
            self._has_trained = begun.was_publishing
            self._begins(begun.run)
            plans = self._begin(begun)
            start = self._resume(plans, begun)
            self._after().deliver_missed()
            descent, round_id, plans = self._train(plans, start)
            self._has_trained = True
            self._journal.at(Step.PUBLISH)
            release = self._publish(descent, round_id, plans)
            self._journal.at(Step.DELIVERY)
            self._after().prune()
            self._after().deliver()
        return release

    @contextmanager
    def _journaled(self) -> Iterator[None]:
        """Say in the journal how the run ended, unless its process is ended; one that is held goes on another time.

        One that has trained all its rounds does not fail any more: who begins it again has it published, and no firm
        pays for another.
        """
        try:
            yield
        except HeldBetweenRounds:
            self._journal.at(Step.BETWEEN)
            raise
        except Exception as error:
            step = Step.PUBLISH if self._has_trained else Step.FAILED
            self._journal.end(step, type(error).__name__, str(error))
            raise
        finally:
            self._report()
        self._journal.end(Step.OVER)

    def _begin(self, begun: Begun) -> list[Plan]:
        """Meet the firms: again, in the epoch that they are in, where the run goes on; else in a new one."""
        self._left = left = self._look_back(begun)
        wanted = () if left is None else left.offer.cohort
        masked = self._settings.aggregation.kind == "masked"
        lasts = masked and bool(begun.keys) and begun.epoch == last_epoch(self._record)
        if not lasts or (left is None and not begun.taken_up):
            return self._coming.meet(wanted=wanted)
        try:
            self._coming.meet(begun.epoch, wanted=wanted)
        except RunFailed:
            if not self.cohort.keys_have_ended:
                raise
            if left is not None:
                self._left = None
                self._give_up("the coordinator stopped before the round was aggregated, and its firms' keys have ended")
            return self._coming.meet()
        return self._coming.go_on(begun.epoch, begun.keys, anew=left is None)

    def _look_back(self, begun: Begun) -> RoundTerms | None:
        """The round that was left open; one that cannot be taken up is given up."""
        if self._record is None:
            return None
        left = left_open(self._record, self._journal, begun, self._name, self._now())
        if not isinstance(left, str):
            return left
        self._give_up(left)
        return None

    def _give_up(self, why: str) -> None:
        """Abort the round that the ledger has open."""
        assert self._record is not None
        left = open_round(self._record.ledger, self._name)
        assert left is not None
        self._setting.abort(left.id, why)
        self._progress(f"{self._name}: an open round is given up: {why}")

    def _plans(self, epoch: int) -> list[Plan]:
        least = 1 if self._record is None else self._record.ledger.state.terms.min_cohort
        if len(self.cohort.members) < least:
            said = {who for number, who, _ in self.cohort.refusals if number == 0}  # that it sits out, say
            apart = ", ".join(sorted({*self.cohort.witnesses} - {*self.cohort.enlisted} - said))
            raise RunFailed(
                f"{self._name}: {len(self.cohort.members)} firms take part, the policy asks for {least}; "
                f"{f'without this task in its firm.toml: {apart}; ' if apart else ''}{self.cohort.why(0)}"
            )
        root = b"" if self._root is None else self._root.digest
        return self._settings.plans(self._task, self.cohort.units, epoch, least=least, root=root)

    def _resume(self, plans: list[Plan], begun: Begun) -> Standing:
        """Where the run stands; a round that was left open and does not go with it is aborted."""
        if self._record is None:
            return Standing(None, 0, b"")
        start = standing(self._record.ledger, self._name, plans)
        current = start.published and is_current(self._home.home, self._name, start.parent)
        if current and not begun.was_publishing:
            start = Standing(start.parent, 0, start.round_id)
        self._has_trained = begun.was_publishing and (start.published or start.done == len(plans))
        if self._left is not None:
            why = unfit(self._left, plans, start, self._model(start).digest)
            if why:
                self._left = None
                self._give_up(why)
            else:
                self._progress(f"{self._name}: going on with round {start.done + 1}, which was open")
        elif start.done:
            self._progress(f"{self._name}: going on after round {start.done}")
        return start

    def _train(self, plans: list[Plan], start: Standing) -> tuple[Descent, bytes, list[Plan]]:
        descent, round_id, done, failures = self._model(start), start.round_id, start.done, 0
        if start.published:
            return descent, round_id, plans
        coming = self._coming
        while done < len(plans):
            self._before_round(done, len(plans))
            left, self._left = self._left, None
            plans = coming.with_keys(plans) if left is None else plans
            began = time.monotonic()
            try:
                plan = coming.in_stream(coming.with_key(plans[done])) if left is None else coming.taken_up(left)
                with span("round", task=self._name, number=plan.number):
                    descent, round_id = TrainingRound(self._setting, plan, descent, left).run()
            except RoundAborted as error:
                coming.end_stream()
                failures += not self.cohort.disputed  # else fewer firms try it again
                self._progress(f"{self._name}: round {done + 1} aborted: {error}")
                if failures == _ATTEMPTS:
                    raise RunFailed(f"{self._name}: {failures} rounds failed in a row; the last: {error}") from error
                plans = coming.without_silent(plans)
                continue
            failures = 0
            done += 1
            if self.cohort.take_back():
                plans = self._plans(plans[0].epoch)
            self.seconds.append(time.monotonic() - began)
            self._progress(f"{self._name}: round {done} of {len(plans)}")
        return descent, round_id, plans

    def _model(self, start: Standing) -> Descent:
        if start.parent is not None:
            return load_model(self._home.artifacts, start.parent)
        initial = Descent.start(self._task.architecture.initial(self._settings.training.initial_seed))
        store_model(self._home.artifacts, initial)
        return initial

    def _after(self) -> AfterTraining:
        return AfterTraining(
            self._home,
            self._name,
            self.cohort,
            self._record,
            self._statements,
            self._progress,
            self._now,
            self._witness,
        )

    def _publish(self, descent: Descent, round_id: bytes, plans: list[Plan]) -> Release:
        return self._after().publish(descent, round_id, plans, self._task.spec)

    def _witness(self) -> None:
        assert self._record is not None
        bring_up_to_date(self.cohort, self._record, 0)

    def _report(self) -> None:
        """Leave what an operator asks about a run: how long rounds took, and who was missing why."""
        document = {"round_s": self.seconds, "refusals": [list(one) for one in self.cohort.refusals]}
        write_json(self._home.home / "runs" / f"{self._name}.json", document)
