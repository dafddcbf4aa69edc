"""Backing a wallet up, putting it back, and booking what it has forgotten: afterwards it knows all that anything knows.

Three things know what was spent: the copies of the wallet, the journal beside it, and the ledger. A repair adds what
each of them has to what is there; nothing takes anything away. What cannot be read is moved aside and kept.
"""

from __future__ import annotations

import json
import os
import sqlite3
from collections.abc import Iterable, Sequence
from contextlib import closing, suppress
from dataclasses import dataclass, replace
from itertools import count
from pathlib import Path

from clients.errors import ClientError
from clients.firm_config import FirmConfig
from clients.firm_wallet import journal_path, wallet_path
from clients.wallet import Wallet, WalletBehind, WalletDamaged, WalletUnreadable
from clients.wallet_copies import Copy, read_copy, take
from clients.wallet_file import StoredRow
from clients.wallet_journal import Journal
from clients.wallet_ledger import LedgerView, PayerOf, adopt_unbooked
from ledger import sqlite
from ledger.folder_sync import sync_folder

_SQLITE = b"SQLite format 3\0"
_BESIDE = ("-wal", "-shm")  # SQLite's own files of a database in use


class NoWallet(ClientError):
    """A file that is given as a copy of a wallet, and is none at all."""


class RestoreRefused(ClientError):
    """The copy is no whole wallet, or something knows of spending that none of the copies has. Nothing was changed."""

    exit_code = 1


class ForeignWallet(ClientError):
    """The copy is of another firm's wallet. Nothing was changed."""


@dataclass(frozen=True)
class Repaired:
    """What a repair has added.

    Attributes:
        rows: rows that were taken as they are, from the copy and the journal.
        booked: spends that were booked once more, because two copies had both been spent from.
        from_ledger: contributions that only the ledger knew; None where there is no mirror of it yet.
        aside: where what could not be read is kept.
        head: number of rows now, and the hash that they lead to.
    """

    rows: int
    booked: int
    from_ledger: int | None
    aside: Path | None
    head: tuple[int, bytes]


def back_up(home: Path, config: FirmConfig, out: Path) -> tuple[int, bytes]:
    """Copy the wallet to the new file `out`, also while it is in use, and read the copy back; returns its head.

    Raises:
        WalletUnreadable: there is no wallet yet, or no folder for `out`.
        WalletBehind, WalletDamaged: it is gone or not in order, and a copy would not be either.
        StoreError: `out` is there already or cannot be written.
    """
    path = wallet_path(home, config)
    if not out.absolute().parent.is_dir():
        raise WalletUnreadable(f"{out}: no such folder as {out.parent}; make it first")
    if not path.is_file():
        seq, _ = Journal(journal_path(path)).last()
        if seq:
            raise WalletBehind(
                f"{path}: there is no wallet, and its journal has {seq} rows: it was lost; artesian firm wallet-adopt "
                "puts it back, then back it up"
            )
        raise WalletUnreadable(f"{path}: there is no wallet yet, so nothing to back up")
    with Wallet(path, journal=journal_path(path)) as wallet:
        least, _ = wallet.head
        with closing(sqlite3.connect(path, timeout=30)) as source:
            sqlite.copy(source, out)
    copied = read_copy(out)
    if not copied.whole or len(copied.rows) < least:
        raise WalletDamaged(f"{out}: the copy does not read back as it was written; do not keep it, and check the disk")
    return copied.rows[-1].seq, copied.rows[-1].hash


def repair(
    home: Path, config: FirmConfig, payer: PayerOf, view: LedgerView | None, copy: Path | None = None
) -> Repaired:
    """Bring the wallet up to all that a copy, its journal and the ledger know. The firm's client must not be running.

    Args:
        payer: finds which account pays for a task, for what only the ledger knows.
        view: the firm's mirror of the ledger; None before there is one.
        copy: a backup, or a journal; None to go without.

    Raises:
        NoWallet, RestoreRefused, WalletUnreadable: the copy is none, or not enough; the wallet is as it was.
        ForeignWallet: the copy is another member's; so is the wallet.
        WalletDamaged: the wallet is damaged and no copy is given.
        NotTakingPart: a contribution is of a task that `firm.toml` does not name any more.
        TwoNames: a contribution is of a task that has paid as another data set than it would now.
    """
    path = wallet_path(home, config)
    journal = Journal(journal_path(path))
    noted = list(journal.rows())
    given = [] if copy is None else _whole(copy)
    _require_own(given, config, copy)
    kept = _kept(path)
    if not kept.whole and copy is None:
        raise WalletDamaged(
            f"wallet {path}: row {len(kept.rows) + 1} is not the row that was written: artesian firm wallet-restore "
            f"puts a backup back, or its journal, {journal.path}"
        )
    _require_all_known(journal, [*kept.rows, *noted, *given])
    sources = [(noted, "journal"), (given, f"copy {copy.name}" if copy else "")]
    if kept.whole:
        with Wallet(path) as wallet:
            repaired, rows = _complete(wallet, sources, config, payer, view)
    else:
        fresh = path.with_name(f".{path.name}.restoring")
        _remove(fresh)
        with Wallet(fresh) as wallet:
            wallet.extend(given)
            repaired, rows = _complete(wallet, [*sources, (kept.rows, "damaged wallet")], config, payer, view)
        repaired = replace(repaired, aside=_put_in_place(fresh, path))
    journal.replace(rows)
    return repaired


def _complete(
    wallet: Wallet,
    sources: Sequence[tuple[list[StoredRow], str]],
    config: FirmConfig,
    payer: PayerOf,
    view: LedgerView | None,
) -> tuple[Repaired, list[StoredRow]]:
    """Add what the sources and the ledger know; what was added, and all rows then."""
    taken = [take(wallet, rows, source) for rows, source in sources]
    from_ledger = None if view is None else adopt_unbooked(wallet, view, config, payer)
    rows, booked = sum(one.rows for one in taken), sum(one.booked for one in taken)
    return Repaired(rows, booked, from_ledger, None, wallet.head), wallet.rows()


def _require_all_known(journal: Journal, rows: Iterable[StoredRow]) -> None:
    """Insist that the journal's last row can be had, and with it all before it.

    Raises:
        RestoreRefused: something between is damaged, there and in every copy.
    """
    seq, digest = journal.last()
    if seq and digest not in {row.hash for row in rows}:
        raise RestoreRefused(
            f"{journal.path}: it is damaged, and knows of row {seq}, which neither the wallet nor the copy has: what "
            "was spent until then cannot be known. Restore a newer backup; who moves this file away forgets it for good"
        )


def _require_own(given: Iterable[StoredRow], config: FirmConfig, copy: Path | None) -> None:
    """Insist that no other member of this consortium has spent from the copy: that could not be taken back.

    One wallet may serve a firm in several consortia, but only one member of each.

    Raises:
        ForeignWallet: naming whose it is.
    """
    for row in given:
        body = json.loads(row.body)
        if body.get("consortium") == config.cid and body.get("member") not in (None, config.member):
            raise ForeignWallet(
                f"{copy}: this is the wallet of {body['member']} in {config.cid}, and {config.member} has one of its "
                "own; give a copy of that"
            )


def _kept(path: Path) -> Copy:
    """What the wallet's own file holds. Unlike a copy it must be a database; an empty file is one."""
    if not path.exists():
        return Copy([], True)
    with path.open("rb") as file:
        start = file.read(len(_SQLITE))
    found = read_copy(path)
    return found if start in (b"", _SQLITE) else found._replace(whole=False)


def _whole(copy: Path) -> list[StoredRow]:
    found = read_copy(copy)
    if not found.rows:
        raise NoWallet(f"{copy}: no whole wallet: after 0 good rows comes something else, or nothing; give another")
    if not found.whole:
        raise RestoreRefused(
            f"{copy}: no whole wallet: after {len(found.rows)} good rows comes something else; give another"
        )
    return found.rows


def _put_in_place(fresh: Path, path: Path) -> Path:
    """Put a new file where the damaged one is; returns where that is kept. Until it is done, no wallet is whole."""
    number = next(n for n in count(1) if not path.with_name(f"{path.name}.damaged-{n}").exists())
    aside = path.with_name(f"{path.name}.damaged-{number}")
    try:
        os.replace(path, aside)
        for ending in _BESIDE:
            with suppress(FileNotFoundError):
                os.replace(path.with_name(path.name + ending), aside.with_name(aside.name + ending))
        os.replace(fresh, path)
        sync_folder(path.parent)
    except OSError as error:
        raise WalletUnreadable(f"{path}: {error}") from error
    return aside


def _remove(fresh: Path) -> None:
    for ending in ("", *_BESIDE):
        fresh.with_name(fresh.name + ending).unlink(missing_ok=True)
