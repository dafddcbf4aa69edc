"""Hostile inputs for decoders: arbitrary bytes and text, odd CBOR, and valid messages that were changed a little."""

from __future__ import annotations

from typing import Any

import cbor2
from hypothesis import strategies as st

TAGS = [
    0,
    1,
    2,
    3,
    4,
    5,
    16,
    17,
    18,
    21,
    24,
    28,
    29,
    30,
    35,
    36,
    37,
    52,
    54,
    100,
    256,
    258,
    260,
    261,
    1004,
    43000,
    55799,
]
"""Tags to which `cbor2` gives a meaning, and COSE's."""

any_text = st.text(st.characters(exclude_categories=()))  # lone surrogates too

_atoms = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(2**70), 2**70),
    st.builds(cbor2.CBORTag, st.sampled_from([2, 3]), st.just(b"\xff" * 2000)),  # too long to be written in decimal
    st.floats(),
    st.binary(max_size=80),
    st.text(max_size=20),
    st.sampled_from([1, 3, 4, 15, -1, 395, 396, -8, -49, b"", "", {}, []]),
)


def _nested(inner: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    keys = st.one_of(st.integers(-400, 400), st.text(max_size=5), st.booleans(), st.floats(allow_nan=False))
    return st.one_of(
        st.lists(inner, max_size=5),
        st.dictionaries(keys, inner, max_size=5),
        st.builds(cbor2.CBORTag, st.sampled_from(TAGS), inner),
    )


def _dumped(value: Any) -> bytes:
    try:
        return cbor2.dumps(value, canonical=True)
    except Exception:  # what cannot be written is no input
        return b""


odd_cbor = st.recursive(_atoms, _nested, max_leaves=15).map(_dumped)

sign1_like = st.builds(
    lambda protected, unprotected, payload, signature, tag: _dumped(
        cbor2.CBORTag(tag, [protected, unprotected, payload, signature])
    ),
    st.one_of(odd_cbor, st.binary(max_size=60)),
    st.one_of(st.just({}), st.dictionaries(st.integers(-2, 400), _atoms, max_size=2)),
    st.one_of(odd_cbor, st.none()),
    st.one_of(st.binary(max_size=70), st.binary(min_size=64, max_size=64)),
    st.sampled_from([18, 18, 18, 17, 98]),
)

any_bytes = st.one_of(st.binary(max_size=300), odd_cbor, sign1_like)


@st.composite
def changed(draw: st.DrawFn, valid: bytes) -> bytes:
    """`valid` after one to three changes: bits flipped, bytes cut out, doubled, put in or copied, an end cut off."""
    raw = valid
    for _ in range(draw(st.integers(1, 3))):
        start = draw(st.integers(0, len(raw)))
        end = min(len(raw), start + draw(st.integers(0, 80)))
        part, rest = raw[start:end], raw[end:]
        match draw(st.integers(0, 6)):
            case 0 if part:
                raw = raw[:start] + bytes([part[0] ^ 1 << draw(st.integers(0, 7))]) + part[1:] + rest
            case 1:
                raw = raw[:start] + rest
            case 2:
                raw = raw[:start] + part + part + rest
            case 3:
                raw = raw[:start] + draw(st.binary(max_size=8)) + rest
            case 4:
                raw = raw[:start]
            case 5:
                raw = raw[:start] + draw(st.binary(min_size=1, max_size=8)) + part + rest
            case _:
                other = draw(st.integers(0, len(raw)))
                raw = raw[:start] + raw[other : other + len(part)] + rest
    return raw


def changed_text(valid: str) -> st.SearchStrategy[str]:
    """The same for text; what is no UTF-8 any more keeps its bytes as lone surrogates."""
    return changed(valid.encode()).map(lambda raw: raw.decode(errors="surrogateescape"))
