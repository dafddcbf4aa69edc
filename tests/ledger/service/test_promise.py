"""A promise is the log's word: read only when it is the log's, and the same whenever it is made."""

from dataclasses import replace

import pytest
from consortium_simulator import key_of

from ledger.cose import sign1
from ledger.encoding import encode
from ledger.service.promise import BadPromise, Promise, open_promise

KEY = key_of("log")
PROMISE = Promise("log.example", bytes(range(32)), 7, 1_800_000_000, 1_800_000_060)


def test_what_was_promised_is_read_back_and_never_differs() -> None:
    signed = PROMISE.sign(KEY)
    assert open_promise(signed, KEY.public) == PROMISE
    assert PROMISE.sign(KEY) == signed


def test_another_keys_promise_is_none() -> None:
    with pytest.raises(BadPromise, match="trusted log's key"):
        open_promise(PROMISE.sign(key_of("mallory")), KEY.public)


def test_every_changed_bit_is_seen() -> None:
    signed = PROMISE.sign(KEY)
    for place in range(len(signed)):
        changed = bytearray(signed)
        changed[place] ^= 1 << place % 8
        with pytest.raises(BadPromise):
            open_promise(bytes(changed), KEY.public)
    with pytest.raises(BadPromise):
        open_promise(signed + bytes(5000), KEY.public)


@pytest.mark.parametrize(
    "fields",
    [
        {"v": 2},
        {"v": True},
        {"index": -1},
        {"index": True},
        {"digest": b"short"},
        {"deadline_s": 1},
        {"more": 1},
    ],
)
def test_other_fields_are_refused(fields: dict[str, object]) -> None:
    header = {1: -8, 3: "application/vnd.artesian.inclusion-promise+cbor", 4: KEY.public.kid}
    payload = encode({"v": 1, **vars(PROMISE), **fields})
    with pytest.raises(BadPromise):
        open_promise(sign1(header, payload, KEY.sign), KEY.public)


def test_a_statements_type_is_no_promises() -> None:
    header = {1: -8, 3: "application/vnd.artesian.statement+cbor", 4: KEY.public.kid}
    with pytest.raises(BadPromise):
        open_promise(sign1(header, encode({"v": 1, **vars(PROMISE)}), KEY.sign), KEY.public)
    assert open_promise(replace(PROMISE, index=0).sign(KEY), KEY.public).index == 0
