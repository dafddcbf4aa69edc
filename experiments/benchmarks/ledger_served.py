"""From appending an entry to its finality through a served ledger, beside a log that one process has to itself.

Served: the ledger is a process of its own, as are the witnesses; who appends has a client and a mirror on disk, as the
coordinator's ServerApp has. To itself: log and witnesses, each with its database on disk, in one process that calls one
after the other, as in simulations, where no message travels.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from statistics import median
from time import perf_counter

from experiments.benchmarks.figure import Figure
from experiments.benchmarks.ledger_quorum import PATIENCE_S, QuorumWorld
from experiments.errors import ExperimentError
from ledger.keys import SigningKey
from ledger.log import Log
from ledger.mirror import Mirror
from ledger.service.served import ServedLedger
from ledger.witness import Witness

COMMAND = "artesian bench ledger_served"
_WARM_UP = 3


def run(entries: int = 40, witnesses: int = 3) -> list[Figure]:
    """Append `entries` entries, one after the other, in both ways.

    Raises:
        ExperimentError: a process did not come up, or an entry was not final in a minute.
    """
    with tempfile.TemporaryDirectory(prefix="artesian-served-") as root:
        world = QuorumWorld(Path(root), [f"firm-{number}" for number in range(1, witnesses + 1)])
        served = _served(world, entries)
        alone = _alone(world, entries)
    figures = []
    for number, what in enumerate(("to its place", "to finality")):
        name = f"append {what}, served, {witnesses} witness processes, median"
        beside = {"a log and its witnesses in one process": median(one[number] for one in alone)}
        figures.append(Figure(name, median(one[number] for one in served), "ms", beside, entries, COMMAND))
    return figures


def _served(world: QuorumWorld, entries: int) -> list[tuple[float, float]]:
    with ExitStack() as running:
        address = running.enter_context(world.serving())
        for member in world.keys:
            running.enter_context(world.witnessing(member, address))
        mirror = Mirror(world.root / "appender.db", world.log, world.cid)
        ledger = running.enter_context(ServedLedger(world.client(address), mirror))

        def finish() -> None:
            if not ledger.wait_final(ledger.size, PATIENCE_S):
                raise ExperimentError("ledger_served: an entry was not final in a minute")

        return _times(world, entries, ledger.append, finish)


def _alone(world: QuorumWorld, entries: int) -> list[tuple[float, float]]:
    with ExitStack() as opened:
        key = SigningKey.load(world.root / "sequencer" / "signing.pem")
        log = opened.enter_context(Log.open(world.root / "sequencer" / "ledger.db", key))
        witnesses = [
            opened.enter_context(Witness(world.root / f"{member}.db", key, member, world.log, world.cid))
            for member, key in world.keys.items()
        ]

        def finish() -> None:
            log.checkpoint()
            log.add_cosignatures([witness.follow(log) for witness in witnesses])
            if log.final_size < log.size:
                raise ExperimentError("ledger_served: an entry is not final")

        return _times(world, entries, log.append, finish)


def _times(
    world: QuorumWorld, entries: int, append: Callable[[list[bytes]], object], finish: Callable[[], None]
) -> list[tuple[float, float]]:
    """Milliseconds until each entry had its place, and until it was final."""
    took = []
    for _ in range(_WARM_UP + entries):
        statement = world.statement()
        began = perf_counter()
        append([statement])
        placed = perf_counter()
        finish()
        took.append(((placed - began) * 1000, (perf_counter() - began) * 1000))
    return took[_WARM_UP:]
