"""A wallet's rows once more, one a line in a text file beside it: what shows that the wallet is an older copy.

A line is the row's number, its hash in hexadecimal and its JSON. Lines are appended when the row is committed, so the
journal never has a row that the wallet lacks, unless somebody has put the wallet back from an older copy. Then the
journal has what is missing. It is not forced to the disk, as the wallet is: what a power cut takes from its end is
written again when the wallet is next opened.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from clients.wallet_file import FIRST_HASH, StoredRow, WalletDamaged, WalletUnreadable
from ledger.folder_sync import sync_folder

_BLOCK = 1 << 16


class Journal:
    """The file. Processes take turns to write; a line that a crash has torn is dropped by the next one.

    Raises (on use):
        WalletUnreadable: it cannot be read or written.
        WalletDamaged: its last line is not one that was written.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._seen: tuple[int, ...] = ()  # which file, as it was when last read or written
        self._known: tuple[int, tuple[int, bytes]] = (0, (0, FIRST_HASH))  # length in bytes, and what it ends with

    def last(self) -> tuple[int, bytes]:
        """Number and hash of the last row; (0, `FIRST_HASH`) before the first."""
        if not self.path.exists():
            return 0, FIRST_HASH
        with self._open(os.O_RDONLY) as file:
            return self._end(file)[1]

    def extend(self, rows: Iterable[StoredRow]) -> None:
        """Append the rows of the wallet, in order, that are not there yet."""
        with self._open(os.O_RDWR | os.O_CREAT) as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            end, (last, digest) = self._end(file)
            new = [row for row in rows if row.seq > last]
            if not new:
                return
            if not new[0].follows(last, digest):
                raise WalletDamaged(f"{self.path}: it does not lead to row {new[0].seq} of the wallet beside it")
            text = "".join(map(_line, new)).encode()
            os.ftruncate(file, end)
            written = 0
            while written < len(text):
                written += os.pwrite(file, text[written:], end + written)
            self._seen, self._known = _version(file), (end + len(text), (new[-1].seq, new[-1].hash))

    def rows(self) -> Iterator[StoredRow]:
        """All rows from the first, as long as each is chained to the one before it."""
        if not self.path.exists():
            return
        seq, digest = 0, FIRST_HASH
        with self._open(os.O_RDONLY) as descriptor, open(descriptor, "rb", closefd=False) as file:
            for line in file:
                row = _row(line) if line.endswith(b"\n") else None  # else torn by a crash
                if row is None or not row.follows(seq, digest):
                    return
                yield row
                seq, digest = row.seq, row.hash

    def replace(self, rows: Iterable[StoredRow]) -> None:
        """Write it anew, whole or not at all."""
        temporary = self.path.with_name(f".{self.path.name}.{os.getpid()}")
        fresh = Journal(temporary)
        try:
            temporary.unlink(missing_ok=True)
            fresh.extend(rows)
            if temporary.exists():
                with temporary.open("rb") as file:
                    os.fsync(file.fileno())
                os.replace(temporary, self.path)
                sync_folder(self.path.parent)
        except OSError as error:
            raise WalletUnreadable(f"{self.path}: {error}") from error
        self._seen = ()

    def _end(self, file: int) -> tuple[int, tuple[int, bytes]]:
        """Where the last whole line ends, and its row's number and hash."""
        seen = _version(file)
        if seen == self._seen:
            return self._known
        size = os.fstat(file).st_size
        tail, start = b"", size
        while start > 0 and tail.rstrip(b"\n").count(b"\n") < 2:
            step = min(_BLOCK, start)
            start -= step
            tail = os.pread(file, step, start) + tail
        whole = tail[: tail.rfind(b"\n") + 1]
        end = size - len(tail) + len(whole)
        if not whole:
            return 0, (0, FIRST_HASH)
        row = _row(whole[whole.rfind(b"\n", 0, -1) + 1 :])
        if row is None:
            raise WalletDamaged(
                f"{self.path}: its last line is no row of a wallet: somebody has changed it; compare it with a backup, "
                "then move it away, and it is written again"
            )
        self._seen, self._known = seen, (end, (row.seq, row.hash))
        return self._known

    @contextmanager
    def _open(self, flags: int) -> Iterator[int]:
        try:
            file = os.open(self.path, flags | os.O_CLOEXEC, 0o600)
            try:
                yield file
            finally:
                os.close(file)
        except OSError as error:
            raise WalletUnreadable(f"{self.path}: {error}") from error


def _version(file: int) -> tuple[int, ...]:
    """What changes when a file is replaced or written to, at whatever length."""
    now = os.fstat(file)
    return now.st_dev, now.st_ino, now.st_size, now.st_mtime_ns, now.st_ctime_ns


def _line(row: StoredRow) -> str:
    return f"{row.seq} {row.hash.hex()} {row.body}\n"


def _row(line: bytes) -> StoredRow | None:
    try:
        seq, digest, body = line.decode().rstrip("\n").split(" ", 2)
        return StoredRow(int(seq), body, bytes.fromhex(digest))
    except ValueError:
        return None
