"""Durable appends in batches of 100, every signature checked and every rule applied, beside the database alone.

The database alone writes the same bytes into one table, a transaction a batch, as durably. PostgreSQL is measured
where its programs are installed: on a cluster of its own in a temporary directory.
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from itertools import count, islice
from pathlib import Path
from statistics import median
from time import perf_counter

import sqlalchemy as sa

from experiments.benchmarks.figure import Figure
from experiments.benchmarks.ledger_world import CID, ORIGIN, Traffic
from experiments.benchmarks.postgres_cluster import running_cluster
from ledger import postgresql, sqlite
from ledger.log import Log
from ledger.rules import COORDINATOR

COMMAND = "artesian bench ledger_appends"
BATCH = 100
_BYTES = sa.Table("bytes", sa.MetaData(), sa.Column("raw", sa.LargeBinary, nullable=False))


def run(batches: int = 20, runs: int = 3) -> list[Figure]:
    """Append `batches` batches to `runs` new ledgers of each kind."""
    with tempfile.TemporaryDirectory(prefix="artesian-appends-") as folder:
        files = (f"{folder}/{number}.db" for number in count())
        figures = [
            _figure("SQLite, Ed25519", False, files, batches, runs),
            _figure("SQLite, Ed25519 and ML-DSA-65", True, files, batches, runs),
        ]
    with running_cluster() as databases:
        if databases is None:
            print("ledger_appends: PostgreSQL is not installed here; it is left out", file=sys.stderr)
        else:
            figures.append(_figure("PostgreSQL, Ed25519", False, databases, batches, runs))
    return figures


def _figure(what: str, hybrid: bool, places: Iterator[str], batches: int, runs: int) -> Figure:
    appended, written = [], []
    for _ in range(runs):
        fresh = Traffic(hybrid=hybrid)
        statements = [statement.raw for statement in islice(fresh.statements(), batches * BATCH)]
        with Log.create(next(places), ORIGIN, fresh.keys[COORDINATOR], cid=CID) as log:
            log.append(fresh.genesis())
            appended.append(_rate(log.append, statements))
        written.append(_raw_rate(next(places), statements))
    beside = {"the database alone": median(written)}
    return Figure(f"durable appends, batches of {BATCH}, {what}", median(appended), "entries/s", beside, runs, COMMAND)


def _rate(append: Callable[[Sequence[bytes]], object], statements: Sequence[bytes]) -> float:
    """Statements a second."""
    began = perf_counter()
    for start in range(0, len(statements), BATCH):
        append(statements[start : start + BATCH])
    return len(statements) / (perf_counter() - began)


def _raw_rate(place: str, statements: Sequence[bytes]) -> float:
    """The same bytes into one table, by the same driver with the same settings."""
    on_server = postgresql.is_url(place)
    engine = postgresql.open_engine(place) if on_server else sqlite.open_engine(Path(place), "rwc")
    with engine.connect().execution_options(artesian_immediate=True) as connection:
        with connection.begin():
            _BYTES.metadata.create_all(connection)

        def append(batch: Sequence[bytes]) -> None:
            with connection.begin():
                connection.execute(sa.insert(_BYTES), [{"raw": raw} for raw in batch])

        rate = _rate(append, statements)
    engine.dispose()
    return rate
