"""A wallet's rows and what they add up to, kept in step with the file, with other processes, and with the journal."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Self

from clients.accounts import Accounts
from clients.errors import ClientError
from clients.wallet_file import FIRST_HASH, StoredRow, WalletDamaged, WalletFile, chain
from clients.wallet_journal import Journal
from clients.wallet_row import Row, read_row


class WalletBehind(ClientError):
    """The wallet lacks what was spent: it was put back from an older copy. Do not train until that is booked."""

    exit_code = 1


class WalletBook:
    """The rows. Safe for several threads and for several processes on one file.

    Args:
        path: SQLite file, created with mode 0600 if missing; None keeps the rows in memory (simulations).
        clock: seconds since the epoch; noted in the rows, and what the limit of a year goes by.
        busy_timeout_s: how long to wait for another process that is writing.
        journal: where the rows are written once more; None to neither write nor look.

    Raises:
        WalletDamaged: a row was changed, lost or forged.
        WalletBehind: the journal has rows that the wallet has not.
        WalletUnreadable: the file is no database or may not be opened.
    """

    _accounts: Accounts
    _seq: int
    _hash: bytes
    _certain: bool  # whether the memory is what is on the disk

    def __init__(
        self,
        path: Path | None,
        *,
        clock: Callable[[], float] = time.time,
        busy_timeout_s: float = 30.0,
        journal: Path | None = None,
    ) -> None:
        self._clock = clock
        self._journal = None if journal is None else Journal(journal)
        self._lock = threading.RLock()
        self._forget()
        self._file = WalletFile(path, busy_timeout_s=busy_timeout_s)
        self._name = self._file.name
        try:
            with self._transaction(write=True):
                pass
            self._note()
        except BaseException:
            self._file.close()
            raise

    def extend(self, rows: Iterable[StoredRow]) -> int:
        """Take rows of another copy of this wallet that follow on its own, as they are. Returns how many.

        Raises:
            WalletDamaged: they do not follow; none is taken.
        """
        taken = 0
        with self._transaction(write=True):
            self._certain = False
            for row in rows:
                self._take_in(row)
                self._file.insert(row)
                taken += 1
        self._note()
        return taken

    @property
    def head(self) -> tuple[int, bytes]:
        """Number of rows, and the hash (32 bytes) that all of them lead to."""
        with self._transaction():
            return self._seq, self._hash

    def rows(self) -> list[StoredRow]:
        """All rows, checked."""
        with self._transaction():
            return list(self._file.after(0))

    def close(self) -> None:
        """Close the file. Reservations stay as they are."""
        with self._lock:
            self._file.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self.close()

    @contextmanager
    def _transaction(self, *, write: bool = False) -> Iterator[None]:
        """One database transaction that begins by taking in what other processes have written."""
        with self._lock:
            noted = (0, FIRST_HASH) if self._journal is None else self._journal.last()  # before: the file has all of it
            self._certain = False
            try:
                with self._file.transaction(write=write):
                    for row in self._file.after(self._seq):
                        self._take_in(row)
                    self._require_noted(*noted)
                    self._certain = True
                    yield
            except BaseException:
                if not self._certain:
                    self._forget()  # the memory is rebuilt from the disk at the next one, never guessed
                raise

    def _require_noted(self, seq: int, digest: bytes) -> None:
        held = self._hash if seq == self._seq else self._file.hash_of(seq)
        if held != digest:
            raise WalletBehind(
                f"wallet {self._name}: it ends with row {self._seq} and does not lead to row {seq} of its journal: it "
                "was put back from an older copy; artesian firm wallet-adopt books what is missing"
            )

    def _note(self) -> None:
        """Write into the journal what is committed."""
        if self._journal is not None:
            with self._lock:
                self._journal.extend(self._file.after(self._journal.last()[0]))

    def _append(self, row: Row) -> int:
        """Check and insert a row in the transaction that is open; returns its number."""
        self._accounts.check(row)
        self._certain = False  # what is written now may yet be rolled back
        body = json.dumps({"at_ms": self._now_ms(), **row}, sort_keys=True, separators=(",", ":"))
        stored = StoredRow(self._seq + 1, body, chain(self._hash, body))
        self._file.insert(stored)
        self._take_in(stored)
        return stored.seq

    def _now_ms(self) -> int:
        return int(self._clock() * 1000)

    def _take_in(self, row: StoredRow) -> None:
        if not row.follows(self._seq, self._hash):
            raise WalletDamaged(
                f"wallet {self._name}: row {self._seq + 1} is not the row that was written: restore the "
                "file from a backup or ask who changed it; nothing is spent until then"
            )
        try:
            self._accounts.apply(row.seq, read_row(row.body))
        except (KeyError, TypeError, ValueError, ClientError) as error:
            raise WalletDamaged(f"wallet {self._name}: row {row.seq} is no row of a wallet: {error!r}") from error
        self._seq, self._hash = row.seq, row.hash

    def _forget(self) -> None:
        """Start from nothing: the next transaction reads all rows again."""
        self._accounts, self._seq, self._hash = Accounts(), 0, FIRST_HASH
