"""How long a ledger of a million entries takes to start after a crash, and what is audited then and afterwards.

The crash comes at the worst moment, just before the next snapshot. The tree and the newest entries are recomputed
before the start is over; the other entries are read one by one for half a second of it, and in slices afterwards. The
entries are unsigned (see `ledger_world.filled_ledger`): a start checks only signatures that no checkpoint covers.
"""

from __future__ import annotations

import shutil
import sqlite3
from pathlib import Path
from statistics import median
from time import perf_counter

from experiments.benchmarks.figure import Figure
from experiments.benchmarks.ledger_proofs import ENTRIES
from experiments.benchmarks.ledger_world import Filled, filled_ledger
from experiments.errors import ExperimentError
from ledger.log import Log

COMMAND = "artesian bench ledger_start"
_SLICE_S = 0.25


def run(entries: int = ENTRIES, runs: int = 3) -> list[Figure]:
    """Start `runs` times after a crash, once after a clean end, and finish the audit.

    Raises:
        ExperimentError: the audit did not reach the end.
        Damaged: the ledger is not what was written.
    """
    filled = filled_ledger(entries)
    crashed = [_start_s(filled) for _ in range(runs)]
    with Log.open(filled.path, filled.key, audit_budget_s=0):
        pass  # a clean end leaves a snapshot
    began = perf_counter()
    with Log.open(filled.path, filled.key) as log:
        clean_s, at_start = perf_counter() - began, log.audited
        began = perf_counter()
        while log.audit_some(_SLICE_S):
            pass
        rest_s = perf_counter() - began
        if log.audited != entries:
            raise ExperimentError(f"ledger_start: the audit ended at entry {log.audited} of {entries}")
    where = f"{entries:,} entries"
    beside = {"after a clean end": clean_s, "every entry read by SQLite, no more": _read_all_s(filled)}
    return [
        Figure(f"start after a crash, {where}", median(crashed), "s", beside, runs, COMMAND),
        Figure(f"entries audited within a start, {where}", at_start, "entries", {"all": entries}, 1, COMMAND),
        Figure(f"audit of the others, in the background, {where}", rest_s, "s", {"slice": _SLICE_S}, 1, COMMAND),
    ]


def _start_s(filled: Filled) -> float:
    copy = Path(shutil.copy(filled.path, filled.path.with_name("crashed.db")))
    began = perf_counter()
    log = Log.open(copy, filled.key)
    took = perf_counter() - began
    log.close()
    copy.unlink()
    return took


def _read_all_s(filled: Filled) -> float:
    began = perf_counter()
    with sqlite3.connect(filled.path) as database:
        for _ in database.execute("SELECT raw FROM entries ORDER BY idx"):
            pass
    database.close()
    return perf_counter() - began
