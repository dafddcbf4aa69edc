"""Where a mirror reads a log, and how it refuses what it read."""

from collections.abc import Iterator
from typing import Protocol

from ledger.errors import LedgerError


class Source(Protocol):
    """A log to follow: a `ledger.log.Log`, a client of one, another member's mirror, or an exported directory.

    Nothing that it says is believed: a mirror checks all of it.
    """

    def checkpoint(self) -> str:
        """The newest checkpoint that the log signed; cosignatures may stand on it."""
        ...

    def final(self) -> str | None:
        """The largest checkpoint known to be final, with its cosignatures."""
        ...

    def entries(self, start: int, end: int) -> list[bytes]:
        """Entries `start` to `end - 1`."""
        ...

    def consistency(self, old: int, new: int) -> list[bytes]:
        """Proof that the tree of `new` entries extends that of `old`; empty when `old` is 0."""
        ...


class Copy(Source, Protocol):
    """A source that has older checkpoints too: another member's mirror, an exported directory, the service."""

    def notes(self, start: int = 0) -> Iterator[str]:
        """Its checkpoints over at least `start` entries with the cosignatures that it knows, smallest first."""
        ...


class WitnessRefusal(LedgerError):
    """The mirror does not take this, and its witness does not cosign; nothing in it has changed."""

    exit_code = 1


class Rollback(WitnessRefusal):
    """An older checkpoint of the very history that is mirrored: a log that went back, a short copy or a late message.

    The log did sign it once, so it accuses nobody. A log that goes on from there makes a fork, which is proved.

    Attributes:
        known: the mirror's newest checkpoint.
        offered: the older one.
    """

    def __init__(self, known: str, offered: str, detail: str) -> None:
        super().__init__(f"rollback: {detail}; ask a source that has all of it")
        self.known = known
        self.offered = offered


class Misbehaviour(WitnessRefusal):
    """The log signed what an honest log does not sign. What shows it is kept.

    Attributes:
        kind: `fork` or `rules`.
        known: the mirror's newest checkpoint (empty before the first).
        offered: the checkpoint that was refused.
        evidence: the file that shows it to others; `ledger.evidence.verify_evidence` reads it.
    """

    def __init__(self, kind: str, known: str, offered: str, detail: str, evidence: bytes) -> None:
        super().__init__(f"{kind}: {detail}; the evidence is kept, show it to the other members")
        self.kind = kind
        self.known = known
        self.offered = offered
        self.evidence = evidence
