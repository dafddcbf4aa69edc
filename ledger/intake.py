"""New entries on their way into a mirror: read, held against the rules and put into the tree, a chunk at a time."""

import hashlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import islice
from typing import Any

from ledger.electorate import Electorate
from ledger.errors import LedgerError
from ledger.keys import PublicKey
from ledger.merkle import leaf_hash
from ledger.replay import Replayed, step
from ledger.rules import Refused, State, approval_bytes
from ledger.source import Source, WitnessRefusal
from ledger.statement import NewerRecord, Statement, StatementError, decode_statement
from ledger.transaction import Transaction

_CHUNK = 1024
_MAX_BEFORE_BYTES = 1 << 20


class Forbidden(LedgerError):
    """One of the new entries may not stand on a ledger.

    Attributes:
        reason: what forbids it.
        index: its place.
        entry: its bytes.
        leaves: leaf hashes of all the new entries, the forbidden one and those after it too.
        before: the new entries before it; empty if they are many.
    """

    exit_code = 1

    def __init__(self, reason: LedgerError, index: int, entry: bytes, leaves: list[bytes], before: list[bytes]) -> None:
        super().__init__(str(reason))
        self.reason = reason
        self.index = index
        self.entry = entry
        self.leaves = leaves
        self.before = before


@dataclass
class Intake:
    """Where a mirror would stand with the entries taken so far.

    Attributes:
        at: state and tree after them.
        electorate: whose quorum makes a checkpoint over them final.
        changes: the states after those entries that changed the electorate.
        handovers: by index, the digest of what their approvals sign.
        founders: the founding entries so far, while the founding is not complete before the first of them.
        founded_by: the log's key that entry 0 names, if it is among them.
        accepted_s: written beside the entries: when a log takes them over, in seconds since the epoch; 0 in a mirror.
    """

    at: Replayed
    electorate: Electorate
    changes: list[State] = field(default_factory=list)
    handovers: dict[int, bytes] = field(default_factory=dict)
    founders: list[bytes] = field(default_factory=list)
    founded_by: PublicKey | None = None
    accepted_s: int = 0

    def take(self, entries: Iterable[bytes], transaction: Transaction) -> None:
        """Check every entry, and write them all.

        Raises:
            Forbidden: one breaks a rule, is not signed by its issuer or cannot be read.
            WitnessRefusal: one is of a version that a newer release judges; that accuses nobody.
        """
        rest, leaves = iter(entries), list[bytes]()
        while chunk := list(islice(rest, _CHUNK)):
            rows, tiles = [], []
            for number, raw in enumerate(chunk):
                index = self.at.state.size
                try:
                    statement = decode_statement(raw)
                    after, full = step(self.at, statement, verify=True)
                except NewerRecord as error:
                    raise WitnessRefusal(f"entry {index} cannot be judged: {error}; nothing is cosigned") from None
                except (Refused, StatementError) as error:
                    others = [*chunk[number:], *rest]
                    before = chunk[:number] if len(leaves) == number else []
                    before = before if sum(map(len, before)) <= _MAX_BEFORE_BYTES else []
                    leaves += [leaf_hash(other) for other in others]
                    raise Forbidden(error, index, raw, leaves, before) from None
                leaves.append(leaf_hash(raw))
                self._note(statement, index)
                if index == 0 and after.state.log is not None:
                    self.founded_by = after.state.log.key
                electorate = self.electorate.after(after.state)
                if electorate.memberships is not self.electorate.memberships:
                    self.changes.append(after.state)
                self.at, self.electorate = after, electorate
                rows.append((index, statement.digest, raw))
                tiles += full
            transaction.put_entries(rows, tiles, self.accepted_s)

    def _note(self, statement: Statement, index: int) -> None:
        if statement.payload["t"] == "handover":
            self.handovers[index] = approved_digest(statement.payload)
        if self.at.state.founding:
            self.founders.append(statement.raw)


def approved_digest(payload: Mapping[str, Any]) -> bytes:
    """SHA-256 of what the approvals of a record sign: it names the record before and after it is approved."""
    return hashlib.sha256(approval_bytes(payload)).digest()


def stream(source: Source, start: int, end: int) -> Iterator[bytes]:
    """Entries `start` to `end - 1` of a source, fetched a chunk at a time.

    Raises:
        WitnessRefusal: the source did not give as many as were asked for.
    """
    for first in range(start, end, _CHUNK):
        last = min(first + _CHUNK, end)
        chunk = source.entries(first, last)
        if len(chunk) != last - first:
            raise WitnessRefusal(f"{len(chunk)} entries came for entries {first} to {last - 1}; ask another source")
        yield from chunk
