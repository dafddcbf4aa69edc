"""Who takes part in the rounds to come, with which keys and by which plans: what is done before and between rounds."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import replace
from typing import Any

from clients.errors import ClientError
from clients.plan import Plan
from server.asking_again import Waiting
from server.cohort import RunFailed
from server.coordinator import Coordinator, Progress
from server.errors import ServerError
from server.held_key import set_up_key
from server.key_epochs import KeyEpochs, last_epoch
from server.recording import Record
from server.round_setting import Setting
from server.round_terms import RoundTerms
from server.taking_up import meet
from server.witnessing import bring_up_to_date


class ComingRounds:
    """The firms of a run, their masking epoch, and the plans that are drawn up for them."""

    def __init__(
        self,
        coordinator: Coordinator,
        shared: Setting,
        epochs: KeyEpochs,
        spec: bytes,
        *,
        plans: Callable[[int], list[Plan]],
        progress: Progress,
        waiting: Waiting,
    ) -> None:
        """Prepare to meet the firms.

        Args:
            spec: hash of the task's spec, 32 bytes.
            plans: draws up the plan of every round, for the firms that take part by then and an epoch of masking keys.
        """
        self._home = coordinator
        self._name, self._cohort, self._record = shared.task, shared.cohort, shared.record
        self._statements, self._journal = shared.statements, shared.journal
        self._epochs = epochs
        self._spec = spec
        self._plans = plans
        self._progress = progress
        self._waiting = waiting
        self._masked = coordinator.task(shared.task).aggregation.kind == "masked"
        self._stream: tuple[int, tuple[str, ...]] | None = None
        self._keys_are_partial = False

    def meet(self, epoch: int | None = None, wanted: Collection[str] = ()) -> list[Plan]:
        """Meet the firms, declare the task, and draw up the plan of every round; masking keys are not set up yet.

        Args:
            epoch: of the masking keys; by default a new one.
            wanted: firms that are waited for.
        """
        if epoch is None:
            epoch = self._home.next_epoch(last_epoch(self._record)) if self._masked else 0
        enrolled = None if self._record is None else self._record.enrolled_key
        meet(self._cohort, epoch, enrolled, wanted, self._journal, self._waiting)
        if self._record is not None:
            for member, size in self._cohort.mirrored.items():
                self._record.has_mirrored(member, size)
            self._declare_task(self._record)
            if not self._masked:
                bring_up_to_date(self._cohort, self._record, 0)
        return self._plans(epoch)

    def go_on(self, epoch: int, keys: Mapping[str, Any], *, anew: bool) -> list[Plan]:
        """The plans for an epoch that goes on with the masking keys that it has, for the firms of it that were met.

        Args:
            anew: whether another epoch may begin where other firms than those that were paired take part.
        """
        self._cohort.take_up_keys(epoch, keys)
        self._epochs.take_up(epoch)
        self._keys_are_partial = not self._cohort.is_whole
        return self.meet() if anew and self._keys_are_partial else self._plans(epoch)

    def with_keys(self, plans: list[Plan]) -> list[Plan]:
        """The plans for a masking epoch that has begun: for a new one, if the keys of the last have ended."""
        if not plans[0].epoch:
            return plans
        if self._epochs.are_over(plans[0].epoch):
            plans = self.meet()
            self._progress(f"{self._name}: masking epoch {plans[0].epoch} begins: a firm's keys have ended")
        elif self._keys_are_partial:
            plans = self.meet()
            self._progress(f"{self._name}: masking epoch {plans[0].epoch} begins: other firms take part")
        self._keys_are_partial = False
        if not self._epochs.has_begun(plans[0].epoch):
            self._epochs.begin(plans[0].epoch)
            plans = self._plans(plans[0].epoch)  # of the firms that have set up their keys
            self._journal.have_keys(plans[0].epoch, self._cohort.keys)
        out = self._cohort.settle(plans[0].colluders)
        if out:
            self._progress(f"{self._name}: going on without {', '.join(sorted(out))}: a pair secret does not open")
            plans = self._plans(plans[0].epoch)
            self._journal.have_keys(plans[0].epoch, self._cohort.keys)
        return plans

    def without_silent(self, plans: list[Plan]) -> list[Plan]:
        """The plans for trying a void round in groups again without the firms that did not answer, if enough are left.

        Two of them in one group void the round for all, in each try. They are asked again in the next round. A firm
        that contributed is never left out of the next try: without noise the difference of the two sums would be its
        update.
        """
        out = self._cohort.set_aside() if plans[0].groups > 1 else None
        if not out:
            return plans
        try:
            fewer = self._plans(plans[0].epoch)
        except (ServerError, ClientError):
            self._cohort.take_back(out)
            return plans
        self._progress(f"{self._name}: the next try is without {', '.join(sorted(out))}: no answer")
        return fewer

    def taken_up(self, left: RoundTerms) -> Plan:
        """The plan of a round that was open; its row of correlated noise goes on with it."""
        self._stream = (left.plan.stream_from, tuple(left.offer.cohort)) if left.plan.correlation else None
        return left.plan

    def with_key(self, plan: Plan) -> Plan:
        """The plan with a key of its own for the round, where its sum is to be encrypted."""
        if plan.aggregation != "encrypted":
            return plan
        epoch = self._home.next_epoch(last_epoch(self._record))
        context = set_up_key(self._cohort, self._record, self._home.artifacts, plan, epoch)
        return replace(plan, epoch=epoch, context=context)

    def in_stream(self, plan: Plan) -> Plan:
        """The plan as the next row of correlated noise, or the first of a new stream.

        Rows of a stream go on without a gap, with the same firms. What a void round released may not be released again
        at the price of once, so after one, and after a stop of the coordinator, there is a new stream.
        """
        if not plan.correlation:
            return plan
        firms = tuple(self._cohort.members)
        if self._stream is None or self._stream[1] != firms:
            self._stream = plan.number, firms
        return replace(plan, stream_from=self._stream[0])

    def end_stream(self) -> None:
        """Begin a new stream of correlated noise with the next round: the last one was void."""
        self._stream = None

    def _declare_task(self, record: Record) -> None:
        known = record.ledger.state.tasks.get(self._name)
        if known is None:
            record.append([self._statements.make("task", self._name, task=self._name, spec=self._spec)])
        elif known.spec != self._spec:
            raise RunFailed(f"{self._name}: the ledger has another spec under this name; give the new one a new name")
