"""The set of record ids: small, immutable, and the same whatever order it grew in."""

import hashlib
import tracemalloc
from functools import reduce

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ledger.rules.ids import Ids

ANY = st.binary(min_size=16, max_size=16)
CROWDED = st.integers(0, 255).map(lambda number: bytes(15) + bytes([number]))  # all in one leaf, until it splits
REPETITIVE = st.lists(st.sampled_from([b"\0", b"\1"]), min_size=16, max_size=16).map(b"".join)


def grown(ids: list[bytes]) -> Ids:
    return reduce(lambda known, one: known.add(one), ids, Ids())


@settings(max_examples=60, deadline=None)
@given(st.lists(ANY | CROWDED | REPETITIVE, max_size=300), st.lists(ANY | CROWDED | REPETITIVE, max_size=20))
def test_it_is_a_set(ids: list[bytes], others: list[bytes]) -> None:
    known = grown(ids)
    assert list(known) == sorted(set(ids))
    assert len(known) == len(set(ids))
    for one in [*ids, *others]:
        assert (one in known) == (one in set(ids))
    assert known == grown(ids[::-1])
    assert Ids.of(known.blob()) == known


def test_adding_leaves_the_earlier_set_whole() -> None:
    ids = [bytes(15) + bytes([number]) for number in range(200)]
    sets = [Ids()]
    for one in ids:
        sets.append(sets[-1].add(one))
    for size, known in enumerate(sets):
        assert list(known) == ids[:size]
    assert sets[-1].add(ids[0]) is sets[-1]


def test_an_id_across_two_others_is_none_of_them() -> None:
    first, second = b"a" * 8 + b"b" * 8, b"b" * 8 + b"c" * 8
    known = Ids().add(first).add(second)
    assert b"b" * 16 not in known
    assert b"b" * 8 + b"c" * 8 in known


@pytest.mark.parametrize("blob", [bytes(15), bytes(32), b"b" * 16 + b"a" * 16])
def test_only_a_sets_own_bytes_are_read(blob: bytes) -> None:
    with pytest.raises(ValueError, match="ids"):
        Ids.of(blob)


def test_only_ids_are_added() -> None:
    with pytest.raises(ValueError, match="16 bytes"):
        Ids().add(bytes(15))


def test_a_million_ids_take_under_forty_megabytes() -> None:
    """From a tenth of them: at 100,000 the leaves are as full as at 1,000,000 within a factor of four either way."""
    some = hashlib.shake_128(b"ids").digest(16 * 100_000)
    blob = b"".join(sorted(some[place : place + 16] for place in range(0, len(some), 16)))
    tracemalloc.start()
    try:
        known = Ids.of(blob)
        used, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert len(known) == 100_000
    assert used < 4_000_000
