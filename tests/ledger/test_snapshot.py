"""Snapshots: equal after a round trip, one encoding, and worth nothing without their owner's seal."""

from dataclasses import replace
from pathlib import Path

import pytest
from consortium_simulator import ORIGIN, Consortium, key_of

from ledger.keys import SigningKey
from ledger.rules import State
from ledger.rules.persistent import Map
from ledger.snapshot import Snapshot, SnapshotError, decode_state, encode_state, newest_snapshot, put_snapshot
from ledger.store import Store

KEY = key_of("coordinator")


@pytest.fixture(scope="module")
def state() -> State:
    """One in which everything that a state can hold is there."""
    made = Consortium()
    made.task()
    _, model = made.train()
    made.append("cap", "firm-0", org="firm-0", task="credit", rdp_cap=[9 * 10**12, 8], delta=10)
    made.append("consent", "firm-0", firm="firm-0", bank="bank-0", purpose="score", until=2_000_000_000)
    query = {"bank": "bank-0", "purpose": "score", "subject": made.hash(), "answer": made.hash(), "model": model}
    made.append("query", "bank-0", **query)
    made.append("encryption_key", "firm-1", key=bytes(1216))
    for purpose in ("masking", "other"):
        made.append("epoch_key", "firm-1", purpose=purpose, epoch=3, key=bytes(1216))
    second = made.round(parent=model)
    made.contribute(second, "firm-0")
    made.append("revoke", model=model, reason="drift")
    return made.log.state


def test_a_state_is_equal_after_a_round_trip(state: State) -> None:
    assert all(
        getattr(state, name) for name in ("rounds", "releases", "caps", "spent", "consents", "queries", "epoch_keys")
    )
    again = decode_state(encode_state(state))
    assert again == state
    assert encode_state(again) == encode_state(state)
    assert decode_state(encode_state(State("c"))) == State("c")


def test_one_state_has_one_encoding(state: State) -> None:
    """Whatever the order in which its maps were filled."""
    members: Map[str, object] = Map()
    for name, member in sorted(state.members.items(), reverse=True):
        members = members.set(name, member)
    assert encode_state(replace(state, members=members)) == encode_state(state)  # type: ignore[arg-type]


def test_what_is_not_a_state_is_refused(state: State) -> None:
    raw = encode_state(state)
    for wrong in (b"", raw[:-1], raw[1:], b"\x01", b"\xda\x41\x52\x54\xff\x80", b"\xda\x41\x52\x54\x05\x80"):
        with pytest.raises(SnapshotError):
            decode_state(wrong)
    with pytest.raises(TypeError, match="a state holds a object"):
        encode_state(replace(state, cid=object()))  # type: ignore[arg-type]


@pytest.fixture
def store(tmp_path: Path) -> Store:
    store = Store(tmp_path / "some.db")
    store.create({})
    return store


def test_only_the_owners_seal_counts(store: Store, state: State) -> None:
    snapshot = Snapshot(ORIGIN, bytes(32), state, [1, ["a"], b"b"])
    put_snapshot(store, snapshot, KEY)
    assert newest_snapshot(store, ORIGIN, KEY.public) == snapshot
    assert newest_snapshot(store, ORIGIN, SigningKey.generate().public) is None
    assert newest_snapshot(store, "other.example", KEY.public) is None
    assert newest_snapshot(store, ORIGIN, None) is None
    store.close()


def test_a_checksum_is_no_seal_for_an_owner_with_a_key(store: Store, state: State) -> None:
    snapshot = Snapshot(ORIGIN, bytes(32), state)
    put_snapshot(store, snapshot, None)
    assert newest_snapshot(store, ORIGIN, None) == snapshot
    assert newest_snapshot(store, ORIGIN, KEY.public) is None
    store.close()


def test_an_altered_snapshot_gives_way_to_the_one_before(store: Store, state: State) -> None:
    older = Snapshot(ORIGIN, bytes(32), replace(state, size=5))
    for kept in (replace(older, state=replace(state, size=4)), older, Snapshot(ORIGIN, bytes(32), state)):
        put_snapshot(store, kept, KEY)
    assert [size for size, _, _ in store.snapshots()] == [state.size, 5]
    with store.write() as transaction:
        transaction.put_snapshot(state.size, b"altered", KEY.sign(b"something else"))
    assert newest_snapshot(store, ORIGIN, KEY.public) == older
    store.close()
