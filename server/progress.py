"""Where a task's run stands, for whoever watches it: read from the journal, beside a run that goes on."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from server.round_journal import NOTES, PART, RUNS, STEPS, WAITS, Step
from server.store import StateStore


@dataclass(frozen=True)
class Waiting:
    """What a run waits for.

    Attributes:
        kind: of the message that is not answered, such as `train.update`; `finality` for cosignatures, `nodes` for
            firms that are to connect again.
        members: who has not answered.
        since_s: from when on, in seconds since 1970.
        deadline_s: when the run goes on without them, or gives up.
    """

    kind: str
    members: tuple[str, ...]
    since_s: int
    deadline_s: int


@dataclass(frozen=True)
class Said:
    """A firm that is not in a round, and why; or, where `member` is empty, what became of a whole round.

    Attributes:
        number: of the round in its run, from 1; 0 for the beginning of a run.
        code: for programs: that of the firm's refusal, `NoAnswer`, `Unreachable`, `ClientFailed`, `Aborted`, `Failed`.
        detail: one line for people.
        at_s: seconds since 1970.
    """

    number: int
    member: str
    code: str
    detail: str
    at_s: int


@dataclass(frozen=True)
class TaskProgress:
    """Where the last run of a task stands.

    Attributes:
        run: its id, hexadecimal.
        began_s: seconds since 1970, as all times here.
        taken_up: how often it went on after it had stopped.
        number: of the round that is open, or was last, from 1; 0 before the first.
        rounds: how many the run is to have.
        round: the id of the open round, hexadecimal; empty between rounds.
        step: one of the words of `Step`.
        since_s: since when it is at this step.
        contributed: the firms whose contributions to the open round are taken.
        answered: the firms whose opening answers are.
        waiting: for whom it waits now; None where it does not.
        refusals: of firms in this run, oldest first.
        failures: rounds that were given up in this run, and the run itself if it failed, oldest first.
    """

    task: str
    run: str
    began_s: int
    taken_up: int
    number: int
    rounds: int
    round: str
    step: Step
    since_s: int
    contributed: tuple[str, ...]
    answered: tuple[str, ...]
    waiting: Waiting | None
    refusals: tuple[Said, ...]
    failures: tuple[Said, ...]

    @property
    def over(self) -> bool:
        """Whether the run has come to its end, one way or the other."""
        return self.step in (Step.OVER, Step.FAILED)


def progress_of(store: StateStore, task: str) -> TaskProgress | None:
    """Where the last run of a task stands; None where there has been none.

    Raises:
        StateUnusable: the store cannot be read.
    """
    with store.read(PART) as connection:
        row = connection.execute(sa.select(RUNS).where(RUNS.c.task == task)).one_or_none()
        if row is None:
            return None
        wait = connection.execute(sa.select(WAITS).where(WAITS.c.task == task)).one_or_none()
        notes = connection.execute(sa.select(NOTES).where(NOTES.c.task == task).order_by(NOTES.c.id)).all()
        sent = sa.select(STEPS.c.step, STEPS.c.member).where(STEPS.c.task == task, STEPS.c.round == row.round)
        steps = connection.execute(sent.order_by(STEPS.c.member)).all()
    said = [Said(one.number, one.member, one.code, one.detail, one.at_s) for one in notes]
    return TaskProgress(
        task=task,
        run=row.run.hex(),
        began_s=row.began_s,
        taken_up=row.taken_up,
        number=row.number,
        rounds=row.rounds,
        round=row.round.hex(),
        step=Step(row.step),
        since_s=row.since_s,
        contributed=tuple(one.member for one in steps if one.step == Step.CONTRIBUTION),
        answered=tuple(one.member for one in steps if one.step == Step.ANSWER),
        waiting=None if wait is None else _waiting(wait),
        refusals=tuple(one for one in said if one.member),
        failures=tuple(one for one in said if not one.member),
    )


def _waiting(row: sa.Row[Any]) -> Waiting:
    return Waiting(row.kind, tuple(json.loads(row.members)), row.since_s, row.deadline_s)
