"""From kill -9 to the next step: each kind of process of a deployment is killed once in the middle of a round.

A step is what the run journals: a round opened, a firm's contribution, a firm's answer, an aggregate. What is waited
for is the next one after the kill, whoever does it. Beside that stands the longest pause between two steps before
anything was killed: what one would wait for anyway.
"""

from __future__ import annotations

import json
import sys
import tempfile
import time
from pathlib import Path
from statistics import median

from experiments.benchmarks.deployed_round import SPEC, TASK, table
from experiments.benchmarks.figure import Figure
from experiments.tiny_consortium import CHILD, COORDINATOR, ConsortiumFailed, Design, TinyConsortium

COMMAND = "artesian bench recovery"
FIRMS = 3
KILLED = (
    *((COORDINATOR, program) for program in ("ledger", "superlink", "executor", f"executor {CHILD}", "runner")),
    *((COORDINATOR, program) for program in ("enrolment", "scores", "supervisor")),
    *(("firm-1", program) for program in ("witness", "supernode", "executor", f"executor {CHILD}", "supervisor")),
)
_CALM_ROUNDS, _WITHIN_S, _DEADLINE_S = 2, 300.0, 1800.0
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
        calm_s = _longest_pause(consortium)
        found = [_recovery_s(consortium, name, program) for name, program in KILLED]
    what = "from kill -9 of a process in a round to the next step"
    beside = {"longest pause between steps, undisturbed": calm_s}
    return [
        Figure(f"{what}, median over {len(found)} kinds", median(found), "s", beside, len(found), COMMAND),
        Figure(f"{what}, worst", max(found), "s", beside, len(found), COMMAND),
    ]


def _longest_pause(consortium: TinyConsortium) -> float:
    """Seconds of the longest pause between two steps of the first rounds."""
    _in_round(consortium, 1)
    longest_s, last_s, mark = 0.0, time.monotonic(), consortium.mark()
    while mark[0] <= _CALM_ROUNDS:  # type: ignore[operator]  # the round's number
        _next_step(consortium, mark)
        mark, now_s = consortium.mark(), time.monotonic()
        longest_s, last_s = max(longest_s, now_s - last_s), now_s
    return longest_s


def _recovery_s(consortium: TinyConsortium, name: str, program: str) -> float:
    """Kill a process in the round after the one that is, and wait for the next step."""
    progress = consortium.progress()
    assert progress is not None
    _in_round(consortium, progress.number + 1)
    consortium.wait_for(lambda: consortium.kill(name, program), f"{name}'s {program} to be there", _WITHIN_S)
    mark, began_s = consortium.mark(), time.monotonic()
    _next_step(consortium, mark)
    seconds = time.monotonic() - began_s
    print(
        json.dumps({"killed": f"{name} {program}", "at": str(mark[2]), "next_step_s": round(seconds, 1)}),
        file=sys.stderr,
        flush=True,
    )
    return seconds


def _in_round(consortium: TinyConsortium, number: int) -> None:
    def is_in_it() -> bool:
        progress = consortium.progress()
        if progress is not None and progress.over:
            raise ConsortiumFailed("the run was over before all was killed")
        return progress is not None and progress.number >= number and bool(progress.round)

    consortium.wait_for(is_in_it, f"round {number}", _WITHIN_S)


def _next_step(consortium: TinyConsortium, mark: tuple[object, ...]) -> None:
    consortium.wait_for(lambda: consortium.mark() != mark, f"a step after {mark}", _WITHIN_S)
