"""The privacy wallet: a firm's own append-only account of what its data has paid, refused past its cap.

The order of events is the whole point: `reserve` before training touches the data, `settle` before
anything leaves the firm, `cancel` only when nothing will. A reservation without an end counts as spent,
so a crash at any moment can only make the firm poorer, never its units less private.

Each row is chained to the one before it by SHA-256; opening the wallet re-checks the chain and replays
it. The chain shows an edited or missing row, not a whole file put back from an older copy: compare
`head` with what was noted elsewhere (the ledger keeps each round's spend) for that.
"""

from __future__ import annotations

import hashlib
import json
import os
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType

from clients.accounts import Account, Accounts, WalletRefused
from clients.cost import Cost, as_cost
from clients.errors import ClientError
from clients.privacy import NanoRdp
from clients.wallet_row import UNKNOWN, Occasion, Reservation, Row

_FIRST_HASH = hashlib.sha256(b"artesian wallet v1").digest()

_SCHEMA = (
    "CREATE TABLE IF NOT EXISTS rows (seq INTEGER PRIMARY KEY, body TEXT NOT NULL, hash BLOB NOT NULL)",
    "CREATE TRIGGER IF NOT EXISTS rows_stay BEFORE UPDATE ON rows "
    "BEGIN SELECT RAISE(ABORT, 'a wallet is append-only'); END",
    "CREATE TRIGGER IF NOT EXISTS rows_keep BEFORE DELETE ON rows "
    "BEGIN SELECT RAISE(ABORT, 'a wallet is append-only'); END",
)


class WalletDamaged(ClientError):
    """The stored rows are not the rows that were written: do not train until a person has looked."""

    exit_code = 1


class WalletUnreadable(ClientError):
    """The wallet's file cannot be opened, read or written."""


class Wallet:
    """One firm's wallet. Safe for several threads and for several processes on one file.

    Args:
        path: SQLite file, created with mode 0600 if missing; None keeps the wallet in memory (simulations).
        clock: seconds since the epoch; only noted in the rows, no rule depends on it.
        busy_timeout_s: how long to wait for another process that is writing.

    Raises:
        WalletDamaged: a row was changed, lost or forged.
        WalletUnreadable: the file is no database or may not be opened.
    """

    def __init__(
        self, path: Path | None, *, clock: Callable[[], float] = time.time, busy_timeout_s: float = 30.0
    ) -> None:
        self._name = "memory" if path is None else str(path)
        self._clock = clock
        self._lock = threading.RLock()
        self._accounts = Accounts()
        self._seq, self._hash = 0, _FIRST_HASH
        try:
            if path is not None:
                os.close(os.open(path, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600))
            self._db = sqlite3.connect(
                ":memory:" if path is None else path,
                timeout=busy_timeout_s,
                isolation_level=None,
                check_same_thread=False,
            )
        except (OSError, sqlite3.Error) as error:
            raise WalletUnreadable(f"wallet {self._name}: cannot be opened: {error}") from error
        try:
            with self._transaction(write=True):
                pass
        except BaseException:
            self._db.close()
            raise

    def set_cap(self, unit: str, dataset: str, *, epsilon: float, delta: float) -> None:
        """Set the most that may ever be spent on `dataset`, counted in `unit`; a cap may only fall.

        Setting the cap that already holds writes nothing. A cap below what is spent stops all spending.

        Raises:
            WalletRefused: out of range, or above the cap that holds.
        """
        with self._transaction(write=True):
            cap = self._accounts.account(unit, dataset).cap
            if cap is not None and (cap.epsilon, cap.delta) == (epsilon, delta):
                return
            self._append(
                {"do": "cap", "unit": unit, "dataset": dataset, "epsilon": epsilon, "delta": delta},
            )

    def reserve(
        self, unit: str, dataset: str, purpose: str, cost: Cost | Sequence[int], occasion: Occasion = UNKNOWN
    ) -> Reservation:
        """Set `cost` aside for `purpose` (a round id): on disk before this returns.

        Reserving twice for one purpose costs twice: training again draws new noise on the same data.

        Args:
            cost: what is released; or nano-RDP alone, and then its whole account is added up as such from now on.

        Raises:
            OverCap: the cap would be passed; nothing is spent. `exit_code` 1.
            NoCap: no cap is set for this unit and dataset.
            PrivacyError: `cost` holds no account on the grid of orders, or more than its mechanisms.
        """
        asked = as_cost(cost)
        with self._transaction(write=True):
            return self._reserve(Reservation(0, unit, dataset, purpose, asked, occasion))

    def reserve_once(
        self, unit: str, dataset: str, purpose: str, cost: Cost | Sequence[int], occasion: Occasion = UNKNOWN
    ) -> Reservation | None:
        """Set `cost` aside for showing again what is the same each time, noise and all: that costs once.

        Returns:
            The reservation, which is an earlier one of the same purpose and cost if that was never settled, as after a
            crash; None if it was.

        Raises:
            OverCap, NoCap, PrivacyError: as `reserve`.
        """
        asked = as_cost(cost)
        with self._transaction(write=True):
            if self._accounts.settled.get((unit, dataset, purpose)) == asked.nano_rdp:
                return None
            wanted = (unit, dataset, purpose, asked.nano_rdp)
            for held in self._accounts.open.values():
                if (held.unit, held.dataset, held.purpose, held.nano_rdp) == wanted:
                    return held
            return self._reserve(Reservation(0, unit, dataset, purpose, asked, occasion))

    def rehearsal(self) -> Wallet:
        """A wallet in memory with the same rows: it refuses what this one would, and nothing in it is spent."""
        copied = Wallet(None, clock=self._clock)
        with self._lock, copied._lock:
            for row in self._db.execute("SELECT * FROM rows ORDER BY seq"):
                copied._db.execute("INSERT INTO rows VALUES (?, ?, ?)", row)
        return copied

    def settle(self, reservation: Reservation) -> None:
        """Say that the update is about to leave: from here on the spend can never be taken back.

        Raises:
            WalletRefused: the reservation is not open.
        """
        self._end("settle", reservation)

    def cancel(self, reservation: Reservation) -> None:
        """Give a reservation back. Only if nothing left the firm in any form: not even a loss or a count.

        Raises:
            WalletRefused: the reservation is not open (it was settled, so it may have left).
        """
        self._end("cancel", reservation)

    def _reserve(self, wanted: Reservation) -> Reservation:
        return self._accounts.open[self._append(wanted.to_row("reserve"))]

    def _end(self, do: str, reservation: Reservation) -> None:
        with self._transaction(write=True):
            if self._accounts.open.get(reservation.id, reservation) != reservation:
                raise WalletRefused(f"wallet {self._name}: reservation {reservation.id} is of another wallet")
            self._append({"do": do, "reservation": reservation.id})

    def spent(self, unit: str, dataset: str) -> NanoRdp:
        """Nano-RDP reserved and not cancelled, settled or not."""
        with self._transaction():
            return self._accounts.account(unit, dataset).nano_rdp

    def open_reservations(self, purpose: str | None = None) -> tuple[Reservation, ...]:
        """Reservations neither settled nor cancelled (all, or those of one purpose), oldest first."""
        with self._transaction():
            held = tuple(self._accounts.open.values())
        return tuple(one for one in held if purpose in (None, one.purpose))

    def purchases(self, purpose: str | None = None) -> tuple[Reservation, ...]:
        """All that is spent, settled or not (for everything, or for one purpose), oldest first."""
        with self._transaction():
            if purpose is None:
                return tuple(self._accounts.kept.values())
            return tuple(self._accounts.for_purpose(purpose))

    def report(self) -> tuple[Account, ...]:
        """A copy of every account, in order of unit and dataset."""
        with self._transaction():
            return tuple(account.copy() for _, account in sorted(self._accounts.accounts.items()))

    @property
    def head(self) -> tuple[int, bytes]:
        """Number of rows, and the hash (32 bytes) that all of them lead to."""
        with self._transaction():
            return self._seq, self._hash

    def close(self) -> None:
        """Close the file. Reservations stay as they are."""
        with self._lock:
            self._db.close()

    def __enter__(self) -> Wallet:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self.close()

    @contextmanager
    def _transaction(self, *, write: bool = False) -> Iterator[None]:
        """One database transaction that begins by taking in what other processes have written."""
        with self._lock:
            try:
                if write and self._seq == 0:
                    self._create()
                self._db.execute("BEGIN IMMEDIATE" if write else "BEGIN")
                self._catch_up()
                yield
                self._db.execute("COMMIT")
            except sqlite3.Error as error:
                self._forget()
                raise WalletUnreadable(f"wallet {self._name}: {error}") from error
            except BaseException:
                self._forget()
                raise

    def _create(self) -> None:
        self._db.execute("PRAGMA journal_mode=WAL")
        self._db.execute("PRAGMA synchronous=FULL")
        for statement in _SCHEMA:
            self._db.execute(statement)

    def _append(self, row: Row) -> int:
        """Check and insert a row in the transaction that is open; returns its number."""
        self._accounts.check(row)
        body = json.dumps({**row, "at_ms": int(self._clock() * 1000)}, sort_keys=True, separators=(",", ":"))
        seq, digest = self._seq + 1, _chain(self._hash, body)
        self._db.execute("INSERT INTO rows VALUES (?, ?, ?)", (seq, body, digest))
        self._take_in(seq, body, digest)
        return seq

    def _catch_up(self) -> None:
        for seq, body, digest in self._db.execute("SELECT * FROM rows WHERE seq > ? ORDER BY seq", (self._seq,)):
            self._take_in(seq, body, digest)

    def _take_in(self, seq: int, body: str, digest: bytes) -> None:
        if seq != self._seq + 1 or digest != _chain(self._hash, body):
            raise WalletDamaged(
                f"wallet {self._name}: row {self._seq + 1} is not the row that was written: restore the "
                "file from a backup or ask who changed it; nothing is spent until then"
            )
        try:
            self._accounts.apply(seq, json.loads(body))
        except (KeyError, TypeError, ValueError, ClientError) as error:
            raise WalletDamaged(f"wallet {self._name}: row {seq} is no row of a wallet: {error!r}") from error
        self._seq, self._hash = seq, digest

    def _forget(self) -> None:
        """Undo a transaction: the memory is rebuilt from the disk at the next one, never guessed."""
        if self._db.in_transaction:
            self._db.execute("ROLLBACK")
        self._accounts, self._seq, self._hash = Accounts(), 0, _FIRST_HASH


def _chain(before: bytes, body: str) -> bytes:
    return hashlib.sha256(before + body.encode()).digest()
