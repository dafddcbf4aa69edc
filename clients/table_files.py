"""Files as tables of text: CSV, ARFF and Parquet, so that one set of rules checks every format."""

from __future__ import annotations

import gzip
import io
import zlib
from collections.abc import Sequence
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from clients.errors import ClientError

READABLE = (".csv", ".csv.gz", ".arff", ".arff.gz", ".parquet")
_LARGEST_EXACT = 2**53


class TableUnreadable(ClientError):
    """A file that cannot be read as a table."""


def read_frame(path: Path) -> pd.DataFrame:
    """Read a file as a table of strings (missing cells are "", whole numbers have no decimal point).

    Raises:
        TableUnreadable: no such file, an unknown kind of file, or damaged content.
    """
    name = path.name.lower()
    if not name.endswith(READABLE):
        raise TableUnreadable(f"{path}: not one of {', '.join(READABLE)}")
    try:
        if name.endswith(".parquet"):
            frame = _typed(pd.read_parquet(path))
        else:
            raw = path.read_bytes()
            text = (gzip.decompress(raw) if name.endswith(".gz") else raw).decode("utf-8-sig")
            frame = _read_arff(text) if name.removesuffix(".gz").endswith(".arff") else _read_csv(text)
    except OSError as error:
        raise TableUnreadable(f"{path}: cannot be read: {_first_line(error.strerror or error)}") from error
    except (ValueError, EOFError, LookupError, NotImplementedError, StopIteration, TypeError, zlib.error) as error:
        reason = _first_line(error) or type(error).__name__
        raise TableUnreadable(f"{path}: damaged or not a table: {reason}") from error
    if not frame.columns.is_unique:
        twice = str(frame.columns[frame.columns.duplicated()][0])
        raise TableUnreadable(f"{path}: the column {twice!r} is there twice")
    return frame


def _first_line(reason: object) -> str:
    return (str(reason).splitlines() or [""])[0]


def _read_csv(text: str) -> pd.DataFrame:
    # The header is read as a row: pandas renames columns named twice, and takes a surplus field for row names.
    frame = pd.read_csv(io.StringIO(text), dtype=str, keep_default_na=False, header=None).fillna("").astype(object)
    names = [str(name).strip() for name in frame.iloc[0]]
    return frame.iloc[1:].set_axis(names, axis="columns").reset_index(drop=True)


def _read_arff(text: str) -> pd.DataFrame:
    from scipy.io import arff

    records, _ = arff.loadarff(io.StringIO(text))
    out = {}
    for name in records.dtype.names:
        values = records[name]
        if values.dtype.kind == "S":
            decoded = np.char.decode(values, "utf-8").astype(object)
            out[name] = np.where(decoded == "?", "", decoded)
        else:
            out[name] = spelled(values.tolist())
    return pd.DataFrame(out)


def _typed(frame: pd.DataFrame) -> pd.DataFrame:
    columns = [spelled(frame.iloc[:, place].to_numpy(dtype=object).tolist()) for place in range(frame.shape[1])]
    names = [str(name) for name in frame.columns]
    return pd.DataFrame(dict(enumerate(columns))).set_axis(names, axis="columns")


def spelled(values: Sequence[Any]) -> NDArray[Any]:
    """object[n]: typed cells as a CSV would have them, "" for a missing one."""
    kinds = set(map(type, values))
    if kinds <= {str}:
        cells = list(values)
    elif kinds <= {int}:
        cells = list(map(str, values))
    else:
        cells = [_spell(value) for value in values]
    out = np.empty(len(cells), dtype=object)
    out[:] = cells
    return out


def _spell(value: object) -> str:
    if value is None or value is pd.NA or value != value:
        return ""
    if isinstance(value, Decimal):
        return format(value.to_integral_value() if value == value.to_integral_value() else value, "f")
    if isinstance(value, float) and value.is_integer() and abs(value) < _LARGEST_EXACT:
        return str(int(value))
    return value.decode("utf-8") if isinstance(value, bytes) else str(value)
