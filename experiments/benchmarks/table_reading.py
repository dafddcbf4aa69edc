"""What reading a table anew costs a round: 100,000 loans from a CSV and from SQLite, checked, encoded; beside pandas.

The table is the loans that ship, repeated. A round reads and encodes it once; the greeting reads and checks it.
"""

from __future__ import annotations

import gzip
import sqlite3
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from statistics import median
from time import perf_counter

import pandas as pd

from clients.firm_config import TaskAtFirm
from clients.kept_records import records_of
from clients.sql_settings import SqlTable
from clients.table_source import source_of
from clients.tasks.spec import load_spec
from clients.tasks.task import task_for
from experiments.benchmarks.figure import Figure

COMMAND = "artesian bench table_reading"
ROWS = 100_000
_HERE = Path(__file__).resolve().parents[1]
_QUERY = "select * from loans"


def run(rows: int = ROWS, runs: int = 5) -> list[Figure]:
    """Read, check, encode and recognise a table of `rows` records."""
    spec = load_spec(_HERE / "configs/tasks/loans.toml")
    task = task_for(spec)
    with tempfile.TemporaryDirectory(prefix="artesian-tables-") as folder:
        home = Path(folder)
        _write(home, rows)
        common = {"name": "loans", "spec": "loans.toml", "dataset": "loans", "units": 1}
        file = source_of(home, TaskAtFirm.model_validate({**common, "data": "loans.csv"}))
        query = SqlTable(url="sqlite:///loans.db", query=_QUERY)
        database = source_of(home, TaskAtFirm.model_validate({**common, "sql": query}))
        table = file.table(spec)
        times = _times(
            {
                "csv": lambda: file.table(spec),
                "sql": lambda: database.table(spec),
                "pandas csv": lambda: pd.read_csv(home / "loans.csv", dtype=str),
                "pandas sql": lambda: _pandas_sql(home),
                "encode": lambda: task.examples(table),
                "records": lambda: records_of(table),
            },
            runs,
        )
    what = f"{rows:,} records of {len(spec.column)} columns"
    csv, sql = {"pandas.read_csv alone": times["pandas csv"]}, {"pandas.read_sql alone": times["pandas sql"]}
    checked = {"reading and checking it": times["csv"]}
    return [
        Figure(f"read and check a CSV of {what}", times["csv"], "s", csv, runs, COMMAND),
        Figure(f"read and check a query of {what}", times["sql"], "s", sql, runs, COMMAND),
        Figure(f"encode {what}", times["encode"], "s", checked, runs, COMMAND),
        Figure(f"recognise {what} in a stream", times["records"], "s", checked, runs, COMMAND),
    ]


def _write(home: Path, rows: int) -> None:
    head, *records = gzip.decompress((_HERE / "datasets/loans.csv.gz").read_bytes()).decode().splitlines()
    repeated = (records * (rows // len(records) + 1))[:rows]
    (home / "loans.csv").write_text("\n".join([head, *repeated]) + "\n", encoding="utf-8")
    with sqlite3.connect(home / "loans.db") as made:
        pd.read_csv(home / "loans.csv").to_sql("loans", made, index=False)
    made.close()


def _pandas_sql(home: Path) -> None:
    database = sqlite3.connect(home / "loans.db")
    pd.read_sql(_QUERY, database)
    database.close()


def _times(acts: Mapping[str, Callable[[], object]], runs: int) -> dict[str, float]:
    """Medians in seconds; the acts take turns, so that what disturbs the machine disturbs all of them."""
    found: dict[str, list[float]] = {name: [] for name in acts}
    for _ in range(runs):
        for name, act in acts.items():
            start = perf_counter()
            act()
            found[name].append(perf_counter() - start)
    return {name: median(seconds) for name, seconds in found.items()}
