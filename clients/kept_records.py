"""Which records a stream of correlated noise began with: hashes, so that a table may grow while the stream goes on.

One file a task in the firm's home, mode 0600, `records-TASK`: a keyed hash of each record, 16 bytes, in the order in
which the first row of the stream read them; and no record. The key is the firm's secret of held-out units. It is
written with the first row and stays until the next stream begins.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path

import cbor2
import numpy as np
import pandas as pd
from numpy.typing import NDArray

from clients.data import Table
from clients.kept_sums import DealtOtherwise
from clients.private_file import PrivateFile

Records = NDArray[np.void]
"""void16[rows]: a hash of each record of a table."""
_HASH_BYTES = 16


class KeptRecords:
    """The records that a task's stream began with; in memory where there is no path."""

    def __init__(self, path: Path | None, secret: Callable[[], bytes]) -> None:
        self._file = PrivateFile(path)
        self._secret = secret

    def begin(self, stream: bytes, records: Records) -> None:
        """Remember the records that a stream begins with, in place of all others."""
        content = {"stream": stream, "records": self._keyed(records).tobytes()}
        self._file.write(cbor2.dumps(content, canonical=True))

    def order(self, stream: bytes, records: Records) -> NDArray[np.int64] | None:
        """Where in the table the stream's records are now, in their order of then; what has come since is left out.

        None where no records are kept of this stream: what it has kept else decides whether it can go on.

        Raises:
            DealtOtherwise: some of them are not there, or none are kept of this stream.
        """
        raw = self._file.read()
        kept = {"stream": b"", "records": b""} if raw is None else cbor2.loads(raw)
        if kept["stream"] != stream:
            return None
        wanted = np.frombuffer(kept["records"], dtype=f"V{_HASH_BYTES}")
        place = _numbered(self._keyed(records)).get_indexer(_numbered(wanted))
        gone = int((place < 0).sum())
        if gone:
            raise DealtOtherwise(
                f"stream: {gone} of {len(wanted)} records with which this stream of correlated noise began are no more "
                "in the table as they were, or the secret of held-out units has changed; put back what was there, or "
                "change and remove records between runs: the next one begins with the table as it is then"
            )
        return np.asarray(place, dtype=np.int64)

    def _keyed(self, records: Records) -> Records:
        key = self._secret()[:64]
        hashed = [hashlib.blake2b(one, digest_size=_HASH_BYTES, key=key).digest() for one in records.tolist()]
        return np.frombuffer(b"".join(hashed), dtype=records.dtype)


def records_of(table: Table) -> Records:
    """A hash of each record, by what the spec's columns say and nothing else."""
    if not table.rows:
        return np.empty(0, dtype=f"V{_HASH_BYTES}")
    columns = [_coded(table.columns[name]) for name in sorted(table.columns)]
    rows = np.ascontiguousarray(np.column_stack(columns)).view(f"V{8 * len(columns)}")[:, 0]
    hashed = [hashlib.blake2b(one, digest_size=_HASH_BYTES).digest() for one in rows.tolist()]
    return np.frombuffer(b"".join(hashed), dtype=f"V{_HASH_BYTES}")


def _coded(values: NDArray[np.generic]) -> NDArray[np.uint64]:
    plain = values.astype(object) if values.dtype.kind == "U" else values
    return np.asarray(pd.util.hash_array(plain), dtype=np.uint64)


def _numbered(records: Records) -> pd.MultiIndex:
    """The records, those that are alike told apart by counting them."""
    texts = pd.Series([one.hex() for one in records.tolist()], dtype=object)
    return pd.MultiIndex.from_arrays([texts, texts.groupby(texts).cumcount()])
