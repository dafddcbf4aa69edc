"""The privacy wallet on disk: paying for a round, refusing one, and opening a long history, beside a bare commit.

The bare commit writes one row of the same size into a SQLite file of its own, as durably. A charge is two such
commits, and two lines in the journal.
"""

from __future__ import annotations

import sqlite3
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from statistics import median, quantiles
from time import perf_counter

from clients.accounts import OverCap
from clients.cost import Cost
from clients.mechanism import MICRO, Mechanism
from clients.wallet import Wallet
from experiments.benchmarks.figure import Figure

COMMAND = "artesian bench wallet"
ROWS = 10_000
_UNIT, _DATA, _DELTA = "one row", "data/credit.csv", 1e-5
_ROUND = Cost.of(Mechanism(100 * MICRO))
_TOO_MUCH = Cost.of(Mechanism(MICRO // 10))


def run(charges: int = 200) -> list[Figure]:
    """Charge `charges` rounds to a new wallet, and to one with `ROWS` rows of history."""
    with tempfile.TemporaryDirectory(prefix="artesian-wallet-") as folder:
        commit = _bare_commit(Path(folder) / "bare.sqlite")
        new, old = Path(folder) / "new.sqlite", Path(folder) / "old.sqlite"
        figures = [*_paying("a new wallet", new, commit, charges)]
        _fill(old)
        figures += _opening(old)
        figures += _paying(f"a wallet of {ROWS:,} rows", old, commit, charges)
        return figures


def _paying(what: str, path: Path, commit: Callable[[], None], charges: int) -> list[Figure]:
    with _open(path) as wallet:
        wallet.set_cap(_UNIT, _DATA, epsilon=8.0, delta=_DELTA)

        def pay() -> None:
            wallet.settle(wallet.reserve(_UNIT, _DATA, "credit/" + "0" * 32, _ROUND))

        def refuse() -> None:
            try:
                wallet.reserve(_UNIT, _DATA, "credit/" + "0" * 32, _TOO_MUCH)
            except OverCap:
                return
            raise AssertionError("the wallet has paid what is over its cap")

        paid, refused, bare = _times([pay, refuse, commit], charges)
    beside = {"one bare commit": median(bare), "95 % of bare commits under": _most(bare)}
    return [
        Figure(f"reserve and settle, {what}, median", median(paid), "ms", beside, charges, COMMAND),
        Figure(f"reserve and settle, {what}, 95 % under", _most(paid), "ms", beside, charges, COMMAND),
        Figure(f"refusal, {what}, median", median(refused), "ms", beside, charges, COMMAND),
        Figure(f"refusal, {what}, 95 % under", _most(refused), "ms", beside, charges, COMMAND),
    ]


def _opening(path: Path, runs: int = 5) -> list[Figure]:
    def read_all() -> None:
        database = sqlite3.connect(path)
        database.execute("SELECT seq, body, hash FROM rows ORDER BY seq").fetchall()
        database.close()

    opened, read = _times([lambda: _open(path).close(), read_all], runs)
    beside = {"reading its rows alone": median(read)}
    return [Figure(f"opening a wallet of {ROWS:,} rows, chain checked", median(opened), "ms", beside, runs, COMMAND)]


def _fill(path: Path) -> None:
    """A history of rounds that were reserved and settled, as two tasks of several years leave one."""
    with _open(None) as wallet:
        wallet.set_cap(_UNIT, _DATA, epsilon=8.0, delta=_DELTA)
        for number in range(ROWS // 2):
            wallet.settle(wallet.reserve(_UNIT, _DATA, f"credit/{number:032x}", _ROUND))
        with _open(path) as kept:
            kept.extend(wallet.rows())


def _open(path: Path | None) -> Wallet:
    return Wallet(path, journal=None if path is None else path.with_suffix(".rows"))


def _bare_commit(path: Path) -> Callable[[], None]:
    database = sqlite3.connect(path, isolation_level=None)
    database.execute("PRAGMA journal_mode=WAL")
    database.execute("PRAGMA synchronous=FULL")
    database.execute("CREATE TABLE rows (seq INTEGER PRIMARY KEY, body TEXT NOT NULL)")
    body = "0" * 1000

    def commit() -> None:
        database.execute("BEGIN IMMEDIATE")
        database.execute("INSERT INTO rows (body) VALUES (?)", (body,))
        database.execute("COMMIT")

    return commit


def _times(acts: Sequence[Callable[[], None]], runs: int) -> list[list[float]]:
    """Milliseconds of each of `runs` calls of each, in turns: what else the machine does meets all alike."""
    out: list[list[float]] = [[] for _ in acts]
    for _ in range(runs):
        for act, times in zip(acts, out, strict=True):
            began = perf_counter()
            act()
            times.append(1000 * (perf_counter() - began))
    return out


def _most(times: list[float]) -> float:
    return quantiles(times, n=20)[-1]
