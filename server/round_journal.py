"""The round journal: what a run of a task needs to go on where it was, written down before or as it happens.

The ledger says what is agreed, the artifact store has what firms sent; neither knows what was about to be said. So each
statement is here before it is submitted, and a repeat submits the very same bytes; each answer of a firm is here when
it has come, and nobody is asked for it again. One transaction a step; a step that returned is durable. What belongs to
a round is deleted when the round is over. Without a store (simulations in memory) nothing is written, and a run that
stops begins its round anew.
"""

from __future__ import annotations

import json
import secrets
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

import cbor2
import sqlalchemy as sa

from server.store import PREFIX, Part, StateStore

_TABLES = sa.MetaData()
RUNS = sa.Table(
    f"{PREFIX}runs",
    _TABLES,
    sa.Column("task", sa.Text, primary_key=True),
    sa.Column("run", sa.LargeBinary, nullable=False),
    sa.Column("began_s", sa.BigInteger, nullable=False),
    sa.Column("taken_up", sa.Integer, nullable=False),  # how often it went on after it had stopped
    sa.Column("rounds", sa.Integer, nullable=False),
    sa.Column("number", sa.Integer, nullable=False),
    sa.Column("round", sa.LargeBinary, nullable=False),  # the open one; empty between rounds
    sa.Column("step", sa.Text, nullable=False),
    sa.Column("since_s", sa.BigInteger, nullable=False),
    sa.Column("epoch", sa.Integer, nullable=False),
    sa.Column("keys", sa.LargeBinary, nullable=False),
)
STEPS = sa.Table(
    f"{PREFIX}round_steps",
    _TABLES,
    sa.Column("task", sa.Text, primary_key=True),
    sa.Column("round", sa.LargeBinary, primary_key=True),
    sa.Column("step", sa.Text, primary_key=True),
    sa.Column("member", sa.Text, primary_key=True),
    sa.Column("content", sa.LargeBinary, nullable=False),
    sa.Column("at_s", sa.BigInteger, nullable=False),
)
WAITS = sa.Table(
    f"{PREFIX}waits",
    _TABLES,
    sa.Column("task", sa.Text, primary_key=True),
    sa.Column("kind", sa.Text, nullable=False),
    sa.Column("members", sa.Text, nullable=False),  # JSON
    sa.Column("since_s", sa.BigInteger, nullable=False),
    sa.Column("deadline_s", sa.BigInteger, nullable=False),
)
NOTES = sa.Table(
    f"{PREFIX}round_notes",
    _TABLES,
    sa.Column("id", sa.Integer, primary_key=True, autoincrement=True),
    sa.Column("task", sa.Text, nullable=False, index=True),
    sa.Column("number", sa.Integer, nullable=False),
    sa.Column("member", sa.Text, nullable=False),  # empty for what became of a whole round
    sa.Column("code", sa.Text, nullable=False),
    sa.Column("detail", sa.Text, nullable=False),
    sa.Column("at_s", sa.BigInteger, nullable=False),
)
PART = Part("rounds", _TABLES)


class Step(StrEnum):
    """Where a run is. In this order, but for an abort, which may follow on any."""

    MEETING = "meeting the firms"
    KEYS = "masking keys"
    OPENED = "round opened"
    CONTRIBUTION = "collecting contributions"
    CLOSED = "opening the sums"
    ANSWER = "opening answers"
    VOTE = "votes"
    FIGURES = "figures of the measurement"
    AGGREGATE = "aggregate"
    BETWEEN = "between rounds"
    PUBLISH = "publishing"
    DELIVERY = "delivering the release"
    OVER = "over"
    FAILED = "failed"


@dataclass(frozen=True)
class Begun:
    """A run that has begun and is not over.

    Attributes:
        run: its id, 16 bytes.
        taken_up: how often it went on after it had stopped.
        step: where it was.
        round: the id of its open round; empty where none is.
        epoch: of the masking keys that it has; 0 where it has none.
        keys: what is needed to go on in that epoch, see `Cohort.keys`.
    """

    run: bytes
    taken_up: int
    step: Step
    round: bytes
    epoch: int
    keys: Mapping[str, Any]

    @property
    def was_publishing(self) -> bool:
        """Whether it had trained all that it was to train."""
        return self.taken_up > 0 and self.step in (Step.PUBLISH, Step.DELIVERY)


class RoundJournal:
    """The journal of one task's runs; without a store it is empty and stays so."""

    def __init__(self, store: StateStore | None, task: str, now: Callable[[], float]) -> None:
        self._store = store
        self._task = task
        self._now = now
        self._number = 0
        self._waiting: tuple[str, tuple[str, ...]] | None = None

    def __bool__(self) -> bool:
        """Whether anything is written down."""
        return self._store is not None

    def begin(self, rounds: int) -> Begun:
        """Take up the run that has not ended, or begin one."""
        if self._store is None:
            return Begun(b"", 0, Step.MEETING, b"", 0, {})
        with self._store.write(PART) as connection:
            row = connection.execute(sa.select(RUNS).where(RUNS.c.task == self._task)).one_or_none()
            connection.execute(sa.delete(WAITS).where(WAITS.c.task == self._task))
            if row is not None and row.step not in (Step.OVER, Step.FAILED):
                self._number = row.number
                self._set(connection, taken_up=row.taken_up + 1)
                return Begun(row.run, row.taken_up + 1, Step(row.step), row.round, row.epoch, _read(row.keys))
            return self._begin_anew(connection, rounds, row)

    def is_over(self, run: bytes) -> bool:
        """Whether this is the task's last run, and came to its end."""
        if self._store is None or not run:
            return False
        with self._store.read(PART) as connection:
            row = connection.execute(sa.select(RUNS.c.run, RUNS.c.step).where(RUNS.c.task == self._task)).one_or_none()
            return row is not None and (row.run, row.step) == (run, Step.OVER)

    def _begin_anew(self, connection: sa.Connection, rounds: int, before: sa.Row[Any] | None) -> Begun:
        # What a failed run left open can still be taken up, and its keys be used; its notes are told no more.
        run, at_s = secrets.token_bytes(16), int(self._now())
        kept = {} if before is None else {name: getattr(before, name) for name in ("round", "number", "epoch", "keys")}
        if before is not None and before.step == Step.OVER:
            kept["number"] = 0  # none of this run's rounds is there yet
        fields = {"number": 0, "round": b"", "epoch": 0, "keys": b"", **kept}
        self._number = fields["number"]
        for table in (RUNS, NOTES):
            connection.execute(sa.delete(table).where(table.c.task == self._task))
        connection.execute(
            sa.insert(RUNS).values(
                task=self._task,
                run=run,
                began_s=at_s,
                taken_up=0,
                rounds=rounds,
                step=Step.MEETING,
                since_s=at_s,
                **fields,
            )
        )
        return Begun(run, 0, Step.MEETING, fields["round"], fields["epoch"], _read(fields["keys"]))

    def at(self, step: Step, **fields: Any) -> None:
        """The run is at this step now; nothing of it needs to be repeated."""
        if self._store is not None:
            with self._store.write(PART) as connection:
                self._set(connection, step=step, **fields)

    def have_keys(self, epoch: int, keys: Mapping[str, Any]) -> None:
        """Keep what the firms have sealed for each other in a masking epoch: ciphertexts only."""
        self.at(Step.KEYS, epoch=epoch, keys=cbor2.dumps(dict(keys), canonical=True))

    def open(self, round_id: bytes, number: int, content: Mapping[str, Any]) -> None:
        """Keep what a round is opened with, before it is; whatever was kept of another round goes."""
        if self._store is None:
            return
        self._number = number
        with self._store.write(PART) as connection:
            connection.execute(sa.delete(STEPS).where(STEPS.c.task == self._task))
            self._put(connection, round_id, Step.OPENED, "", content)
            self._set(connection, step=Step.OPENED, round=round_id, number=number)

    def opened(self, round_id: bytes) -> Mapping[str, Any] | None:
        """What a round was opened with; None where this journal does not know it."""
        return self._of(round_id, Step.OPENED).get("")

    def take(self, round_id: bytes, step: Step, member: str, content: Mapping[str, Any]) -> None:
        """Keep what a firm has sent for a step of a round; the same firm's for the same step is replaced."""
        if self._store is not None:
            with self._store.write(PART) as connection:
                self._put(connection, round_id, step, member, content)
                self._set(connection, step=step)

    def taken(self, round_id: bytes, step: Step) -> dict[str, Mapping[str, Any]]:
        """What firms have sent for a step of a round, by firm."""
        return self._of(round_id, step)

    def once(self, round_id: bytes, step: Step, make: Callable[[], bytes]) -> bytes:
        """The statement of a step: the one that is kept, or a new one, kept before it is returned."""
        known = self._of(round_id, step).get("")
        if known is not None:
            return bytes(known["statement"])
        statement = make()
        self.take(round_id, step, "", {"statement": statement})
        return statement

    def end_round(self, code: str = "", detail: str = "") -> None:
        """The round is over: forget what was kept of it. With a code, it was given up."""
        if self._store is None:
            return
        with self._store.write(PART) as connection:
            for table in (STEPS, WAITS):
                connection.execute(sa.delete(table).where(table.c.task == self._task))
            self._set(connection, step=Step.BETWEEN, round=b"")
            if code:
                self._note(connection, self._number, "", code, detail)
        self._waiting = None

    def forget(self, round_id: bytes, step: Step, members: Iterable[str]) -> None:
        """Forget what these firms sent for a step."""
        if self._store is not None:
            of = (STEPS.c.task == self._task, STEPS.c.round == round_id, STEPS.c.step == step)
            with self._store.write(PART) as connection:
                connection.execute(sa.delete(STEPS).where(*of, STEPS.c.member.in_(list(members))))

    def waits(self, kind: str, members: Collection[str], timeout_s: float) -> None:
        """Say for whom the run waits, and until when; the same again changes nothing."""
        asked = (kind, tuple(sorted(members)))
        if self._store is None or self._waiting == asked:
            return
        since = int(self._now())
        fresh = self._waiting is None or self._waiting[0] != kind
        row = {"kind": kind, "members": json.dumps(asked[1])}
        timed = {"since_s": since, "deadline_s": since + int(timeout_s)}
        self._waiting = asked
        with self._store.write(PART) as connection:
            if fresh:
                connection.execute(sa.delete(WAITS).where(WAITS.c.task == self._task))
                connection.execute(sa.insert(WAITS).values(task=self._task, **row, **timed))
            else:
                connection.execute(sa.update(WAITS).where(WAITS.c.task == self._task).values(**row))

    def waits_no_more(self) -> None:
        """All have answered, or the time is over."""
        if self._store is not None and self._waiting is not None:
            self._waiting = None
            with self._store.write(PART) as connection:
                connection.execute(sa.delete(WAITS).where(WAITS.c.task == self._task))

    def note(self, number: int, member: str, code: str, detail: str) -> None:
        """Remember why a firm is not in a round."""
        if self._store is not None:
            with self._store.write(PART) as connection:
                self._note(connection, number, member, code, detail)

    def end(self, step: Step, code: str = "", detail: str = "") -> None:
        """The run is over, or has failed, or cannot be published yet; then with why. One that is over keeps nothing."""
        if self._store is None:
            return
        over = step is Step.OVER
        with self._store.write(PART) as connection:
            for table in (STEPS, WAITS) if over else (WAITS,):
                connection.execute(sa.delete(table).where(table.c.task == self._task))
            self._set(connection, step=step, **({"round": b""} if over else {}))
            if code:
                self._note(connection, self._number, "", code, detail)
        self._waiting = None

    def _of(self, round_id: bytes, step: Step) -> dict[str, Mapping[str, Any]]:
        if self._store is None:
            return {}
        of = (STEPS.c.task == self._task, STEPS.c.round == round_id, STEPS.c.step == step)
        with self._store.read(PART) as connection:
            rows = connection.execute(sa.select(STEPS.c.member, STEPS.c.content).where(*of).order_by(STEPS.c.member))
            return {row.member: _read(row.content) for row in rows}

    def _put(
        self, connection: sa.Connection, round_id: bytes, step: Step, member: str, content: Mapping[str, Any]
    ) -> None:
        key = {"task": self._task, "round": round_id, "step": step, "member": member}
        connection.execute(sa.delete(STEPS).where(*(STEPS.c[name] == value for name, value in key.items())))
        raw = cbor2.dumps(dict(content), canonical=True)
        connection.execute(sa.insert(STEPS).values(**key, content=raw, at_s=int(self._now())))

    def _set(self, connection: sa.Connection, **fields: Any) -> None:
        fields = {**fields, **({"since_s": int(self._now())} if "step" in fields else {})}
        connection.execute(sa.update(RUNS).where(RUNS.c.task == self._task).values(**fields))

    def _note(self, connection: sa.Connection, number: int, member: str, code: str, detail: str) -> None:
        row = {"task": self._task, "number": number, "member": member, "code": code, "detail": detail[:500]}
        connection.execute(sa.insert(NOTES).values(**row, at_s=int(self._now())))


def _read(raw: bytes) -> dict[str, Any]:
    return dict(cbor2.loads(raw)) if raw else {}
