"""What binds the openings of several groups: of exactly so many, in hashes, and nothing else."""

from __future__ import annotations

from typing import Any

import pytest

from clients.masking import wire
from clients.masking.errors import MalformedMessage
from server.aggregation.group_sums import Evidence
from server.artifacts import ArtifactStore
from server.opening_record import Opening, load_opening, store_opening

HASH = bytes(range(32))


def test_one_group_is_bound_by_its_unmasking_record_alone() -> None:
    store = ArtifactStore(None)
    unmask = store_opening(store, [b"seeds"], Evidence())
    assert store.get(unmask) == b"seeds"
    assert load_opening(store, unmask, 1) == Opening((unmask,))


def test_several_are_read_back_with_what_the_rules_took() -> None:
    store = ArtifactStore(None)
    unmask = store_opening(store, [b"one", b"two"], Evidence(b"root", {"firm-1": b"vote"}))
    opening = load_opening(store, unmask, 2)
    assert [store.get(name) for name in (*opening.unmaskings, *opening.beside)] == [b"one", b"two", b"root", b"vote"]
    assert Opening.from_bytes(opening.to_bytes()) == opening
    with pytest.raises(MalformedMessage, match="of 2 groups, the plan asks for 3"):
        load_opening(store, unmask, 3)


@pytest.mark.parametrize(
    "changes",
    [
        {"unmaskings": [HASH, b"short"]},
        {"unmaskings": [HASH, "text"]},
        {"root": b"short"},
        {"votes": {"firm-1": b"short"}},
        {"votes": {1: HASH}},
        {"more": b""},
    ],
    ids=str,
)
def test_what_is_no_such_record(changes: dict[str, Any]) -> None:
    fields = {"unmaskings": [HASH, HASH], "root": HASH, "votes": {"firm-1": HASH}}
    Opening.from_bytes(wire.encode(fields))
    with pytest.raises(MalformedMessage):
        Opening.from_bytes(wire.encode({**fields, **changes}))
