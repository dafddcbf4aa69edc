"""Put many callers' statements or cosignatures on the log at once, so that a bad one is refused alone."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TypeAlias

from ledger.errors import LedgerError, StoreError
from ledger.log import Log
from ledger.rules import Refused, admit
from ledger.statement import Statement


@dataclass(frozen=True)
class Accepted:
    """A statement has its place, durably.

    Attributes:
        digest: the statement's, 32 bytes.
        index: its place.
        accepted_s: when it was first accepted, in seconds since the epoch.
    """

    digest: bytes
    index: int
    accepted_s: int


Outcome: TypeAlias = Accepted | Refused
"""Of one statement."""


def append_each(log: Log, statements: Sequence[Statement]) -> list[Outcome]:
    """Append what the rules allow, in one transaction wherever possible; return each statement's outcome.

    The outcome is as if the statements had been appended one by one in their order.

    Raises:
        StoreError: nothing was written.
    """
    size = log.size
    try:
        places = log.append([statement.raw for statement in statements])
    except Refused:
        refusals = _judge(log, statements)
    else:
        return list(_accepted(log, statements, places, size))
    good = [statement for statement, refusal in zip(statements, refusals, strict=True) if refusal is None]
    try:
        accepted = _accepted(log, good, log.append([statement.raw for statement in good]), size)
    except Refused:  # a rule that only the log itself can judge
        return [_append_one(log, statement) for statement in statements]
    return [refusal or next(accepted) for refusal in refusals]


def cosign_each(log: Log, asked: Sequence[tuple[Sequence[str], int]]) -> list[bool | LedgerError]:
    """Keep many callers' `(lines, size)`, those of one checkpoint in one transaction; return each caller's outcome."""
    by_size: dict[int, list[int]] = {}
    for number, (_, size) in enumerate(asked):
        by_size.setdefault(size, []).append(number)
    outcomes: dict[int, bool | LedgerError] = {}
    for size, numbers in by_size.items():
        outcome = _cosign(log, [line for number in numbers for line in asked[number][0]], size)
        for number in numbers:
            alone = isinstance(outcome, bool | StoreError) or len(numbers) == 1
            outcomes[number] = outcome if alone else _cosign(log, asked[number][0], size)
    return [outcomes[number] for number in range(len(asked))]


def _judge(log: Log, statements: Sequence[Statement]) -> list[Refused | None]:
    """What the rules say of each, without writing anything."""
    state, seen, outcomes = log.state, set[bytes](), list[Refused | None]()
    for statement in statements:
        refused = None
        if statement.digest not in seen and log.index_of(statement.digest) is None:
            try:
                state = admit(state, statement, state.size)
            except Refused as error:
                refused = error
            else:
                seen.add(statement.digest)
        outcomes.append(refused)
    return outcomes


def _append_one(log: Log, statement: Statement) -> Outcome:
    size = log.size
    try:
        places = log.append([statement.raw])
    except Refused as error:
        return error
    return next(_accepted(log, [statement], places, size))


def _accepted(log: Log, statements: Sequence[Statement], places: Sequence[int], size: int) -> Iterator[Accepted]:
    """Outcomes of an append to a log that had `size` entries; it took all that are new in the same moment."""
    new_s = log.accepted_s(size) if log.size > size else 0
    for statement, index in zip(statements, places, strict=True):
        yield Accepted(statement.digest, index, new_s if index >= size else log.accepted_s(index))


def _cosign(log: Log, lines: Sequence[str], size: int) -> bool | LedgerError:
    try:
        return log.add_cosignatures(lines, size)
    except LedgerError as error:
        return error
