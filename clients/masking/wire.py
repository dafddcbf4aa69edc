"""Deterministic CBOR (RFC 8949 section 4.2.1) with an exact set of keys: one meaning, one encoding."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import cbor2

from clients.masking.errors import MalformedMessage

VERSION = 1
MAX_MESSAGE_BYTES = 1 << 30
_MAX_DEPTH = 8


def encode(fields: Mapping[str, Any], version: int = VERSION) -> bytes:
    """Returns the one encoding of `fields`, with the protocol's version under `v`."""
    return cbor2.dumps({"v": version, **fields}, canonical=True)


def version_of(raw: bytes) -> int | None:
    """The version that a message says it is of, without decoding the rest; None where it says none from 0 to 23.

    No other key is as short as `v`, so it comes first in the one encoding.
    """
    head = 2 if raw[:1] == b"\xb8" else 1  # a map of up to 23 pairs, or of more
    key, value = raw[head : head + 2], raw[head + 2 : head + 3]
    return value[0] if key == b"\x61v" and value and value[0] < 24 else None


def decode(raw: bytes, schema: Mapping[str, type], what: str, version: int = VERSION) -> dict[str, Any]:
    """Reads a message whose keys and types are exactly those of `schema` (and `v`, which is `version`).

    Raises:
        MalformedMessage: not CBOR, not deterministic (duplicate keys, indefinite lengths, trailing bytes,
            unsorted keys, long forms), another version, missing or unknown keys, or a value of another type.
    """
    if len(raw) > MAX_MESSAGE_BYTES:
        raise MalformedMessage(f"{what}: {len(raw)} bytes is over the limit of {MAX_MESSAGE_BYTES}")
    try:
        fields = cbor2.loads(raw, allow_indefinite=False, allow_duplicate_keys=False, max_depth=_MAX_DEPTH)
        canonical = cbor2.dumps(fields, canonical=True) == raw
    except Exception as error:  # the decoder raises many kinds on hostile bytes; all mean the same here
        raise MalformedMessage(f"{what}: not a CBOR message ({type(error).__name__})") from None
    if not isinstance(fields, dict):
        raise MalformedMessage(f"{what}: expected a map, found {type(fields).__name__}")
    if not canonical:
        raise MalformedMessage(f"{what}: not in deterministic encoding; encode it again from its fields")
    if fields.get("v") != version or type(fields["v"]) is not int:
        raise MalformedMessage(f"{what}: protocol version {fields.get('v')!r}, this program speaks {version}")
    expected = {"v": int, **schema}
    if fields.keys() != expected.keys():
        odd = sorted(map(str, fields.keys() ^ expected.keys()))
        raise MalformedMessage(f"{what}: missing or unknown fields {', '.join(odd)}")
    for name, kind in expected.items():
        if type(fields[name]) is not kind:  # exact: True is no int here
            found = type(fields[name]).__name__
            raise MalformedMessage(f"{what}: field {name} is {found}, expected {kind.__name__}")
    return fields


def bytes_by_member(value: Mapping[Any, Any], what: str, length: int | None = None) -> dict[str, bytes]:
    """Returns `value` as {member: bytes}, each `length` bytes long where one is given.

    Raises:
        MalformedMessage: a key is not text, or a value is not bytes of that length.
    """
    for member, item in value.items():
        if type(member) is not str or type(item) is not bytes or length not in (None, len(item)):
            size = "bytes" if length is None else f"{length} bytes"
            raise MalformedMessage(f"{what}: entry {member!r} must be a member's name with {size}")
    return dict(value)
