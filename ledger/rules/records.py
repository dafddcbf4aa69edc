"""The shape of every record: which fields, of what type and size. Nothing else may stand in a payload."""

import re
from collections.abc import Callable, Mapping
from typing import Any, TypeAlias

from ledger.encoding import shown
from ledger.keys import HYBRID_PUBLIC_KEY_BYTES, HYBRID_SIGNATURE_BYTES, PUBLIC_KEY_BYTES, SIGNATURE_BYTES
from ledger.rules.state import CLASSICAL, HYBRID
from ledger.statement import PAYLOAD_VERSION

Check: TypeAlias = Callable[[Any], bool]
Field: TypeAlias = tuple[Check, str]
"""A test of a value, and in words what passes it."""

MAX_TEXT = 1024
MAX_ORDERS = 256
MAX_INPUTS = 1024
MAX_EPOCH_KEY_BYTES = 2048
ENCRYPTION_KEY_BYTES = 1216
"""ML-KEM-768 (1184 bytes) and X25519 (32): what HPKE seals bodies to."""
_SLUG = re.compile("[a-z0-9][a-z0-9-]{0,62}")


def is_slug(value: Any) -> bool:
    """Whether `value` can be the id of a member or the name of a task: lower case, digits, hyphens."""
    return isinstance(value, str) and _SLUG.fullmatch(value) is not None


def _is_uint(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0


def _bytes(length: int) -> Field:
    return lambda value: isinstance(value, bytes) and len(value) == length, f"{length} bytes"


def _optional(field: Field) -> Field:
    check, words = field
    return lambda value: value is None or check(value), f"{words} or none"


def _list(field: Field, most: int) -> Field:
    check, words = field
    return (
        lambda value: isinstance(value, list) and len(value) <= most and all(check(item) for item in value),
        f"a list of at most {most}, each {words}",
    )


def _one_of(*words: str) -> Field:
    return lambda value: isinstance(value, str) and value in words, " or ".join(words)


def _is_approval(value: Any) -> bool:
    return (
        isinstance(value, dict)
        and set(value) == {"member", "signature"}
        and is_slug(value["member"])
        and isinstance(value["signature"], bytes)
        and len(value["signature"]) in (SIGNATURE_BYTES, HYBRID_SIGNATURE_BYTES)
    )


_HASH = _bytes(32)
_ROUND_ID = _bytes(16)
_LOG_KEY = _bytes(PUBLIC_KEY_BYTES)
_KEY: Field = (
    lambda value: isinstance(value, bytes) and len(value) in (PUBLIC_KEY_BYTES, HYBRID_PUBLIC_KEY_BYTES),
    f"{PUBLIC_KEY_BYTES} bytes, or {HYBRID_PUBLIC_KEY_BYTES} with ML-DSA-65",
)
_SLUG_FIELD: Field = (is_slug, "a short name of lower-case letters, digits and hyphens")
_UINT: Field = (_is_uint, "a non-negative integer")
_POSITIVE: Field = (lambda value: _is_uint(value) and value > 0, "a positive integer")
_TEXT: Field = (
    lambda value: isinstance(value, str) and 0 < len(value) <= MAX_TEXT,
    f"a text of 1 to {MAX_TEXT} characters",
)
_EPOCH_KEY: Field = (
    lambda value: isinstance(value, bytes) and 0 < len(value) <= MAX_EPOCH_KEY_BYTES,
    f"1 to {MAX_EPOCH_KEY_BYTES} bytes",
)
_PLAN: Field = (
    lambda value: isinstance(value, dict) or (isinstance(value, bytes) and len(value) == 32),
    "a map, or the 32-byte hash of one",
)
_APPROVAL: Field = (_is_approval, f"a member and its signature of {SIGNATURE_BYTES} or {HYBRID_SIGNATURE_BYTES} bytes")
_APPROVALS = _list(_APPROVAL, 4096)
_RDP = _list(_UINT, MAX_ORDERS)

COMMON: Mapping[str, Field] = {
    "v": (lambda value: value == PAYLOAD_VERSION and not isinstance(value, bool), str(PAYLOAD_VERSION)),
    "cid": _TEXT,
    "id": _bytes(16),
    "t": _TEXT,
    "parent": _optional(_HASH),
    "ts": _UINT,
}
OPTIONAL: Mapping[str, Field] = {
    "acl": _one_of("public", "members", "parties"),
    "body_sha256": _HASH,
}
OWN_OPTIONAL: Mapping[str, Mapping[str, Field]] = {
    "rotate": {"next_log": _optional(_HASH)},
    "attest": {"kind": _SLUG_FIELD, "inputs": _list(_HASH, MAX_INPUTS)},
}
"""Fields that only some records of a type have."""
FIELDS: Mapping[str, Mapping[str, Field]] = {
    "policy": {
        "coordinator": _KEY,
        "min_cohort": _POSITIVE,
        "config": _optional(_HASH),
        "founders": _optional(_POSITIVE),
        "signatures": _one_of(CLASSICAL, HYBRID),
        "log": _optional(_LOG_KEY),
        "next_log": _optional(_HASH),
        "approvals": _APPROVALS,
    },
    "enrol": {
        "member": _SLUG_FIELD,
        "kind": _one_of("firm", "bank"),
        "key": _KEY,
        "name": _TEXT,
        "approvals": _APPROVALS,
    },
    "rotate": {"member": _SLUG_FIELD, "key": _KEY, "approvals": _APPROVALS},
    "suspend": {"member": _SLUG_FIELD, "reason": _TEXT, "approvals": _APPROVALS},
    "handover": {
        "log": _LOG_KEY,
        "next_log": _optional(_HASH),
        "size": _UINT,
        "root": _HASH,
        "approvals": _APPROVALS,
    },
    "task": {"task": _SLUG_FIELD, "spec": _HASH},
    "round": {
        "task": _SLUG_FIELD,
        "plan": _PLAN,
        "cohort": _list(_SLUG_FIELD, 100_000),
        "parent_model": _optional(_HASH),
    },
    "contribution": {
        "round": _ROUND_ID,
        "commit": _HASH,
        "n_bucket": _UINT,
        "rdp": _RDP,
        "clip": _UINT,
    },
    "aggregate": {"round": _ROUND_ID, "inputs": _list(_HASH, 100_000), "unmask": _HASH, "model": _HASH},
    "publish": {"round": _ROUND_ID, "model": _HASH, "manifest": _HASH},
    "revoke": {"model": _HASH, "reason": _TEXT},
    "abort": {"round": _ROUND_ID, "reason": _TEXT},
    "cap": {"org": _SLUG_FIELD, "task": _SLUG_FIELD, "rdp_cap": _RDP, "delta": _UINT},
    "consent": {"firm": _SLUG_FIELD, "bank": _SLUG_FIELD, "purpose": _TEXT, "until": _UINT},
    "query": {
        "bank": _SLUG_FIELD,
        "purpose": _TEXT,
        "subject": _HASH,
        "answer": _HASH,
        "model": _HASH,
    },
    "attest": {"subject": _TEXT, "artifact": _HASH},
    "encryption_key": {"key": _bytes(ENCRYPTION_KEY_BYTES)},
    "epoch_key": {"purpose": _SLUG_FIELD, "epoch": _UINT, "key": _EPOCH_KEY},
}


_SHAPES: Mapping[str, tuple[Mapping[str, Field], Mapping[str, Field]]] = {
    kind: ({**COMMON, **own}, {**OPTIONAL, **OWN_OPTIONAL.get(kind, {})}) for kind, own in FIELDS.items()
}


def problem_with(payload: Mapping[str, Any]) -> str | None:
    """What is wrong with the shape of a record, or None. Names the field."""
    kind = payload.get("t")
    if not isinstance(kind, str) or kind not in FIELDS:
        return f"the record type '{shown(kind)}' is unknown; known are {', '.join(sorted(FIELDS))}"
    required, optional = _SHAPES[kind]
    for name, (check, words) in required.items():
        if name not in payload:
            return f"the {kind} record lacks the field {name!r} ({words})"
        if not check(payload[name]):
            return f"the field {name!r} of the {kind} record must be {words}"
    if len(payload) == len(required):
        return None
    for name in sorted(payload.keys() - required.keys()):
        if name not in optional:
            return f"a {kind} record has no field '{shown(name)}'; leave it out"
        check, words = optional[name]
        if not check(payload[name]):
            return f"the field {name!r} of the {kind} record must be {words}"
    return None
