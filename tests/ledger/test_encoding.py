"""Deterministic CBOR: one value, one encoding, and nothing else is read."""

import cbor2
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ledger.encoding import EncodingError, decode, encode

scalars = st.none() | st.booleans() | st.integers(-(2**64), 2**64 - 1) | st.text(max_size=30) | st.binary(max_size=40)
values = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=30), inner, max_size=4),
    max_leaves=12,
)


@given(values)
def test_every_value_survives(value: object) -> None:
    raw = encode(value)
    assert decode(raw, what="it") == value
    assert encode(decode(raw, what="it")) == raw


@given(st.binary(max_size=60))
def test_bytes_are_read_only_in_their_one_encoding(raw: bytes) -> None:
    try:
        value = decode(raw, what="it")
    except EncodingError:
        return
    assert encode(value) == raw


@pytest.mark.parametrize(
    "hexadecimal",
    [
        "a2616101616102",  # duplicate key
        "bf616101ff",  # indefinite map
        "9f01ff",  # indefinite list
        "7f6161ff",  # indefinite text
        "0101",  # trailing byte
        "1801",  # integer longer than need be
        "a2616201616102",  # keys out of order
        "a10102",  # key that is no text
        "fb3ff8000000000000",  # float
        "f93e00",  # half float
        "c24101",  # big-number tag
        "c249010000000000000000",  # integer beyond 64 bits
        "c101",  # a tag: time
        "d81c81d81d00",  # shared references, cyclic
        "f7",  # undefined
        "",
        "a1",
    ],
)
def test_refused(hexadecimal: str) -> None:
    with pytest.raises(EncodingError):
        decode(bytes.fromhex(hexadecimal), what="it")


def test_nesting_bombs_and_strange_values_are_refused() -> None:
    with pytest.raises(EncodingError):
        decode(b"\x81" * 100_000 + b"\x00", what="it")
    with pytest.raises(EncodingError, match=r"plan\.rate is a float"):
        encode({"plan": {"rate": 0.5}})
    with pytest.raises(EncodingError, match="set"):
        encode({"plan": {1}})


@given(st.dictionaries(st.text(max_size=300), st.none(), max_size=8))
def test_text_keys_are_in_bytewise_order(value: dict[str, None]) -> None:
    """cbor2 sorts by length first; for text keys that is the bytewise order of RFC 8949."""
    encoded = [cbor2.dumps(key) for key in decode(encode(value), what="it")]
    assert encoded == sorted(encoded)
