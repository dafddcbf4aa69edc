"""Who belonged when: every membership that a ledger has had, and the policy to which receipts of its time are held.

Only the entries that change members or keys are decoded and replayed: it costs little more than reading the ledger.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import TypeAlias

from ledger.electorate import Electorate, Membership
from ledger.encoding import encode
from ledger.note import Vkey
from ledger.policy import Policy
from ledger.rules import MEMBERSHIP, apply, initial
from ledger.statement import decode_statement

_CHUNK = 4096
_MARKS = tuple(encode({"t": name})[1:] for name in sorted(MEMBERSHIP))
"""How the type of such a record stands among its bytes: deterministic CBOR has one way to write it."""

Read: TypeAlias = Callable[[int, int], Sequence[bytes]]
"""Entries from one place up to another, of a ledger that was checked."""


def memberships(read: Read, size: int, cid: str, origin: str) -> tuple[Membership, ...]:
    """The memberships that the first `size` entries have made since the founding was complete, oldest first.

    Args:
        read: the entries; they are taken as checked, and so are the signatures on them.
        cid: the consortium's id.
        origin: the log's name.

    Raises:
        Refused, StatementError: an entry cannot have been accepted.
    """
    state, electorate = initial(cid), Electorate(origin)
    for first in range(0, size, _CHUNK):
        for index, raw in enumerate(read(first, min(first + _CHUNK, size)), start=first):
            if any(mark in raw for mark in _MARKS):
                statement = decode_statement(raw)
                if statement.payload["t"] in MEMBERSHIP:
                    state = apply(replace(state, size=index), statement, index)  # the others change none of this
                    electorate = electorate.after(state)
    return electorate.memberships


def policies(held: Sequence[Membership], origin: str) -> Mapping[int, Policy]:
    """The policy of each membership, by the number of entries from which on it holds, oldest first.

    In each the log's earlier keys stand after the one of its time, the newest first.
    """
    found: dict[int, Policy] = {}
    logs: tuple[Vkey, ...] = ()
    for one in held:
        policy = one.policy(origin)
        logs = (*policy.logs, *(vkey for vkey in logs if vkey not in policy.logs))
        found[one.since] = replace(policy, logs=logs)
    return found
