"""Deterministic CBOR (RFC 8949, section 4.2.1), and a decoder that accepts nothing else.

One value has one encoding, so that a hash of the bytes is a hash of the value. Maps have text keys, or
small non-negative integers where COSE asks for them: for those, cbor2's canonical order and the bytewise
order of RFC 8949 are the same.
"""

from typing import Any, TypeAlias

import cbor2

from ledger.errors import LedgerError

Value: TypeAlias = Any
"""What a record may hold: int, str, bytes, bool, None, and lists and text-keyed dicts of these."""

MAX_DEPTH = 16
_WORD = 1 << 64
_SHOWN_CHARACTERS = 80


def _refuse(*_: Any) -> Any:
    raise ValueError("no record and no COSE message here holds this tag")


_MEANT_TAGS = (0, 1, 2, 3, 4, 5, 25, 28, 29, 30, 35, 36, 37, 52, 54, 100, 256, 258, 260, 261, 1004, 43000, 55799)
_REFUSED_TAGS = dict.fromkeys(_MEANT_TAGS, _refuse)
"""Tags that `cbor2` would make dates, regular expressions, mails, shared or cyclic values of."""


class EncodingError(LedgerError):
    """The bytes are not the one deterministic encoding of a value that a record may hold."""

    exit_code = 2


def encode(value: Value) -> bytes:
    """Return the deterministic encoding of `value`.

    Raises:
        EncodingError: the value has a part that a record may not hold.
    """
    check(value)
    return encode_item(value)


def encode_item(value: Value) -> bytes:
    """Like `encode`, for COSE's own structures: tags and integer keys pass.

    Raises:
        EncodingError: a text in it is not Unicode.
    """
    try:
        return cbor2.dumps(value, canonical=True)
    except UnicodeEncodeError as error:
        raise EncodingError(f"there is text in it that is not Unicode: {error.reason}") from None


def decode(raw: bytes, *, what: str) -> Value:
    """Return the value of which `raw` is the deterministic encoding; `what` names it in errors.

    Raises:
        EncodingError: malformed, trailing bytes, duplicate keys, indefinite lengths, not canonical, or of a
            type that a record may not hold.
    """
    value = _load(raw, what)
    check(value, what=what)
    _require_canonical(value, raw, what)
    return value


def decode_item(raw: bytes, *, what: str) -> Value:
    """Like `decode`, for COSE's own structures: tags and integer keys pass, the encoding is held to."""
    value = _load(raw, what)
    _require_canonical(value, raw, what)
    return value


def _load(raw: bytes, what: str) -> Value:
    try:
        return cbor2.loads(
            raw,
            max_depth=MAX_DEPTH,
            allow_indefinite=False,
            allow_duplicate_keys=False,
            semantic_decoders=_REFUSED_TAGS,
        )
    except Exception as error:  # cbor2 lets other things through than its own errors
        detail = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise EncodingError(f"{what} is not CBOR that can be read: {detail}; ask for the original") from None


def _require_canonical(value: Value, raw: bytes, what: str) -> None:
    try:
        written = cbor2.dumps(value, canonical=True)
    except Exception:  # a value that cannot be written, such as a cyclic one, was not canonical either
        written = b""
    if written == raw:
        return
    if written and raw.startswith(written):
        raise EncodingError(f"{what} has {len(raw) - len(written)} trailing bytes after it; send it alone")
    raise EncodingError(f"{what} is not in deterministic CBOR (order or lengths differ); encode it again")


def shown(value: object) -> str:
    """A stranger's value for a line of words: printable, short, and never an error itself."""
    try:
        text = value if isinstance(value, str) else repr(value)
    except ValueError:  # Python writes no integer of thousands of digits
        text = f"a too big {type(value).__name__}"
    safe = text if text.isprintable() else repr(text)[1:-1]
    return safe if len(safe) <= _SHOWN_CHARACTERS else safe[: _SHOWN_CHARACTERS - 1] + "…"


def check(value: Value, *, what: str = "the record") -> None:
    """Raise `EncodingError`, naming the first field whose type or size a record may not hold."""
    problem = _problem(value, "", 0)
    if problem is not None:
        raise EncodingError(f"{what}: {problem}")


def _problem(value: Value, path: str, depth: int) -> str | None:
    kind = type(value)
    if value is None or kind is str or kind is bytes or kind is bool:
        return None
    here = path or "the value"
    if kind is int:
        fits = -_WORD <= value < _WORD
        return None if fits else f"{here} is an integer of more than 64 bits"
    if kind is float:
        return f"{here} is a float; records hold integers only, for example in millionths"
    if depth >= MAX_DEPTH:
        return f"{here} is nested more than {MAX_DEPTH} deep"
    if kind is list or kind is tuple:
        items = ((f"{path}[{place}]", item) for place, item in enumerate(value))
    elif kind is dict:
        strange = next((key for key in value if type(key) is not str), None)
        if strange is not None:
            return f"{here} has the key {shown(strange)}; keys are text"
        items = ((f"{path}.{key}" if path else key, item) for key, item in value.items())
    else:
        return f"{here} is a {kind.__name__}, which a record may not hold"
    return next((found for name, item in items if (found := _problem(item, name, depth + 1))), None)
