"""What is wanted of a task, one order to train it, and its tries: the rows of `server.run_orders`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

from server.errors import ServerError

Wanted = Literal["scheduled", "paused", "stopped"]
Phase = Literal["waiting", "starting", "running", "ended"]
Outcome = Literal["completed", "failed", "stopped", "given-up"]
Said = Literal["completed", "paused", "failed"]
"""What a ServerApp says of its own end."""

OPEN: tuple[Phase, ...] = ("waiting", "starting", "running")
LIVE: tuple[Phase, ...] = ("starting", "running")
assert set(OPEN) < set(get_args(Phase))


class AlreadyOrdered(ServerError):
    """The task has an order that is not carried out yet: there is one at a time."""

    exit_code = 1


class NotScheduled(ServerError):
    """The task is paused or stopped, and takes no orders."""

    exit_code = 1


class Superseded(ServerError):
    """A run that was submitted once and is not wanted any more: another has its place, or its order has ended."""

    exit_code = 1


@dataclass(frozen=True)
class TaskWish:
    """What is wanted of a task.

    Attributes:
        wanted: `paused` begins nothing; `stopped` has dropped its orders too.
        since_s, reason: since when, and why by the operator's word.
        at_once: whether a pause ends the present round too, instead of waiting for its end.
        anchor_s: firings up to this moment are dealt with; None before the first look.
        schedule: the text of the schedule that `anchor_s` is of.
    """

    task: str
    wanted: Wanted = "scheduled"
    since_s: float = 0.0
    reason: str = ""
    at_once: bool = False
    anchor_s: float | None = None
    schedule: str = ""


@dataclass(frozen=True)
class RunOrder:
    """One order to train a task. Times are seconds since 1970.

    Attributes:
        number: names the order; rises.
        origin: `schedule` or `operator`.
        rounds: how many rounds it asks for; None for all that are left of the run, to its release.
        measure: a measurement's order in place of training; empty for training.
        due_s: when it was due; the longest due is carried out first.
        phase: see `Phase`; at most one order of all is `starting` or `running`.
        ticket: of the present try; empty between tries.
        run_id: SuperLink's number of the present try's run; empty while it is not known.
        attempts, failures: tries so far; those that failed in a row without a round in between.
        not_before_s: no try before then.
        waits_since_s, waits_for: since when it waits for something outside, and for what.
        begun_s: when the present try began.
        until: round after which the order is carried out; None until the ServerApp knows.
        done, total, step, step_s: rounds of the run that are done, of how many; the last that was heard, and when.
        said, said_why: how the ServerApp says that it ended.
        outcome, ended_s: how the order ended, and when.
        reason: why it ended so, or why its last try failed.
        carried_by: hexadecimal id of the run in the round journal that the last try began or took up; empty before.
    """

    number: int
    task: str
    origin: str
    rounds: int | None
    measure: str
    ordered_s: float
    due_s: float
    phase: Phase
    ticket: str
    run_id: str
    attempts: int
    failures: int
    not_before_s: float
    waits_since_s: float | None
    waits_for: str
    begun_s: float | None
    until: int | None
    done: int
    total: int
    step: str
    step_s: float | None
    said: str
    said_why: str
    outcome: str
    reason: str
    ended_s: float | None
    carried_by: str


@dataclass(frozen=True)
class Attempt:
    """One try to carry out an order, as the history has it."""

    order: int
    number: int
    run_id: str
    begun_s: float
    ended_s: float
    outcome: str
    reason: str
