"""Which key signs the log's checkpoints: its rotation, and the handover to another sequencer.

The key that signs the checkpoint of so many entries is the one in the state after them. The next key can be
committed to in advance: then whoever takes the present one cannot name a successor, and the coordinator can
without asking a quorum.
"""

import hashlib
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from ledger.keys import PUBLIC_KEY_BYTES, PublicKey
from ledger.rules.approvals import require_quorum
from ledger.rules.keyring import fresh_key, public_key, with_key
from ledger.rules.state import COORDINATOR, LOG, LogKey, Refused, State
from ledger.statement import Statement


def commitment(key: PublicKey) -> bytes:
    """What a record names today so that the log may go over to `key` later: 32 bytes that do not tell the key."""
    return hashlib.sha256(key.raw).digest()


def founding_log(payload: Mapping[str, Any], coordinator: PublicKey, index: int) -> LogKey:
    """The log's key as the first policy names it; the coordinator's Ed25519 key if it names none."""
    raw = payload["log"]
    return LogKey(coordinator.ed25519 if raw is None else public_key(raw, index), payload["next_log"], index)


def rotate_log(state: State, statement: Statement, index: int) -> State:
    """Give the log a new key: by the coordinator if it was committed to, otherwise by a quorum."""
    payload = statement.payload
    if "next_log" not in payload:
        raise Refused("log", index, "a rotate record of the log says next_log: the hash of the next key, or none")
    if len(payload["key"]) != PUBLIC_KEY_BYTES:
        raise Refused("key", index, "the log's key is an Ed25519 key: checkpoints carry no other signature")
    key = fresh_key(state, payload["key"], LOG, index)
    committed = state.log is not None and state.log.next == commitment(key)
    if payload["approvals"] or statement.issuer != COORDINATOR or not committed:
        require_quorum(state, payload, index)
    return _with_log(state, key, payload["next_log"], index)


def apply_handover(state: State, statement: Statement, index: int) -> State:
    """Go on under another sequencer's key, with a quorum's approval, from the entries that the record names.

    Its `root` is not known here: `ledger.replay.step` holds it against the tree.
    """
    payload = statement.payload
    require_quorum(state, payload, index)
    if payload["size"] != index:
        raise Refused(
            "base", index, f"the handover continues a ledger of {payload['size']} entries, this one has {index}"
        )
    return _with_log(state, fresh_key(state, payload["log"], LOG, index), payload["next_log"], index)


def _with_log(state: State, key: PublicKey, following: bytes | None, index: int) -> State:
    return replace(state, log=LogKey(key, following, index), keys=with_key(state.keys, key, LOG))
