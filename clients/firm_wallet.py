"""How a firm's `firm.toml` governs its wallet: where it is, its caps, and one account for the same records."""

from __future__ import annotations

import filecmp
from collections.abc import Callable, Iterable
from functools import lru_cache
from itertools import combinations
from pathlib import Path
from typing import Protocol

from clients.accounts import WalletRefused
from clients.allowance import Allowance
from clients.errors import ClientError
from clients.firm_config import FirmConfig, Limits
from clients.sql_settings import SQLITE
from clients.wallet import Wallet


class CountedOtherwise(WalletRefused):
    """A data set has paid in another privacy unit, and the two accounts would not add up."""

    exit_code = 1


class TwoNames(ClientError):
    """The same records would pay under two names, and the two accounts would not add up. Names files of the firm."""

    exit_code = 1


class Payer(Protocol):
    """A task, as far as it matters which account of the wallet pays for it.

    Attributes:
        name: the task's.
        data: its table, as `firm.toml` names it, or a database's URL with a hash of the query.
        named: whether `firm.toml` names its data set; else that is called after the table.
    """

    @property
    def name(self) -> str: ...
    @property
    def data(self) -> str: ...
    @property
    def unit(self) -> str: ...
    @property
    def dataset(self) -> str: ...
    @property
    def named(self) -> bool: ...


def wallet_path(home: Path, config: FirmConfig) -> Path:
    """The wallet's file."""
    return home / config.wallet


def journal_path(wallet: Path) -> Path:
    """Where the wallet's rows are written once more."""
    return wallet.with_suffix(".rows")


@lru_cache(maxsize=256)
def table_of(home: Path, data: str) -> str:
    """The file that a task's records are in, by the one path that leads nowhere else; of a database, what names it."""
    file, found, rest = data.removeprefix(SQLITE).partition("#")
    if data.startswith(SQLITE) and found:
        return f"{SQLITE}{(home / file).resolve()}#{rest}"
    return data if "://" in data else str((home / data).resolve())


def open_wallet(home: Path, config: FirmConfig, payers: Iterable[Payer], clock: Callable[[], float]) -> Wallet:
    """The firm's wallet to spend from; in memory for a firm that keeps nothing on disk.

    Raises:
        WalletDamaged, WalletBehind, WalletUnreadable, WalletRefused: nothing may be spent until that is mended.
    """
    kept = config.experiment is None or not config.experiment.in_memory
    path = wallet_path(home, config) if kept else None
    journal = None if path is None else journal_path(path)
    wallet = Wallet(path, clock=clock, journal=journal, allowance=allowance(config.limits))
    try:
        return apply_policy(wallet, home, config.limits, payers)
    except BaseException:
        wallet.close()
        raise


def wallet_to_look_at(home: Path, config: FirmConfig, clock: Callable[[], float]) -> Wallet:
    """The firm's wallet beside a running client: no cap is lowered, nothing is written."""
    path = wallet_path(home, config)
    return Wallet(path if path.exists() else None, clock=clock)


def apply_policy(wallet: Wallet, home: Path, limits: Limits, payers: Iterable[Payer]) -> Wallet:
    """Set the caps that `firm.toml` names, for every task, and insist on one account for the same records.

    Raises:
        WalletRefused: a cap would rise without the owner's decision, or by one that was carried out before.
        TwoNames: two tasks read the same records under different names.
    """
    tasks = tuple(payers)
    for one, other in combinations(tasks, 2):
        if one.dataset != other.dataset and _same_records(home, one.data, other.data):
            raise TwoNames(
                f"firm.toml: the tasks {one.name!r} and {other.name!r} read the same records, as the data sets "
                f"{one.dataset!r} and {other.dataset!r}: give both the same 'dataset'"
            )
    for one in tasks:
        cap, raising = wallet.account(one.unit, one.dataset).cap, limits.raising
        if cap and raising and cap.epsilon == raising.from_epsilon < limits.epsilon:
            wallet.raise_cap(
                one.unit,
                one.dataset,
                before=cap.epsilon,
                epsilon=limits.epsilon,
                delta=limits.delta,
                reason=raising.reason,
            )
        else:
            wallet.set_cap(one.unit, one.dataset, epsilon=limits.epsilon, delta=limits.delta)
    return wallet


def allowance(limits: Limits) -> Allowance:
    """The limits beside the cap."""
    return Allowance(limits.epsilon_round, limits.epsilon_year)


def require_one_account(wallet: Wallet, home: Path, payer: Payer) -> None:
    """Insist that the task's records have never paid in another unit, nor under another name.

    Raises:
        CountedOtherwise: the data set has paid in another unit, say rows before customers. What a customer has
            paid cannot be had from what rows have, so a second account would let it pay past the cap.
        TwoNames: the records have paid under another name: the task has another `dataset` now, or another task or
            another consortium's home reads the same file, or the task's file has another name now.
    """
    require_name_kept(wallet, payer)
    with wallet.reading() as rows:
        names, unknown = rows.datasets_of(table_of(home, payer.data)), rows.datasets_of("")
        paid = [(account.unit, account.dataset) for account in rows.accounts.values() if any(account.nano_rdp)]
    for unit, dataset in paid:
        if dataset == payer.dataset and unit != payer.unit:
            raise CountedOtherwise(
                f"wallet: the data set of the task {payer.name!r} has paid per {unit}, and cannot pay per {payer.unit} "
                "as well; only other records may have another 'dataset' name"
            )
        if dataset == payer.data and dataset in unknown:
            names.add(dataset)  # rows of before do not name the file; their data set is named after it
    for name in sorted(names - {payer.dataset}):
        raise TwoNames(
            f"wallet: {payer.data} has paid as the data set {name!r}, and cannot pay as {payer.dataset!r} as well: put "
            f'dataset = "{name}" for the task {payer.name!r} into firm.toml, or other records into another file'
        )


def require_name_kept(wallet: Wallet, payer: Payer) -> None:
    """Insist that a task goes on paying as the data set that it has paid as, unless the owner names another.

    A table that grows by a month often has a new file name, and most of its records are the same.

    Raises:
        TwoNames: the task has paid as another data set, and this one's name is that of the file alone.
    """
    if payer.named:
        return
    with wallet.reading() as rows:
        others = [name for name in rows.datasets_for(payer.name) if name != payer.dataset]
    if others:
        raise TwoNames(
            f"wallet: the task {payer.name!r} has paid as the data set {others[-1]!r}, and its file is {payer.data!r} "
            f'now: if any of its customers are the same, put dataset = "{others[-1]}" for it into firm.toml; if none '
            "is, a 'dataset' name of their own"
        )


def _same_records(home: Path, first: str, second: str) -> bool:
    """Whether two tables are one, or copies of one; a file that is not there is nobody's copy."""
    if table_of(home, first) == table_of(home, second):
        return True
    one, other = home / first, home / second
    try:
        return one.samefile(other) or (
            one.stat().st_size == other.stat().st_size and filecmp.cmp(one, other, shallow=False)
        )
    except OSError:
        return False
