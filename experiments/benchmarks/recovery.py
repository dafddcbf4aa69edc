"""From kill -9 to the next step: each kind of process of a deployment is killed once in the middle of a round.

A step is what the run journals: a round opened, a firm's contribution, a firm's answer, an aggregate. What is waited
for is the next one after the kill, whoever does it; and the end of the round, for which all must be back.
Beside them stand the longest pause between two steps, and a whole round, before anything was killed: what one
would wait for anyway. The runner has the pauses that it has by default.
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
import time
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from statistics import median

from experiments.benchmarks.figure import Figure
from experiments.benchmarks.small_task import SPEC, TASK, table
from experiments.tiny_consortium import CHILD, COORDINATOR, ConsortiumFailed, Design, TinyConsortium

COMMAND = "artesian bench recovery"
FIRMS = 3
KILLED = (
    *((COORDINATOR, program) for program in ("ledger", "superlink", "executor", f"executor {CHILD}", "runner")),
    *((COORDINATOR, program) for program in ("enrolment", "scores", "supervisor")),
    *(("firm-1", program) for program in ("witness", "supernode", "executor", f"executor {CHILD}", "supervisor")),
)
_CALM_ROUNDS, _WITHIN_S, _DEADLINE_S = 3, 300.0, 1800.0
_TRAINING = {
    "training": {"rounds": _CALM_ROUNDS + 1 + len(KILLED)},
    "privacy": {"mode": "distributed", "epsilon": 8.0},
    "aggregation": {"kind": "masked", "deadline_s": 200},
}


def run() -> list[Figure]:
    """Measure; prints a JSON line for each kill on standard error."""
    limits = {"min_cohort": 3, "colluders": 0, "epsilon": 200.0, "delta": 1e-5}
    design = Design(TASK, SPEC, [table(number) for number in range(FIRMS)], _TRAINING, limits, 1)
    with tempfile.TemporaryDirectory() as folder, TinyConsortium(Path(folder), design, _DEADLINE_S) as consortium:
        consortium.found()
        for firm in consortium.firms:
            consortium.up(firm)
        everyone = (COORDINATOR, *consortium.firms)
        consortium.wait_for(lambda: all(map(consortium.is_ready, everyone)), "all to be ready")
        consortium.order()
        calm = _undisturbed(consortium)
        found, number = list[_Kill](), _CALM_ROUNDS
        for name, program in KILLED:
            found.append(_killed(consortium, name, program, number))
            number = found[-1].number
    what, runs = f"from kill -9 of a process in a round, over {len(KILLED)} kinds", len(KILLED)
    figures = []
    steps, ends = [one.step_s for one in found], [one.end_s for one in found]
    for until, seconds, beside in (
        ("to the next step", steps, {"longest pause between steps, undisturbed": calm.longest_pause_s}),
        ("to the end of the round", ends, {"a whole round, undisturbed": calm.round_s}),
    ):
        figures += [
            Figure(f"{what}, {until}, median", median(seconds), "s", beside, runs, COMMAND),
            Figure(f"{what}, {until}, worst", max(seconds), "s", beside, runs, COMMAND),
        ]
    return figures


@dataclass(frozen=True)
class _Calm:
    """What rounds take before anything was killed."""

    longest_pause_s: float
    round_s: float


@dataclass(frozen=True)
class _Kill:
    """In which round it was, and the seconds to the next step and to that round's end."""

    number: int
    step_s: float
    end_s: float


def _undisturbed(consortium: TinyConsortium) -> _Calm:
    """Watch the first rounds; the very first meets the firms and is not counted as a round."""
    _in_round(consortium, 1)
    longest_s, last_s, mark = 0.0, time.monotonic(), consortium.mark()
    began_s = list[float]()
    while mark[0] <= _CALM_ROUNDS:  # type: ignore[operator]  # the round's number
        _next_step(consortium, mark)
        now, now_s = consortium.mark(), time.monotonic()
        if now[0] != mark[0]:
            began_s.append(now_s)
        longest_s, last_s, mark = max(longest_s, now_s - last_s), now_s, now
    return _Calm(longest_s, median(after - before for before, after in pairwise(began_s)))


def _killed(consortium: TinyConsortium, name: str, program: str, after: int) -> _Kill:
    """Kill a process in a round after that one, and wait until the round is over."""
    _in_round(consortium, after + 1)
    consortium.wait_for(lambda: consortium.kill(name, program), f"{name}'s {program} to be there", _WITHIN_S)
    mark, began_s = consortium.mark(), time.monotonic()
    number, *_ = mark
    assert isinstance(number, int)
    _next_step(consortium, mark)
    step_s = time.monotonic() - began_s
    consortium.wait_for(lambda: _is_past(consortium, number), f"the end of round {number}", _WITHIN_S)
    end_s = time.monotonic() - began_s
    line = {"killed": f"{name} {program}", "at": str(mark[2]), "next_step_s": round(step_s, 1)}
    print(
        json.dumps({**line, "round_over_s": round(end_s, 1), "load": os.getloadavg()[0]}), file=sys.stderr, flush=True
    )
    return _Kill(number, step_s, end_s)


def _is_past(consortium: TinyConsortium, number: int) -> bool:
    progress = consortium.progress()
    return progress is not None and (progress.number, bool(progress.round)) != (number, True)


def _in_round(consortium: TinyConsortium, number: int) -> None:
    def is_in_it() -> bool:
        progress = consortium.progress()
        if progress is not None and progress.over:
            raise ConsortiumFailed("the run was over before all was killed")
        return progress is not None and progress.number >= number and bool(progress.round)

    consortium.wait_for(is_in_it, f"round {number}", _WITHIN_S)


def _next_step(consortium: TinyConsortium, mark: tuple[object, ...]) -> None:
    consortium.wait_for(lambda: consortium.mark() != mark, f"a step after {mark}", _WITHIN_S)
