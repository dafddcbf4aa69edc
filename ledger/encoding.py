"""Deterministic CBOR (RFC 8949, section 4.2.1), and a decoder that accepts nothing else.

One value has one encoding, so that a hash of the bytes is a hash of the value. Maps have text keys, or
small non-negative integers where COSE asks for them: for those, cbor2's canonical order and the bytewise
order of RFC 8949 are the same.
"""

from collections.abc import Iterator
from typing import Any, TypeAlias

import cbor2

from ledger.errors import LedgerError

Value: TypeAlias = Any
"""What a record may hold: int, str, bytes, bool, None, and lists and text-keyed dicts of these."""

MAX_DEPTH = 16
_WORD = 1 << 64


class EncodingError(LedgerError):
    """The bytes are not the one deterministic encoding of a value that a record may hold."""

    exit_code = 2


def encode(value: Value) -> bytes:
    """Return the deterministic encoding of `value`.

    Raises:
        EncodingError: the value has a part that a record may not hold.
    """
    check(value)
    return cbor2.dumps(value, canonical=True)


def decode(raw: bytes, *, what: str) -> Value:
    """Return the value of which `raw` is the deterministic encoding; `what` names it in errors.

    Raises:
        EncodingError: malformed, trailing bytes, duplicate keys, indefinite lengths, not canonical, or of a
            type that a record may not hold.
    """
    value = decode_item(raw, what=what)
    check(value, what=what)
    return value


def decode_item(raw: bytes, *, what: str) -> Value:
    """Like `decode`, for COSE's own structures: tags and integer keys pass, the encoding is held to."""
    try:
        value = cbor2.loads(raw, max_depth=MAX_DEPTH, allow_indefinite=False, allow_duplicate_keys=False)
        again = cbor2.dumps(value, canonical=True)
    except Exception as error:  # cbor2 lets through what its semantic decoders raise on hostile bytes
        detail = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise EncodingError(
            f"{what} is not CBOR that can be read: {detail}; ask for the original bytes"
        ) from None
    if again != raw:
        raise EncodingError(
            f"{what} is not in deterministic CBOR (order, lengths or trailing bytes differ); encode it again"
        )
    return value


def check(value: Value, *, what: str = "the record") -> None:
    """Raise `EncodingError`, naming the first field whose type or size a record may not hold."""
    problem = next(_problems(value, "", 0), None)
    if problem is not None:
        raise EncodingError(f"{what}: {problem}")


def _problems(value: Value, path: str, depth: int) -> Iterator[str]:
    here = path or "the value"
    if value is None or isinstance(value, (str, bytes, bool)):
        return
    if isinstance(value, int):
        if not -_WORD <= value < _WORD:
            yield f"{here} is an integer of more than 64 bits"
    elif isinstance(value, float):
        yield f"{here} is a float; records hold integers only, for example in millionths"
    elif depth >= MAX_DEPTH:
        yield f"{here} is nested more than {MAX_DEPTH} deep"
    elif isinstance(value, (list, tuple)):
        for place, item in enumerate(value):
            yield from _problems(item, f"{path}[{place}]", depth + 1)
    elif isinstance(value, dict):
        for key, item in value.items():
            if not isinstance(key, str):
                yield f"{here} has the key {key!r}; keys are text"
                return
            yield from _problems(item, f"{path}.{key}" if path else key, depth + 1)
    else:
        yield f"{here} is a {type(value).__name__}, which a record may not hold"
