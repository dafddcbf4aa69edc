"""The round loop: open, collect, open the sum, step, publish. The same for every engine, task and privacy mode.

Nothing of a run lives only in memory: the ledger says which rounds are done and which model came out, the artifact
store holds the models, so a run that stopped anywhere goes on from its last aggregated round. A round that was left
open is aborted first: an update is never submitted twice.
"""

from __future__ import annotations

import hashlib
import logging
import secrets
import time
from collections.abc import Callable, Mapping
from typing import Any

import cbor2
from flwr.serverapp import Grid

from clients.errors import ClientError
from clients.masking import wire
from clients.masking.contribution import Contribution
from clients.masking.session import Session
from clients.messages import OPEN, TRAIN, WITNESS, Refusal
from clients.participation import Offer, session_of
from clients.plan import Plan
from clients.privacy import add, epsilon
from clients.tasks.task import Task, task_for
from ledger.errors import LedgerError
from ledger.genesis import record
from ledger.rules import COORDINATOR, Phase
from ledger.statement import decode_statement, sign_statement
from server.aggregation.evidence import AggregationError, RoundVoid
from server.aggregation.masked import Aggregator
from server.aggregation.plain import PlainAggregator
from server.cohort import Cohort, RunFailed
from server.coordinator import Coordinator, Progress, write_json
from server.descent import PARAMETERS, Descent
from server.errors import ServerError
from server.model_store import load_model, store_model
from server.recording import Record
from server.releases import Release, publish

log = logging.getLogger("artesian.coordinator")
_ATTEMPTS = 3  # rounds in a row that may fail before a run is given up


class RoundAborted(ServerError):
    """A round that was given up; the next one trains again."""

    exit_code = 3


class Run:
    """One task's training run on a grid of firms."""

    def __init__(
        self,
        grid: Grid,
        coordinator: Coordinator,
        task_name: str,
        *,
        progress: Progress = lambda _: None,
        now: Callable[[], float] = time.time,
    ) -> None:
        self._home = coordinator
        self._name = task_name
        self._settings = coordinator.task(task_name)
        self._task: Task = task_for(coordinator.spec(task_name))
        self._record = Record(coordinator.log) if coordinator.config.ledger else None
        self._progress = progress
        self._now = now
        self.cohort = Cohort(grid, coordinator.config.cid, task_name, self._settings.aggregation.deadline_s)
        self.seconds: list[float] = []

    def run(self) -> Release:
        """Train until the last round and publish the model.

        Raises:
            RunFailed: too few firms answered, several rounds in a row.
            NotWitnessed: the ledger does not become final.
        """
        epoch = self._home.next_epoch() if self._settings.aggregation.kind == "masked" else 0
        self.cohort.meet(epoch)
        if self._record is not None:
            for member, size in self.cohort.mirrored.items():
                self._record.has_mirrored(member, size)
        self._declare_task()
        plans = self._settings.plans(self._task.spec, self.cohort.units, epoch)
        if epoch:
            self.cohort.pair(epoch)
        descent, done = self._resume(plans)
        failures = 0
        round_id = b""
        while done < len(plans):
            began = time.monotonic()
            try:
                descent, round_id = self._round(plans[done], descent)
            except (RoundVoid, RoundAborted) as error:
                failures += 1
                self._progress(f"{self._name}: round {done + 1} aborted: {error}")
                if failures == _ATTEMPTS:
                    raise RunFailed(
                        f"{self._name}: {failures} rounds failed in a row; the last: {error}"
                    ) from error
                continue
            failures = 0
            done += 1
            self.seconds.append(time.monotonic() - began)
            self._progress(f"{self._name}: round {done} of {len(plans)}")
        release = self._publish(descent, round_id, plans)
        self._report()
        return release

    def _report(self) -> None:
        """Leave what an operator asks about a run: how long rounds took, and who was missing why."""
        document = {"round_s": self.seconds, "refusals": [list(one) for one in self.cohort.refusals]}
        write_json(self._home.home / "runs" / f"{self._name}.json", document)

    def _declare_task(self) -> None:
        if self._record is None:
            return
        known = self._record.ledger.state.tasks.get(self._name)
        if known is None:
            spec = self._task.spec.hash
            self._record.append([self._sign("task", self._name, task=self._name, spec=spec)])
        elif known.spec != self._task.spec.hash:
            raise RunFailed(
                f"{self._name}: the ledger has another spec under this name; give the new one a new name"
            )
        self._witness(0)

    def _resume(self, plans: list[Plan]) -> tuple[Descent, int]:
        """The model to go on from and how many rounds are done."""
        start = Descent.start(self._task.architecture.initial(self._settings.training.initial_seed))
        store_model(self._home.artifacts, start)
        task = self._record.ledger.state.tasks.get(self._name) if self._record is not None else None
        if self._record is None or task is None or task.latest is None:
            return start, 0
        state = self._record.ledger.state
        last = state.rounds.get(task.latest)
        assert last is not None
        if last.phase is Phase.OPEN:
            self._abort(last.id, "the coordinator stopped before the round was aggregated")
            state = self._record.ledger.state
        done = [
            r
            for r in state.rounds.values()
            if r.task == self._name and r.phase in (Phase.AGGREGATED, Phase.PUBLISHED)
        ]
        newest = max(done, key=lambda r: r.index, default=None)
        if newest is None or newest.phase is Phase.PUBLISHED or newest.model is None:
            return start, 0
        payload = decode_statement(self._record.ledger.entries(newest.index, newest.index + 1)[0]).payload
        plan = Plan.from_map(payload["plan"])
        if plan.rounds != len(plans) or plan.number >= len(plans):
            return start, 0
        self._progress(f"{self._name}: going on after round {plan.number}")
        return load_model(self._home.artifacts, newest.model), plan.number

    # One round.

    def _round(self, plan: Plan, descent: Descent) -> tuple[Descent, bytes]:
        offer, statement = self._open(plan, descent)
        size = self._task.architecture.size
        session = session_of(self._home.config.cid, offer, self.cohort.roster, size)
        aggregator = Aggregator(session) if session.protection == "masked" else PlainAggregator(session)
        try:
            kept = self._collect(plan, offer, statement, descent, aggregator)
            headers = aggregator.close()
            if session.protection == "masked":
                self._open_sum(plan, offer, aggregator, headers)
            opened = aggregator.open()
        except AggregationError as error:
            self._abort(offer.round_id, str(error))
            if isinstance(error, RoundVoid):
                raise
            raise RoundAborted(str(error)) from error
        after = descent.step(session.quantiser.dequantise(opened.total), plan)
        self._close(offer, session, kept, opened.unmasking, after)
        return after, offer.round_id

    def _open(self, plan: Plan, descent: Descent) -> tuple[Offer, bytes]:
        """Append the round and make it final, before any firm is asked to train."""
        payload = self._payload(
            "round",
            task=self._name,
            plan=plan.to_map(),
            cohort=self.cohort.members,
            parent_model=descent.digest,
        )
        if self._record is None:
            raw = cbor2.dumps(payload, canonical=True)
            return Offer(payload, hashlib.sha256(raw).digest(), plan), raw
        raw = sign_statement(payload, issuer=COORDINATOR, subject=payload["id"].hex(), key=self._home.key)
        self._record.append([raw])
        self._witness(plan.number)
        self._record.require_final()
        return Offer(payload, decode_statement(raw).digest, plan), raw

    def _collect(
        self,
        plan: Plan,
        offer: Offer,
        statement: bytes,
        descent: Descent,
        aggregator: Aggregator | PlainAggregator,
    ) -> dict[str, Contribution]:
        """First trip: the protected updates; those that fit are recorded and added up."""
        files = descent.files()
        request = {
            "statement": statement,
            "receipt": self._receipt(statement),
            "parameters": files[PARAMETERS],
            "digests": {
                name: hashlib.sha256(raw).digest() for name, raw in files.items() if name != PARAMETERS
            },
        }
        requests = {member: {**request, "sealed": self.cohort.sealed_for(member)} for member in offer.cohort}
        kept: dict[str, Contribution] = {}
        for member, reply in self.cohort.ask(TRAIN, requests, plan.number):
            try:
                contribution = Contribution.from_bytes(reply["contribution"])
                commit = self._accept_statement(member, reply["statement"], contribution)
                aggregator.add(member, contribution, commit)
            except (AggregationError, ClientError, LedgerError) as error:
                self.cohort.note(plan.number, member, str(error))
                continue
            kept[member] = contribution
            self.cohort.has_answered(member)
        return kept

    def _accept_statement(self, member: str, statement: bytes, contribution: Contribution) -> bytes:
        """Put a firm's contribution on the ledger; returns the commitment that it signed."""
        if self._record is None:
            return contribution.commit
        read = decode_statement(statement)
        if read.issuer != member or read.payload["t"] != "contribution":
            raise Refusal("statement", f"{member} sent a statement that is not its own contribution")
        commit = bytes(read.payload["commit"])
        if commit != contribution.commit:
            raise Refusal("statement", f"{member} signed another contribution than it sent")
        self._record.append([statement])
        return commit

    def _open_sum(
        self, plan: Plan, offer: Offer, aggregator: Aggregator | PlainAggregator, headers: Mapping[str, bytes]
    ) -> None:
        """Second trip: firms see the recorded contributions, cosign, and send what opens exactly their sum."""
        request: dict[str, Any] = {"round": offer.round_id, "headers": dict(headers)}
        commits = {member: hashlib.sha256(raw).digest() for member, raw in headers.items()}
        requests = {}
        every = self._record.news_for(list(headers)) if self._record is not None else {}
        for member in headers:
            news = wire.encode(every[member]) if self._record is not None else b""
            own = {"inbound": aggregator.inbound_for(member), "news": news}
            requests[member] = {**request, **own, "commits": {} if self._record is not None else commits}
        replies = self.cohort.ask(OPEN, requests, plan.number)
        if self._record is not None:
            self._record.take(replies)
        for member, reply in replies:
            try:
                aggregator.accept(member, reply["reply"])
            except AggregationError as error:
                self.cohort.note(plan.number, member, str(error))

    def _close(
        self,
        offer: Offer,
        session: Session,
        kept: Mapping[str, Contribution],
        unmasking: bytes,
        after: Descent,
    ) -> None:
        """Store every artifact of the round, then record the aggregate that binds them."""
        parts = [part for one in kept.values() for part in (one.header, one.masked, one.pair_hashes)]
        names = self._home.artifacts.put_all([session.raw, unmasking, *parts])
        store_model(self._home.artifacts, after)
        if self._record is None:
            return
        current = self._record.ledger.state.rounds.get(offer.round_id)
        assert current is not None
        statement = self._sign(
            "aggregate",
            offer.round_id.hex(),
            parent=offer.digest,
            round=offer.round_id,
            inputs=current.inputs(),
            unmask=names[1],
            model=after.digest,
        )
        self._record.append([statement])

    def _publish(self, descent: Descent, round_id: bytes, plans: list[Plan]) -> Release:
        plan = plans[-1]
        spent = add([one.round_rdp() for one in plans])
        privacy = {
            "mode": plan.privacy,
            "unit": self._task.spec.privacy.words(self._task.spec.series),
            "epsilon": epsilon(spent, plan.delta) if plan.privacy != "none" else None,
            "delta": plan.delta,
            "noise_multiplier": plan.noise_multiplier,
            "sampling_rate": plan.sampling_rate,
            "colluders": plan.colluders,
        }
        if self._record is not None:
            self._witness(plan.number)
        release = publish(
            self._home,
            self._name,
            descent,
            round_id,
            facts={"rounds": len(plans), "firms": self.cohort.members, "privacy": privacy},
            record=self._record,
            sign=self._sign,
            witness=lambda: self._witness(plan.number),
        )
        self._progress(f"{self._name}: published model {release.model.hex()[:16]}")
        return release

    def _witness(self, number: int) -> None:
        """Bring every firm's witness up to date and keep the cosignatures."""
        assert self._record is not None
        requests = self._record.news_for(self.cohort.members)
        self._record.take(self.cohort.ask(WITNESS, requests, number))

    def _receipt(self, statement: bytes) -> bytes:
        if self._record is None:
            return b""
        index = self._record.ledger.index_of(decode_statement(statement).digest)
        assert index is not None
        return self._record.ledger.receipt(index)

    def _abort(self, round_id: bytes, reason: str) -> None:
        if self._record is not None:
            text = " ".join(reason.split())[:500]
            self._record.append([self._sign("abort", round_id.hex(), round=round_id, reason=text)])

    def _payload(self, kind: str, **fields: Any) -> dict[str, Any]:
        return record(
            kind, cid=self._home.config.cid, record_id=secrets.token_bytes(16), ts=int(self._now()), **fields
        )

    def _sign(self, kind: str, subject: str, **fields: Any) -> bytes:
        return sign_statement(
            self._payload(kind, **fields), issuer=COORDINATOR, subject=subject, key=self._home.key
        )
