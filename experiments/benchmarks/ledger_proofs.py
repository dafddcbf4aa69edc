"""Proofs and receipts from a ledger of a million entries, and checking a receipt with no network and no database.

The entries are unsigned (see `ledger_world.filled_ledger`): nothing here looks at their signatures.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from random import Random
from statistics import median, quantiles
from time import perf_counter
from typing import TypeVar

from experiments.benchmarks.figure import Figure
from experiments.benchmarks.ledger_world import COSIGNERS, filled_ledger
from ledger.checkpoint import SignedCheckpoint, verify_cosignature
from ledger.log import Log
from ledger.merkle import leaf_hash, verify_inclusion
from ledger.receipt import Receipt, verify_receipt

COMMAND = "artesian bench ledger_proofs"
ENTRIES = 1_000_000
T = TypeVar("T")


def run(entries: int = ENTRIES, samples: int = 2000) -> list[Figure]:
    """Measure `samples` proofs, receipts and checks of receipts, of random entries.

    Raises:
        LedgerError: a receipt does not hold.
    """
    filled = filled_ledger(entries)
    random = Random(entries)
    chosen = [random.randrange(entries) for _ in range(samples)]
    with Log.open(filled.path, filled.key, audit_budget_s=0) as log:
        inclusion = _times_ms(lambda index: log.inclusion(index, entries), chosen)
        consistency = _times_ms(lambda index: log.consistency(index + 1, entries), chosen)
        receipt = _times_ms(log.receipt, chosen)
        read = _times_ms(lambda index: log.entries(index, index + 1), chosen)
        sizes = [_bare_bytes(log.receipt(index)) for index in chosen[:100]]
        bundles = [(log.receipt(index), log.entries(index, index + 1)[0], index) for index in chosen[:200]]
        root, policy = log.root, log.policy
        paths = [(leaf_hash(raw), index, log.inclusion(index, entries)) for _, raw, index in bundles]

    def check(bundle: tuple[bytes, bytes, int]) -> None:
        verify_cosignature.cache_clear()  # an offline verifier sees these cosignatures for the first time
        verify_receipt(bundle[0], bundle[1], policy)

    verify = _times_ms(check, bundles)
    path = _times_ms(lambda one: verify_inclusion(one[0], one[1], entries, one[2], root), paths)
    raw_read = {"one entry read by its place, median": median(read), "the same, p95": _p95(read)}
    where = f"at {entries:,} entries"
    return [
        Figure(f"inclusion proof {where}, p95", _p95(inclusion), "ms", _with(raw_read, inclusion), samples, COMMAND),
        Figure(
            f"consistency proof {where}, p95", _p95(consistency), "ms", _with(raw_read, consistency), samples, COMMAND
        ),
        Figure(f"receipt {where}, p95", _p95(receipt), "ms", _with(raw_read, receipt), samples, COMMAND),
        Figure(
            f"receipt {where}, besides cosignatures",
            median(sizes),
            "bytes",
            {"with the cosignatures": median(len(bundle[0]) for bundle in bundles)},
            len(sizes),
            COMMAND,
        ),
        Figure(
            f"offline check of a receipt with {COSIGNERS} cosignatures",
            median(verify),
            "ms",
            {"its p95": _p95(verify), "its inclusion proof alone": median(path)},
            len(verify),
            COMMAND,
        ),
    ]


def _with(beside: dict[str, float], times_ms: list[float]) -> dict[str, float]:
    return {"its median": median(times_ms), **beside}


def _bare_bytes(receipt: bytes) -> float:
    """The receipt's size without its cosignature lines."""
    note = Receipt.from_bytes(receipt).checkpoint
    return float(len(receipt) - sum(len(str(line)) for line in SignedCheckpoint.parse(note).lines[1:]))


def _p95(times_ms: list[float]) -> float:
    return quantiles(times_ms, n=20)[-1]


def _times_ms(work: Callable[[T], object], items: Iterable[T]) -> list[float]:
    times = []
    for item in items:
        began = perf_counter()
        work(item)
        times.append(1e3 * (perf_counter() - began))
    return times
