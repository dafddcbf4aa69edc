"""What the coordinator tells its members: its release, and which task runs, or waits, for whom and until when.

Names, moments and kinds of messages, and no reasons: those stay between the coordinator and each firm. Every field may
be missing, for one side may be of an older release than the other.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

from clients.enrolment import enrolment_pb2 as pb
from clients.greeting import RELEASE_NAME, release_of
from clients.plain_text import one_line
from clients.versions import Span

Phase = Literal["runs", "waits-for-firms", "waits-for-turn", "tries-again", "paused", "stopped", "idle", "unknown"]
"""`unknown` is what a later release says and this one does not know."""
_MOST = 1000
"""Of tasks, and of members that one of them waits for: more are not shown."""


@dataclass(frozen=True)
class TaskState:
    """One task. Times are seconds since 1970; None where there is none, or it is not known.

    Attributes:
        since_s: since when it is in this phase.
        round: hex id of the open round; empty between rounds.
        number, rounds: of the round in its run, from 1, and how many the run is to have; 0 before the first.
        step: where the run is, for people.
        kind: what is waited for: a kind of message, `finality`, `nodes` or `firms`; empty for nothing.
        members: for whom; nobody in particular where it is empty.
        waits_since_s: since when.
        until_s: until when; of `tries-again`, and of an idle task with a schedule, when it begins.
        more: how many firms more it takes to begin; in a run, how many are waited for that are not known by name yet.
    """

    task: str
    phase: Phase
    since_s: float | None = None
    round: str = ""
    number: int = 0
    rounds: int = 0
    step: str = ""
    kind: str = ""
    members: tuple[str, ...] = ()
    waits_since_s: float | None = None
    until_s: float | None = None
    more: int = 0


@dataclass(frozen=True)
class CoordinatorState:
    """All of it.

    Attributes:
        release: of the coordinator's program.
        messages: which versions of the messages of rounds it speaks; None where it does not say.
        at_s: the desk's clock, in seconds since 1970.
        runner_seen_s: when what begins runs was last there; None for never.
        tasks: None where the coordinator cannot read its own tables.
    """

    release: str
    messages: Span | None
    at_s: float
    runner_seen_s: float | None
    tasks: tuple[TaskState, ...] | None


def to_message(state: CoordinatorState) -> pb.StateReply:
    """As it travels."""
    spoken = state.messages
    return pb.StateReply(
        release=state.release,
        messages_lowest=0 if spoken is None else spoken.lowest,
        messages_highest=0 if spoken is None else spoken.highest,
        at_s=state.at_s,
        runner_seen_s=state.runner_seen_s or 0.0,
        tasks=[_task_message(one) for one in state.tasks or ()],
        tasks_unknown=state.tasks is None,
    )


def from_message(reply: pb.StateReply) -> CoordinatorState:
    """As it came, made fit to be shown; what cannot be is not known."""
    lowest, highest = reply.messages_lowest, reply.messages_highest
    return CoordinatorState(
        release=release_of({RELEASE_NAME: reply.release}),
        messages=Span(lowest, highest) if 1 <= lowest <= highest else None,
        at_s=_moment(reply.at_s) or 0.0,
        runner_seen_s=_moment(reply.runner_seen_s),
        tasks=None if reply.tasks_unknown else tuple(_task(one) for one in reply.tasks[:_MOST]),
    )


def _task_message(one: TaskState) -> pb.TaskState:
    return pb.TaskState(
        task=one.task,
        phase=one.phase,
        since_s=one.since_s or 0.0,
        round=bytes.fromhex(one.round),
        number=one.number,
        rounds=one.rounds,
        step=one.step,
        kind=one.kind,
        members=one.members,
        waits_since_s=one.waits_since_s or 0.0,
        until_s=one.until_s or 0.0,
        more=one.more,
    )


def _task(one: pb.TaskState) -> TaskState:
    known: dict[str, Phase] = {phase: phase for phase in get_args(Phase)}
    return TaskState(
        task=_word(one.task),
        phase=known.get(one.phase, "unknown"),
        since_s=_moment(one.since_s),
        round=one.round[:64].hex(),
        number=one.number,
        rounds=one.rounds,
        step=_word(one.step),
        kind=_word(one.kind),
        members=tuple(_word(member) for member in one.members[:_MOST]),
        waits_since_s=_moment(one.waits_since_s),
        until_s=_moment(one.until_s),
        more=one.more,
    )


def _word(text: str) -> str:
    return one_line(text[:64])


def _moment(at_s: float) -> float | None:
    """A moment that a calendar has; None for any other."""
    return at_s if 0 < at_s < 1e11 else None
