"""The clipped sums that a firm keeps while its noise is correlated over rounds: bare, so private, and not for long.

One file a task in the firm's home, mode 0600, written whole or not at all, before its round is paid for: so what is
paid for is kept. It holds as many sums as the next row needs and as the same row needs once more, for a firm that is
killed before it pays computes that row again. It is destroyed with the last row of its run or the first round of
another.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import cbor2
import numpy as np
from numpy.typing import NDArray

from clients.errors import ClientError
from clients.private_file import PrivateFile

Vector = NDArray[np.float64]


class StreamBroken(ClientError):
    """A row of correlated noise that does not follow on what this firm has kept."""

    exit_code = 1


class DealtOtherwise(StreamBroken):
    """The firm's table, or the secret by which its units are dealt, is not that of the row before.

    A unit could then be in one part in the row before and in another in this one, and move the row by more than is
    paid for. That a table has changed is the firm's own affair: `clients.disclosure` does not tell it.
    """


class KeptSums:
    """A firm's kept sums of one task; in memory where there is no path."""

    def __init__(self, path: Path | None) -> None:
        self._file = PrivateFile(path)

    def before(self, stream: bytes, row: int, offer: bytes, deal: bytes) -> list[Vector]:
        """The sums of the rows before `row`, newest first.

        A row that is kept already is only computed again for the very round that it was kept for; whether that round
        is paid for, and so may not be, is the wallet's to say.

        Args:
            stream: 32 bytes that name the run's stream: of its terms, its firms and its first round.
            offer: the hash of the round's statement, 32 bytes.
            deal: 32 bytes that name how the firm's units are dealt into parts, see `clients.held_out.deal`.

        Raises:
            StreamBroken: the row before is not the last that was kept of this stream.
            DealtOtherwise: units were dealt otherwise in it.
        """
        if row == 0:
            return []
        kept = self._read()
        again = kept is not None and (kept["row"], kept.get("offer")) == (row, offer)
        if kept is None or kept["stream"] != stream or not (again or kept["row"] == row - 1):
            raise StreamBroken(f"stream: this firm has not kept row {row - 1} of the correlated noise; begin a new one")
        if kept.get("deal") != deal:
            raise DealtOtherwise(
                "stream: the table or the secret of held-out units has changed since the row before, so its kept sums "
                "are of no more use; the next stream begins with the table as it is now"
            )
        return [np.frombuffer(raw, dtype=np.float64) for raw in kept["sums"][again:]]

    def keep(self, stream: bytes, row: int, offer: bytes, deal: bytes, sums: list[Vector]) -> None:
        """Keep these sums, newest first, in place of all others: that of `row`, and of the rows before it."""
        raws = [np.ascontiguousarray(one, dtype=np.float64).tobytes() for one in sums]
        content = {"stream": stream, "row": row, "offer": offer, "deal": deal, "sums": raws}
        self._file.write(cbor2.dumps(content, canonical=True))

    def destroy(self) -> None:
        """Forget them all."""
        self._file.destroy()

    def _read(self) -> dict[str, Any] | None:
        raw = self._file.read()
        return None if raw is None else dict(cbor2.loads(raw))
