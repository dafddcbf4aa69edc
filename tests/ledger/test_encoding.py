"""Deterministic CBOR: one value, one encoding, and nothing else is read."""

import cbor2
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ledger.encoding import EncodingError, decode, decode_item, encode, shown

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


def test_strange_values_are_shown_in_one_short_line() -> None:
    assert shown("firm-0") == "firm-0"
    assert shown(-7) == "-7"
    assert shown("two\nlines \x1b[31m \ud800") == r"two\nlines \x1b[31m \ud800"
    assert shown(2**40_000) == "a too big int"
    assert shown([2**40_000]) == "a too big list"
    assert shown("x" * 1000) == "x" * 79 + "…"
    assert len(shown(bytes(10_000))) == 80


@pytest.mark.parametrize("tag", [0, 1, 2, 3, 4, 5, 25, 28, 29, 30, 35, 36, 37, 52, 100, 258, 55799])
def test_no_tag_makes_a_value(tag: int) -> None:
    """A regular expression, a mail, a date, a shared or a cyclic value from a stranger is refused before it is made."""
    for content in (b"", "", 0, [], [1, 2]):
        with pytest.raises(EncodingError, match=rf"semantic tag {tag}$|semantic tag {tag};"):
            decode_item(cbor2.dumps(cbor2.CBORTag(tag, content)), what="it")
