"""What masking adds to a round: 10 firms, 100,000 parameters, one process, no network.

Protection is the whole cohort's work (both trips of every firm, the coordinator's sum and unmasking) less a
plain sum of the same updates with the same hashes. The key set-up, once an epoch, stands on its own line.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from statistics import median
from time import perf_counter
from typing import TypeVar

import numpy as np

from clients.masking.plain import expose
from clients.masking.ring import Integers
from clients.masking.session import Session
from experiments.benchmarks.figure import Figure
from experiments.benchmarks.flower_secagg import secagg_round
from experiments.benchmarks.masked_cohort import Cohort, MaskedRound, draw_updates, set_up_cohort
from experiments.errors import ExperimentError
from server.aggregation.masked import OpenedSum, recompute
from server.aggregation.plain import PlainAggregator

FIRMS = 10
DIMENSION = 100_000
COMMAND = "artesian bench masked_round"
T = TypeVar("T")


def run(runs: int = 9) -> list[Figure]:
    """Measures `runs` rounds after one that warms up; every figure is a median.

    Raises:
        ExperimentError: a masked sum, its recomputation or Flower's differs from the plain one.
    """
    set_up_ms, cohort = _timed(lambda: set_up_cohort(FIRMS))
    rounds = [_measure(cohort, number) for number in range(runs + 1)][1:]
    masked, plain, _, audit, upload, flower_upload = (median(column) for column in zip(*rounds, strict=True))
    added = median(row[0] - row[1] for row in rounds)
    added_flower = median(row[2] - row[1] for row in rounds)
    where = f"{FIRMS} firms x {DIMENSION:,} parameters"
    return [
        Figure(
            f"masking adds to a round, whole cohort, {where}",
            added,
            "ms",
            {"plain sum with hashes": plain, "Flower SecAgg+ helper functions add": added_flower},
            runs,
            COMMAND,
        ),
        Figure(
            f"upload of a firm in a masked round, {where}",
            upload,
            "bytes",
            {"float32 values": 4.0 * DIMENSION, "Flower SecAgg+ helper functions": flower_upload},
            runs,
            COMMAND,
        ),
        Figure(
            f"recompute a masked sum from the store, {where}",
            audit,
            "ms",
            {"its round": masked},
            runs,
            COMMAND,
        ),
        Figure(f"key set-up of an epoch, whole cohort, {FIRMS} firms", set_up_ms, "ms", {}, 1, COMMAND),
    ]


def _measure(cohort: Cohort, number: int) -> tuple[float, float, float, float, float, float]:
    """ms of a masked round, a plain sum, Flower's helpers and an audit; bytes up, ours and Flower's."""
    session = cohort.session(dimension=DIMENSION, round_number=number + 1)
    updates = draw_updates(session, seed=number)
    plain_ms, plain = _timed(lambda: _plain_sum(replace(session, protection="plain"), updates))
    masked_ms, (this, opened) = _timed(lambda: _masked_round(cohort, session, updates))
    flower_ms, flower = _timed(lambda: secagg_round(list(updates.values()), session.threshold, session.ring_bits))
    artifacts = this.artifacts(opened)
    audit_ms, again = _timed(lambda: recompute(session, artifacts, this.commits))
    flower_centred = session.ring.centre(session.ring.from_signed(flower.total))
    for what, total in (("masked", opened.total), ("recomputed", again), ("Flower's", flower_centred)):
        if not np.array_equal(plain, total):
            raise ExperimentError(f"masked_round: the {what} sum differs from the plain one")
    return masked_ms, plain_ms, flower_ms, audit_ms, _upload_bytes(this), flower.upload_bytes


def _masked_round(cohort: Cohort, session: Session, updates: dict[str, Integers]) -> tuple[MaskedRound, OpenedSum]:
    this = MaskedRound(cohort, session, updates)
    return this, this.finish()


def _upload_bytes(this: MaskedRound) -> int:
    """What one firm sends in both trips."""
    member, contribution = next(iter(this.contributions.items()))
    headers = {name: sent.header for name, sent in this.contributions.items()}
    return len(contribution.to_bytes()) + len(this.reply(member, headers).to_bytes())


def _plain_sum(session: Session, updates: dict[str, Integers]) -> Integers:
    aggregator = PlainAggregator(session)
    for member, values in updates.items():
        contribution = expose(session, member, values)
        aggregator.add(member, contribution, contribution.commit)
    aggregator.close()
    return aggregator.open().total


def _timed(work: Callable[[], T]) -> tuple[float, T]:
    started = perf_counter()
    result = work()
    return 1e3 * (perf_counter() - started), result
