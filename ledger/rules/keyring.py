"""Which keys a record may name: well-formed, and never named before for anyone."""

from functools import lru_cache

from ledger.keys import KeyFileError, PublicKey
from ledger.rules.persistent import Map
from ledger.rules.state import HYBRID, Refused, State


def public_key(raw: bytes, index: int) -> PublicKey:
    """The key that a record spells out; refuse by the rule `key` what is none."""
    try:
        return _key(raw)
    except KeyFileError as error:
        raise Refused("key", index, str(error)) from None


def fresh_key(state: State, raw: bytes, name: str, index: int, *, kept: PublicKey | None = None) -> PublicKey:
    """The key that a record gives to `name`; refuse by the rule `key` one that was ever in use.

    Args:
        kept: the key that `name` has already and may keep.
    """
    key = public_key(raw, index)
    if key != kept and any(name in state.keys for name in _thumbprints(key)):
        raise Refused("key", index, f"the key for {name!r} has been used before; make a new one")
    return key


def with_key(keys: Map[bytes, str], key: PublicKey, owner: str) -> Map[bytes, str]:
    """`keys` with `key`, by the thumbprint of either half: neither serves again, alone or in another pair."""
    for thumbprint in _thumbprints(key):
        keys = keys.set(thumbprint, owner)
    return keys


def require_kind(signatures: str, key: PublicKey, name: str, index: int) -> None:
    """Refuse by the rule `signatures` a key of `name` that cannot sign as the policy asks."""
    if signatures == HYBRID and not key.is_hybrid:
        raise Refused("signatures", index, f"the policy asks for {HYBRID}; {name!r} needs a hybrid key")


def _thumbprints(key: PublicKey) -> tuple[bytes, ...]:
    return (key.kid,) if key.post_quantum_kid is None else (key.kid, key.post_quantum_kid)


_key = lru_cache(1024)(PublicKey)  # whoever replays a ledger meets its keys again; their thumbprints stay with them
