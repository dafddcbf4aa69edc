"""Thousands of schedules with a malicious log and up to f of n members that lie: never two final histories.

The log keeps several histories under its key and tells each witness the one meant for it: it forks, drops and reorders
entries, takes what the rules forbid, lies about sizes and roots, mixes the parts of its stories, repeats old ones,
signs with keys that are no longer or not yet in force, answers every question from another history, and hands out
receipts with every signature line that it can find. Its friends cosign everything. Witnesses die at every store write
and come back, and are started twice on one mirror. Members are enrolled, suspended and given new keys by approvals
that each history uses as it likes. In every schedule, at every step:

- any two checkpoints that are final for anybody are of one history: for who follows the log, and for who holds the
  policy file of the founding or of any final membership;
- no honest witness cosigns two histories, nor entries that break the rules, nor forgets what it cosigned;
- a witness that was shown two irreconcilable checkpoints keeps the evidence;
- no receipt holds whose checkpoint is not final.

A failing schedule is named with the command that runs it again and prints its trace. `ARTESIAN_SCHEDULES=1000000` runs
more of them.
"""

from collections import Counter

import pytest
from schedules.runner import check, chunks

CHUNKS = chunks(parity=1)
REACHED: Counter[str] = Counter()

EVENTS = [
    *(
        f"crash of a witness at {doing} {moment}"
        for doing in ("cosign", "twin")
        for moment in ("before", "inside", "after")
    ),
    *(f"proposed {kind}" for kind in ("suspend", "rotate", "enrol", "log")),
    *(f"lie {part}" for part in range(10)),
    *(
        "refused Misbehaviour fork",
        "refused Misbehaviour rules",
        "saw a fork",
        "final",
        "receipt",
        "refused WrongFounding",
    ),
]


@pytest.mark.parametrize("numbers", CHUNKS, ids=str)
def test_two_histories_are_never_final(numbers: range) -> None:
    REACHED.update(check(numbers))


def test_the_schedules_get_everywhere() -> None:
    """Which of the things that can happen did not happen in the schedules above."""
    if sum(len(numbers) for numbers in CHUNKS) < 5000 or REACHED["final"] < 2000:
        pytest.skip("too few schedules to ask")
    assert [event for event in EVENTS if not REACHED[event]] == []
