"""Thousands of schedules with an honest log: it loses nothing, is never accused, and everything goes final in the end.

Every store write of the log and of every witness is a moment to die: before it, at its end, and after it but before
anybody is told. Messages are lost, repeated and late; clocks are up to a day off; members come, go and change keys,
the log too; a second process works on a witness's mirror; old copies of the log come back. In every schedule:

- what was acknowledged keeps its place whatever crashes, and a statement sent again finds it;
- what was final stays final, and its receipt holds;
- no witness cosigns two histories, and none accuses the log;
- when the faults stop, everything lawful that was ever sent goes final, liars and all.

A failing schedule is named with the command that runs it again and prints its trace. `ARTESIAN_SCHEDULES=1000000` runs
more of them.
"""

from collections import Counter

import pytest
from schedules.runner import check, chunks

CHUNKS = chunks(parity=0)
REACHED: Counter[str] = Counter()

MOMENTS = [
    *(f"crash of the log at {doing}" for doing in ("append", "checkpoint", "cosignatures", "open", "close")),
    *(f"crash of a witness at {doing}" for doing in ("open", "cosign", "twin", "close")),
]
EVENTS = [
    *(f"{doing} {moment}" for doing in MOMENTS for moment in ("before", "inside", "after")),
    *(f"proposed {kind}" for kind in ("suspend", "rotate", "enrol", "log")),
    *("clock turned", "old copy refused", "receipt", "log refused CheckpointError"),
]


@pytest.mark.parametrize("numbers", CHUNKS, ids=str)
def test_an_honest_log_keeps_what_it_promised(numbers: range) -> None:
    REACHED.update(check(numbers))


def test_the_schedules_get_everywhere() -> None:
    """Which of the things that can happen did not happen in the schedules above."""
    if sum(len(numbers) for numbers in CHUNKS) < 5000 or REACHED["faults stop"] < 5000:
        pytest.skip("too few schedules to ask")
    assert [event for event in EVENTS if not REACHED[event]] == []
