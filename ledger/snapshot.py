"""The state after so many entries, kept beside them and sealed, so that a start replays only what came after it.

A snapshot follows from the entries and can always be made again. It is trusted only under its owner's seal: a
signature by the key of the log or of the mirror's member. A mirror without a key has a checksum instead.
"""

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from functools import cache
from operator import attrgetter
from typing import Any

import cbor2

from ledger.errors import LedgerError
from ledger.keys import BadSignature, KeyFileError, PublicKey, SigningKey
from ledger.rules import Cap, Contribution, EpochKey, LogKey, Member, Phase, Release, Round, State, Task, Terms
from ledger.rules.ids import Ids
from ledger.rules.persistent import Map
from ledger.store import Store

_VERSION = 2
_CONTEXT = b"artesian/snapshot/v1\x00"  # no checkpoint and no COSE message has such a start
_CLASSES: tuple[type, ...] = (State, LogKey, Terms, Member, Task, Round, Contribution, Release, Cap, EpochKey)
_TAG = 0x41525400  # first come, first served, unassigned; a snapshot is read by no other program
_MAP, _IDS, _KEY, _PHASE, _SET, _FIELDS = (_TAG + place for place in range(6))


class SnapshotError(LedgerError):
    """The bytes are not a state that this version has written."""

    exit_code = 1


@dataclass(frozen=True)
class Snapshot:
    """Where a ledger stood.

    Attributes:
        origin: the log's name.
        root: 32 bytes, root over the first `state.size` entries.
        state: what the rules make of them.
        notes: what the owner keeps with it; canonical CBOR values.
    """

    origin: str
    root: bytes
    state: State
    notes: Any = None

    def to_bytes(self) -> bytes:
        """Deterministic CBOR."""
        return cbor2.dumps([_VERSION, _shape(), self.origin, self.root, encode_state(self.state), self.notes])

    @classmethod
    def from_bytes(cls, raw: bytes) -> "Snapshot":
        """Raise `SnapshotError` unless `raw` is a snapshot of this version."""
        try:
            match cbor2.loads(raw):
                case [2, shape, str() as origin, bytes() as root, bytes() as state, notes] if shape == _shape():
                    return cls(origin, root, decode_state(state), notes)
        except SnapshotError:
            raise
        except Exception as error:  # cbor2 lets through what its semantic decoders raise
            raise SnapshotError(f"the snapshot cannot be read: {type(error).__name__}") from None
        raise SnapshotError("the snapshot is of another version")


def put_snapshot(store: Store, snapshot: Snapshot, key: SigningKey | None) -> None:
    """Keep a snapshot in `store` under the seal of `key`, durably.

    Raises:
        StoreError: nothing was written.
    """
    content = snapshot.to_bytes()
    message = _CONTEXT + hashlib.sha256(content).digest()
    seal = hashlib.sha256(message).digest() if key is None else key.sign(message)
    with store.write() as transaction:
        transaction.put_snapshot(snapshot.state.size, content, seal)


def newest_snapshot(store: Store, origin: str, key: PublicKey | None) -> Snapshot | None:
    """The newest snapshot of the log `origin` whose seal by `key` holds; None if there is none."""
    for size, content, seal in store.snapshots():
        if _is_sealed(content, seal, key):
            try:
                snapshot = Snapshot.from_bytes(content)
            except SnapshotError:
                continue
            if snapshot.origin == origin and snapshot.state.size == size:
                return snapshot
    return None


def encode_state(state: State) -> bytes:
    """Deterministic CBOR of a state; `decode_state` reads it back, equal."""
    return cbor2.dumps(state, canonical=True, default=_encode)


def decode_state(raw: bytes) -> State:
    """Raise `SnapshotError` unless `raw` is an encoded state."""
    try:
        state = cbor2.loads(raw, tag_hook=_decode)
    except Exception as error:  # cbor2 lets through what its semantic decoders raise
        raise SnapshotError(f"the state cannot be read: {type(error).__name__}") from None
    if not isinstance(state, State):
        raise SnapshotError("these bytes are not a state")
    return state


def _is_sealed(content: bytes, seal: bytes, key: PublicKey | None) -> bool:
    message = _CONTEXT + hashlib.sha256(content).digest()
    if key is None:
        return seal == hashlib.sha256(message).digest()
    try:
        key.verify(seal, message)
    except BadSignature:
        return False
    return True


def _encode(encoder: Any, value: Any) -> None:
    kind = type(value)
    if kind is Map:
        encoder.encode(cbor2.CBORTag(_MAP, [part for pair in sorted(value.items()) for part in pair]))
    elif kind is Ids:
        encoder.encode(cbor2.CBORTag(_IDS, value.blob()))
    elif kind is PublicKey:
        encoder.encode(cbor2.CBORTag(_KEY, value.raw))
    elif kind in _CLASSES:
        place = _CLASSES.index(kind)
        encoder.encode(cbor2.CBORTag(_FIELDS + place, [_plain(part) for part in _parts(place)(value)]))
    else:
        raise TypeError(f"a state holds a {kind.__name__}, which a snapshot cannot")


def _plain(value: Any) -> Any:
    """Mark what CBOR would take for something else."""
    if type(value) is frozenset:
        return cbor2.CBORTag(_SET, sorted(value))
    return cbor2.CBORTag(_PHASE, value.value) if type(value) is Phase else value


def _decode(tag: cbor2.CBORTag, _immutable: bool = False) -> Any:
    value = tag.value
    match tag.tag:
        case 0x41525400:
            return _map(value)
        case 0x41525401:
            return Ids.of(value)
        case 0x41525402:
            return _public_key(value)
        case 0x41525403:
            return Phase(value)
        case 0x41525404:
            return frozenset(value)
    place = tag.tag - _FIELDS
    if not 0 <= place < len(_CLASSES):
        raise SnapshotError(f"tag {tag.tag} is unknown")
    return _CLASSES[place](*(_frozen(part) for part in value))


def _map(value: list[Any]) -> Map[Any, Any]:
    made: Map[Any, Any] = Map()
    pairs = iter(value)
    for key in pairs:
        made = made.set(_frozen(key), _frozen(next(pairs)))
    return made


def _frozen(value: Any) -> Any:
    return tuple(map(_frozen, value)) if type(value) is list else value


def _public_key(raw: bytes) -> PublicKey:
    try:
        return PublicKey(raw)
    except KeyFileError as error:
        raise SnapshotError(str(error)) from None


@cache
def _parts(place: int) -> Callable[[Any], tuple[Any, ...]]:
    return attrgetter(*(part.name for part in fields(_CLASSES[place])))


@cache
def _shape() -> bytes:
    """Names what a state is made of, so that a snapshot by a release with other fields is not misread."""
    names: Mapping[str, list[str]] = {kind.__name__: [part.name for part in fields(kind)] for kind in _CLASSES}
    return hashlib.sha256(repr(names).encode()).digest()
