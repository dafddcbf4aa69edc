"""Where a task's records are, a file or a database, read and checked in one way whichever it is."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

from clients.data import Table, check_frame
from clients.firm_config import TaskAtFirm
from clients.sql_settings import SqlTable
from clients.table_files import TableUnreadable, read_frame
from clients.tasks.spec import TaskSpec

Mark: TypeAlias = tuple[int, ...]
"""Of a file that has not been written since: inode, bytes, when its content and its inode changed last."""


@dataclass(frozen=True)
class FileSource:
    """Records in a table file."""

    path: Path

    @property
    def name(self) -> str:
        """What it is called in messages."""
        return str(self.path)

    def mark(self) -> Mark:
        """What changes when the file does.

        Raises:
            TableUnreadable: there is no such file.
        """
        try:
            found = self.path.stat()
        except OSError as error:
            raise TableUnreadable(f"{self.path}: cannot be read: {error.strerror}") from None
        return found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns

    def table(self, spec: TaskSpec, *, labelled: bool = True, alone: bool = True) -> Table:
        """Read and check it, see `clients.data.read_table`.

        Raises:
            TableUnreadable, TableInvalid: as there; or it is being written, and half of it might have been read.
        """
        before = self.mark()
        frame = read_frame(self.path)
        if self.mark() != before:
            raise TableUnreadable(
                f"{self.path}: it was written while it was read; write another file and rename it to this name"
            )
        return check_frame(frame, spec, self.name, labelled=labelled, alone=alone)


@dataclass(frozen=True)
class SqlSource:
    """Records that a query gives."""

    sql: SqlTable
    home: Path
    environ: Mapping[str, str]

    @property
    def name(self) -> str:
        """What it is called in messages: the database, without user and password."""
        return self.sql.location.partition("#")[0]

    def mark(self) -> None:
        """A database does not say whether a query's result has changed: it is asked each time."""

    def table(self, spec: TaskSpec, *, labelled: bool = True, alone: bool = True) -> Table:
        """Run the query and check its result.

        Raises:
            TableUnreadable, TableInvalid: see `clients.sql_tables.read_sql` and `clients.data.check_frame`.
        """
        from clients.sql_tables import read_sql

        read = read_sql(self.sql, self.home, self.environ)
        return check_frame(read.frame, spec, self.name, labelled=labelled, alone=alone, kinds=read.kinds)


def source_of(home: Path, settings: TaskAtFirm, environ: Mapping[str, str] = os.environ) -> FileSource | SqlSource:
    """The records of a task in a firm's home."""
    if settings.sql is not None:
        return SqlSource(settings.sql, home, environ)
    assert settings.data is not None
    return FileSource(home / settings.data)
