"""The tables of a stored log, and the check sums of what no hash of the tree covers."""

import zlib
from collections.abc import Mapping
from typing import Any

import cbor2
import sqlalchemy as sa

SCHEMA_VERSION = "3"

metadata = sa.MetaData()
_INDEX = sa.BigInteger().with_variant(sa.Integer, "sqlite")  # SQLite keeps rows by it, without a second index
META = sa.Table(
    "meta",
    metadata,
    sa.Column("key", sa.Text, primary_key=True),
    sa.Column("value", sa.Text, nullable=False),
    sa.Column("crc32", sa.BigInteger, nullable=False),
    sqlite_with_rowid=False,
)
ENTRIES = sa.Table(
    "entries",
    metadata,
    sa.Column("idx", _INDEX, primary_key=True, autoincrement=False),
    sa.Column("digest", sa.LargeBinary(32), nullable=False, unique=True),
    sa.Column("raw", sa.LargeBinary, nullable=False),
    sa.Column("accepted_s", sa.BigInteger, nullable=False),
    sa.Column("crc32", sa.BigInteger, nullable=False),
)
TILES = sa.Table(
    "tiles",
    metadata,
    sa.Column("level", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("idx", sa.BigInteger, primary_key=True, autoincrement=False),
    sa.Column("hashes", sa.LargeBinary(8192), nullable=False),
)
CHECKPOINTS = sa.Table(
    "checkpoints",
    metadata,
    sa.Column("size", _INDEX, primary_key=True, autoincrement=False),
    sa.Column("note", sa.Text, nullable=False),
    sa.Column("crc32", sa.BigInteger, nullable=False),
)
COSIGNATURES = sa.Table(
    "cosignatures",
    metadata,
    sa.Column("size", sa.BigInteger, primary_key=True, autoincrement=False),
    sa.Column("name", sa.Text, primary_key=True),
    sa.Column("line", sa.Text, nullable=False),
    sa.Column("crc32", sa.BigInteger, nullable=False),
    sqlite_with_rowid=False,
)
EVIDENCE = sa.Table(
    "evidence",
    metadata,
    sa.Column("number", sa.Integer, primary_key=True),
    sa.Column("kind", sa.Text, nullable=False),
    sa.Column("known", sa.Text, nullable=False),
    sa.Column("offered", sa.Text, nullable=False),
    sa.Column("raw", sa.LargeBinary, nullable=False),
    sa.Column("crc32", sa.BigInteger, nullable=False),
)
SET_ASIDE = sa.Table(
    "set_aside",
    metadata,
    sa.Column("number", sa.Integer, primary_key=True),
    sa.Column("idx", sa.BigInteger, nullable=False),
    sa.Column("digest", sa.LargeBinary(32), nullable=False),
    sa.Column("raw", sa.LargeBinary, nullable=False),
    sa.Column("crc32", sa.BigInteger, nullable=False),
)
SNAPSHOTS = sa.Table(
    "snapshots",
    metadata,
    sa.Column("size", _INDEX, primary_key=True, autoincrement=False),
    sa.Column("content", sa.LargeBinary, nullable=False),
    sa.Column("seal", sa.LargeBinary, nullable=False),
)
AUDITS = sa.Table(
    "audits",
    metadata,
    sa.Column("entries", _INDEX, primary_key=True, autoincrement=False),
    sa.Column("crc32", sa.BigInteger, nullable=False),
)
BODIES = sa.Table(
    "bodies",
    metadata,
    sa.Column("digest", sa.LargeBinary(32), primary_key=True),
    sa.Column("envelope", sa.LargeBinary, nullable=False),
    sa.Column("owner", sa.Text, nullable=False),
    sa.Column("crc32", sa.BigInteger, nullable=False),
)
CHECKED: Mapping[sa.Table, tuple[str, ...]] = {
    META: ("key", "value"),
    ENTRIES: ("idx", "accepted_s"),
    CHECKPOINTS: ("size", "note"),
    COSIGNATURES: ("size", "name", "line"),
    EVIDENCE: ("number", "kind", "known", "offered", "raw"),
    SET_ASIDE: ("number", "idx", "digest", "raw"),
    AUDITS: ("entries",),
    BODIES: ("digest", "envelope", "owner"),
}
"""The columns that a row's CRC-32 is over: against bit rot; the tree and signatures hold against people."""
_TYPES: Mapping[sa.Table, list[type]] = {
    table: [table.c[column].type.python_type for column in columns] for table, columns in CHECKED.items()
}


def row_crc32(*values: Any) -> int:
    """The CRC-32 of a row's values in the order of `CHECKED`."""
    return zlib.crc32(cbor2.dumps(values))


def checked(table: sa.Table, **values: Any) -> dict[str, Any]:
    """A row to insert into `table`, with its check sum."""
    return {**values, "crc32": row_crc32(*(values[column] for column in CHECKED[table]))}


def is_intact(table: sa.Table, row: Any) -> bool:
    """Whether a row of `table`, with all columns of its check sum, is as it was written: also each of its type.

    SQLite keeps values of any type in any column, and a stranger's file may have a fitting check sum.
    """
    values = [getattr(row, column) for column in CHECKED[table]]
    return [type(value) for value in values] == _TYPES[table] and bool(row.crc32 == row_crc32(*values))
