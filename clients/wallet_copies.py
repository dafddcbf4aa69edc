"""Copies of a wallet: what another one has that this one lacks is added, and nothing that was spent is ever forgotten.

Two copies of one wallet have the first rows in common. Where one goes on from where the other ends, its rows are taken
as they are. Where they part, both were spent from: what the other has paid since is booked here as well, each under its
own purpose, beside what is here.
"""

from __future__ import annotations

import sqlite3
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from itertools import takewhile
from pathlib import Path
from typing import NamedTuple

from clients.privacy import NanoRdp
from clients.wallet import Wallet, WalletBehind
from clients.wallet_file import FIRST_HASH, StoredRow, WalletDamaged, WalletUnreadable
from clients.wallet_journal import Journal
from clients.wallet_row import Reservation

_SQLITE = b"SQLite format 3\0"


class Copy(NamedTuple):
    """What could be read of a copy.

    Attributes:
        rows: from the first, each chained to the one before it.
        whole: False if something follows that is not.
    """

    rows: list[StoredRow]
    whole: bool


class Taken(NamedTuple):
    """What a wallet has taken from a copy: rows as they are, and spends that were booked once more."""

    rows: int
    booked: int


def read_copy(path: Path) -> Copy:
    """The rows of a wallet's file, or of its journal. Changes nothing.

    Raises:
        WalletUnreadable: there is no such file.
    """
    try:
        with path.open("rb") as file:
            start = file.read(len(_SQLITE))
            lines = start.count(b"\n") + sum(block.count(b"\n") for block in iter(lambda: file.read(1 << 20), b""))
    except OSError as error:
        raise WalletUnreadable(f"{path}: cannot be read: {error.strerror}") from error
    if start != _SQLITE:
        rows = list(Journal(path).rows())
        return Copy(rows, len(rows) == lines)
    found: list[StoredRow] = []
    try:
        for row in _stored(path):
            if not row.follows(len(found), found[-1].hash if found else FIRST_HASH):
                return Copy(found, False)
            found.append(row)
    except (sqlite3.Error, TypeError, AttributeError):  # of a broken page, or a value of another kind
        return Copy(found, False)
    return Copy(found, True)


def require_same(wallet: Wallet, journal: Path) -> None:
    """Insist that every row of a journal is the wallet's. The journal may lack the newest.

    Raises:
        WalletBehind: the journal has more rows than the wallet, or others.
        WalletDamaged: it is not what was written.
    """
    noted, own = read_copy(journal), wallet.rows()
    if noted.rows != own[: len(noted.rows)]:
        raise WalletBehind(
            f"{journal}: has rows that the wallet has not: it was put back from an older copy; artesian firm "
            "wallet-adopt books what is missing"
        )
    if not noted.whole:
        raise WalletDamaged(f"{journal}: after {len(noted.rows)} rows comes something else: somebody has changed it")


def take(wallet: Wallet, rows: Sequence[StoredRow], source: str) -> Taken:
    """Add to the wallet what another copy of it has and it has not.

    Args:
        rows: the copy's, from the first.
        source: where they were found, for the rows that book it.

    Raises:
        WalletDamaged: the rows make no wallet.
    """
    own = wallet.rows()
    common = sum(1 for _ in takewhile(lambda pair: pair[0].hash == pair[1].hash, zip(own, rows, strict=False)))
    if common == len(own):
        return Taken(wallet.extend(rows[common:]), 0)
    if common == len(rows):
        return Taken(0, 0)
    other = Wallet(None)
    with other:
        other.extend(rows)
        elsewhere = other.purchases()
        _lower_caps(wallet, other)
    missing = _missing(wallet, elsewhere, common)
    return Taken(0, wallet.adopt((one, f"{source}, row {one.id}") for one in missing))


def _lower_caps(wallet: Wallet, other: Wallet) -> None:
    """Keep the lower of two caps, wherever it was set, and the one cap where only the other has one."""
    for account in other.report():
        cap = account.cap
        own = wallet.account(account.unit, account.dataset).cap or cap
        if own and cap:
            epsilon, delta = min(own.epsilon, cap.epsilon), min(own.delta, cap.delta)
            wallet.set_cap(account.unit, account.dataset, epsilon=epsilon, delta=delta)


def _missing(wallet: Wallet, elsewhere: Iterable[Reservation], common: int) -> list[Reservation]:
    """What was spent elsewhere and not here. What was booked here before for the same purpose is not missing."""
    kept = wallet.purchases()
    here = {one.id for one in kept if one.id <= common}
    booked: Counter[tuple[str, str, str, NanoRdp]] = Counter(_what(one) for one in kept if one.id in wallet.adopted)
    missing = []
    for one in elsewhere:
        if one.id <= common and one.id in here:
            continue
        if booked[_what(one)]:
            booked[_what(one)] -= 1
            continue
        missing.append(one)
    return missing


def _what(one: Reservation) -> tuple[str, str, str, NanoRdp]:
    return one.unit, one.dataset, one.purpose, one.nano_rdp


def _stored(path: Path) -> Iterator[StoredRow]:
    # Without a log beside it nobody has it open, and it can be read where SQLite must not make files of its own.
    alone = "" if path.with_name(path.name + "-wal").exists() else "&immutable=1"
    database = sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro{alone}", uri=True)
    try:
        for row in database.execute("SELECT seq, body, hash FROM rows ORDER BY seq"):
            yield StoredRow(*row)
    finally:
        database.close()
