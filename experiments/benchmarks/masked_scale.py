"""Masking by firms and parameters: what a firm and the server spend apart, what drop-outs, audits and memory cost.

One process, no network. A firm's time is that of both its trips; the server's is from the first contribution to the
open sum. Flower's helper functions and plain averaging with a hash of every upload run beside them in the same run.
"""

from __future__ import annotations

import gc
import hashlib
import tracemalloc
from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from statistics import median
from time import perf_counter
from typing import TypeVar

import numpy as np

from clients.masking.contribution import Contribution
from clients.masking.ring import Integers
from clients.masking.session import Session
from experiments.benchmarks.figure import Figure
from experiments.benchmarks.flower_secagg import FlowerRound, secagg_round
from experiments.benchmarks.masked_cohort import Cohort, Firm, set_up_cohort
from experiments.errors import ExperimentError
from server.aggregation.masked import Aggregator, RoundArtifacts, recompute

COMMAND = "artesian bench masked_scale"
FEW, MANY = 10, 100
SMALL, LARGE = 100_000, 1_000_000
T = TypeVar("T")


@dataclass
class Spent:
    """Where a round's time and memory go.

    Attributes:
        firms_ms: each firm's, both trips.
        server_ms: the server's.
        server_peak_bytes: most that was allocated while the server worked, with the message in hand and 8 bytes a
            parameter of this benchmark's own; 0 if not traced.
    """

    firms_ms: dict[str, float] = field(default_factory=dict)
    server_ms: float = 0.0
    server_peak_bytes: int = 0

    def firm(self, member: str, work: Callable[[], T]) -> T:
        """Does a firm's work on its account."""
        spent, result = _timed(work)
        self.firms_ms[member] = self.firms_ms.get(member, 0.0) + spent
        return result

    def server(self, work: Callable[[], T]) -> T:
        """Does the server's work on its account."""
        if tracemalloc.is_tracing():
            tracemalloc.reset_peak()
        spent, result = _timed(work)
        self.server_ms += spent
        if tracemalloc.is_tracing():
            self.server_peak_bytes = max(self.server_peak_bytes, tracemalloc.get_traced_memory()[1])
        return result

    @property
    def one_firm_ms(self) -> float:
        """The median firm's time."""
        return median(self.firms_ms.values())


def run(runs: int = 5, many: int = MANY, small: int = SMALL, large: int = LARGE) -> list[Figure]:
    """Measures `runs` rounds of each kind; medians, but for Flower's with many firms, which runs once.

    Raises:
        ExperimentError: a masked sum, its recomputation or Flower's differs from the plain one.
    """
    few_firms, many_firms = set_up_cohort(FEW), set_up_cohort(many)
    return [
        *_beside_flower(few_firms, small, runs, flower_runs=runs),
        *_beside_flower(many_firms, small, runs, flower_runs=1),
        *_drop_outs_and_audit(many_firms, small, runs),
        *_large(few_firms, many_firms, large),
    ]


def _beside_flower(cohort: Cohort, dimension: int, runs: int, flower_runs: int) -> list[Figure]:
    ours, plain = [], []
    for number in range(1, runs + 1):
        session = cohort.session(dimension=dimension, round_number=number)
        ours.append(_round(cohort, session, {})[0])
        plain.append(_plain_with_hashes(session))
    flower = [_flower(session) for _ in range(flower_runs)]
    size, where = len(cohort.firms), _where(cohort, dimension)
    flower_firm = median(1e3 * one.clients_s / size for one in flower)
    flower_server = median(1e3 * one.server_s for one in flower)
    once = " (one run)" if flower_runs == 1 else ""
    name = f"Flower SecAgg+ helper functions{once}"
    return [
        Figure(
            f"a firm in a masked round, {where}",
            median(one.one_firm_ms for one in ours),
            "ms",
            {name: flower_firm},
            runs,
            COMMAND,
        ),
        Figure(
            f"the server in a masked round, {where}",
            median(one.server_ms for one in ours),
            "ms",
            {name: flower_server, "plain FedAvg with a hash": median(plain)},
            runs,
            COMMAND,
        ),
    ]


def _drop_outs_and_audit(cohort: Cohort, dimension: int, runs: int) -> list[Figure]:
    absent = sorted(cohort.firms)[:: len(cohort.firms) // max(1, len(cohort.firms) // 10)]
    whole, dropped, audits = [], [], []
    for number in range(1, runs + 1):
        kept: dict[str, Contribution] = {}
        session = cohort.session(dimension=dimension, round_number=1000 + number)
        spent, opened, truth = _round(cohort, session, kept)
        whole.append(spent.server_ms)
        artifacts = RoundArtifacts(
            headers={m: c.header for m, c in kept.items()},
            masked={m: c.masked for m, c in kept.items()},
            pair_hashes={m: c.pair_hashes for m, c in kept.items()},
            unmasking=opened,
        )
        commits = {m: c.commit for m, c in kept.items()}
        audit_ms, again = _timed(lambda: recompute(session, artifacts, commits))  # noqa: B023  # called here only
        _require_equal(again, truth, "recomputed")
        audits.append(audit_ms)
        session = cohort.session(dimension=dimension, round_number=2000 + number)
        dropped.append(_round(cohort, session, {}, absent)[0].server_ms)
    where = _where(cohort, dimension)
    return [
        Figure(
            f"the server where {len(absent)} firms drop out, {where}",
            median(dropped),
            "ms",
            {"nobody drops out": median(whole)},
            runs,
            COMMAND,
        ),
        Figure(
            f"recompute a masked sum, bit for bit, {where}",
            median(audits),
            "ms",
            {"its server's time": median(whole)},
            runs,
            COMMAND,
        ),
    ]


def _large(few_firms: Cohort, many_firms: Cohort, dimension: int) -> list[Figure]:
    """One run each: a minute of work by the firms is behind it."""
    session = many_firms.session(dimension=dimension, round_number=3001)
    spent, plain_ms = _round(many_firms, session, None)[0], _plain_with_hashes(session)
    peaks = {}
    for cohort in (few_firms, many_firms):
        session = cohort.session(dimension=dimension, round_number=3002)
        peaks[len(cohort.firms)] = traced_round(cohort, session).server_peak_bytes / 2**20
    where, size = _where(many_firms, dimension), len(many_firms.firms)
    every = size * dimension * session.ring.value_bytes / 2**20
    return [
        Figure(
            f"the server in a masked round, {where}, sum streamed",
            spent.server_ms,
            "ms",
            {"plain FedAvg with a hash": plain_ms, "a firm": spent.one_firm_ms},
            1,
            COMMAND,
        ),
        Figure(
            f"peak memory of the aggregator, {where}",
            peaks[size],
            "MiB",
            {f"with {FEW} firms": peaks[len(few_firms.firms)], "all masked vectors together": every},
            1,
            COMMAND,
        ),
    ]


def traced_round(cohort: Cohort, session: Session) -> Spent:
    """One round with its allocations traced; its times are not to be used."""
    gc.collect()
    tracemalloc.start()
    try:
        return _round(cohort, session, None)[0]
    finally:
        tracemalloc.stop()


def _round(
    cohort: Cohort,
    session: Session,
    kept: dict[str, Contribution] | None,
    absent: Collection[str] = (),
) -> tuple[Spent, bytes, Integers]:
    """One round in which every contribution goes to the sum as it is made; `kept` is given them all, if it is there.

    Returns:
        What it cost, the unmasking record, and the sum int64[d].
    """
    spent, firms = Spent(), cohort.firms
    present = [member for member in session.members if member not in absent]
    truth: Integers = np.zeros(session.dimension, dtype=np.int64)
    aggregator, commits = Aggregator(session), {}
    for member in present:
        sent = _contribution(spent, firms[member], session, truth)
        commits[member] = sent.commit
        spent.server(lambda: aggregator.add(member, sent, commits[member]))  # noqa: B023  # called here only
        if kept is not None:
            kept[member] = sent
    headers = spent.server(aggregator.close)
    for member in present:
        inbound = spent.server(lambda: aggregator.inbound_for(member))  # noqa: B023
        reply = spent.firm(member, lambda: firms[member].answer(session, headers, commits, inbound))  # noqa: B023
        raw = reply.to_bytes()
        spent.server(lambda: aggregator.accept(member, raw))  # noqa: B023
    opened = spent.server(aggregator.open)
    _require_equal(opened.total, truth, "masked")
    return spent, opened.unmasking, truth


def _contribution(spent: Spent, firm: Firm, session: Session, truth: Integers) -> Contribution:
    """A firm's first trip; its update is added to `truth`, and gone when the server takes the contribution."""
    values = _draw(session, firm.member)
    truth += values
    return spent.firm(firm.member, lambda: firm.contribute(session, values))


def _draw(session: Session, member: str) -> Integers:
    """int64[d], uniform over the quantiser's range; the same for one member of one session."""
    largest = session.quantiser.largest
    rng = np.random.default_rng([session.position(member), int.from_bytes(session.round_id, "big")])
    return rng.integers(-largest, largest, session.dimension, endpoint=True)


def _plain_with_hashes(session: Session) -> float:
    """ms in which a server hashes and adds the same updates as float32, one after the other."""
    total, spent = np.zeros(session.dimension), 0.0
    for member in session.members:
        upload = (_draw(session, member) * session.quantiser.step).astype(np.float32).tobytes()
        started = perf_counter()
        hashlib.sha256(upload).digest()
        total += np.frombuffer(upload, dtype=np.float32)
        spent += perf_counter() - started
    started = perf_counter()
    total /= len(session.members)
    return 1e3 * (spent + perf_counter() - started)


def _flower(session: Session) -> FlowerRound:
    updates = [_draw(session, member) for member in session.members]
    done = secagg_round(updates, session.threshold, session.ring_bits)
    centred = session.ring.centre(session.ring.from_signed(done.total))
    _require_equal(centred, np.sum(updates, axis=0, dtype=np.int64), "Flower's")
    return done


def _require_equal(total: Integers, truth: Integers, what: str) -> None:
    if not np.array_equal(total, truth):
        raise ExperimentError(f"masked_scale: the {what} sum differs from the plain one")


def _where(cohort: Cohort, dimension: int) -> str:
    return f"{len(cohort.firms)} firms x {dimension:,} parameters"


def _timed(work: Callable[[], T]) -> tuple[float, T]:
    started = perf_counter()
    result = work()
    return 1e3 * (perf_counter() - started), result
