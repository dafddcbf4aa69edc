"""What a program may do with its consortium's ledger, be it opened in this process or served by another."""

from collections.abc import Sequence
from typing import Protocol

from ledger.rules import State


class OpenLedger(Protocol):
    """`ledger.log.Log` and `ledger.service.served.ServedLedger` are such.

    One thread at a time may append to a `Log`; a served ledger may be used by several.
    """

    @property
    def cid(self) -> str:
        """The consortium's id."""
        ...

    @property
    def size(self) -> int:
        """Number of entries known here; what this program has appended is among them."""
        ...

    @property
    def state(self) -> State:
        """What the rules make of those entries. Immutable."""
        ...

    @property
    def final_size(self) -> int:
        """How many of them are final."""
        ...

    def final(self) -> str | None:
        """The largest checkpoint that a quorum cosigned, with its cosignatures; None if there is none."""
        ...

    def entries(self, start: int, end: int) -> list[bytes]:
        """Entries `start` to `end - 1` as they were appended; raises NoSuchEntry."""
        ...

    def index_of(self, digest: bytes) -> int | None:
        """The place of the statement with this digest, or None."""
        ...

    def receipt(self, index: int) -> bytes:
        """Proof, checkable offline, that entry `index` is on the ledger and final; raises NotFinal."""
        ...

    def append(self, statements: Sequence[bytes]) -> list[int]:
        """Put statements on the ledger and return their places; one that is there already keeps its place.

        Raises:
            StatementError: one cannot be read.
            Refused: one breaks a rule. None of them is there, unless others wrote at the same moment.
            LedgerError: the ledger cannot be used or reached; what was not acknowledged may be submitted again.
        """
        ...

    def close(self) -> None:
        """Give it back. It must not be used afterwards."""
        ...
