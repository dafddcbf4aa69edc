"""Disks that outlive a process, and the moments at which the process can die."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, NamedTuple


class Crash(BaseException):
    """The process dies here. Nothing catches it but the simulator."""


class EntryRow(NamedTuple):
    """As a row of the table of entries."""

    idx: int
    digest: bytes
    raw: bytes
    accepted_s: int
    crc32: int


@dataclass
class Tables:
    """What a database holds. Values are never changed in place, so that a shallow copy is a snapshot."""

    meta: dict[str, str] = field(default_factory=dict)
    rows: tuple[EntryRow, ...] = ()
    places: dict[bytes, int] = field(default_factory=dict)
    tiles: dict[tuple[int, int], bytes] = field(default_factory=dict)
    notes: dict[int, str] = field(default_factory=dict)
    lines: dict[tuple[int, str], str] = field(default_factory=dict)
    evidence: tuple[tuple[str, str, str, bytes], ...] = ()
    aside: tuple[EntryRow, ...] = ()
    snapshots: dict[int, tuple[bytes, bytes]] = field(default_factory=dict)
    audited: int = 0
    bodies: dict[bytes, bytes] = field(default_factory=dict)

    def copy(self) -> "Tables":
        own: dict[str, Any] = {
            name: dict(value) if isinstance(value, dict) else value for name, value in vars(self).items()
        }
        return Tables(**own)


class Disk:
    """What one database holds, whoever has it open.

    Attributes:
        tables: what has been committed.
        fuse: so many steps from now the process that uses the disk dies; None while it does not.
        doing: what the process is about, for the trace.
        died: where it died last: `<doing> <before, inside or after>` a transaction.
    """

    def __init__(self, tables: Tables | None = None) -> None:
        self.tables = tables or Tables()
        self.fuse: int | None = None
        self.doing = "start"
        self.died = ""

    def copy(self) -> "Disk":
        """What a backup of this moment holds."""
        return Disk(self.tables.copy())

    @property
    def is_blank(self) -> bool:
        """Whether no log was ever made on it."""
        return not self.tables.meta

    @property
    def size(self) -> int:
        """Number of entries."""
        return len(self.tables.rows)

    @property
    def accusations(self) -> list[str]:
        """The checkpoint notes that are kept as evidence against the log."""
        return [offered for _, _, offered, _ in self.tables.evidence]

    @contextmanager
    def writing(self) -> Iterator[None]:
        """The life of one transaction: a process can die before it, at its end, and when it is done."""
        self._step("before")
        yield
        self._step("inside")

    def written(self) -> None:
        """The transaction is committed, and nobody has been told."""
        self._step("after")

    def _step(self, moment: str) -> None:
        if self.fuse is None:
            return
        self.fuse -= 1
        if self.fuse < 0:
            self.fuse, self.died = None, f"{self.doing} {moment}"
            raise Crash(self.died)
