"""The file by which a firm opens an update: one auditor reads it, in one consortium, unchanged."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from clients.opening import NoOpening, NotForThisKey, Opening, open_opening, seal_opening
from ledger.encoding import encode
from ledger.genesis import record
from ledger.keys import BadSignature, SigningKey
from ledger.service.encryption_key import EncryptionKey, seal
from ledger.statement import sign_statement

FIRM, AUDITOR, OTHER = SigningKey.generate(), EncryptionKey.generate(), EncryptionKey.generate()
OPENING = Opening("timber", bytes(range(16)), b"\x01" * 32, "firm-2", "bank-1", b"\x02" * 32, {"firm-1": b"\x03" * 32})
FIRST_LINE = b"artesian opening v1\n"


def sealed(opening: Opening = OPENING, key: SigningKey = FIRM, to: EncryptionKey = AUDITOR) -> bytes:
    return seal_opening(opening, key, to.public, record_id=bytes(16), ts=7)


names = st.text("abcdefghijklmnopqrstuvwxyz-0123456789", min_size=1, max_size=20)
openings = st.builds(
    Opening,
    names,
    st.binary(min_size=16, max_size=16),
    st.binary(min_size=32, max_size=32),
    names,
    names,
    st.binary(min_size=32, max_size=32),
    st.dictionaries(names, st.binary(min_size=32, max_size=32), max_size=9),
)


@settings(max_examples=20, deadline=None)
@given(opening=openings)
def test_what_was_sealed_is_read_and_is_the_firms(opening: Opening) -> None:
    read, statement = open_opening(sealed(opening), AUDITOR, opening.cid, opening.auditor)
    assert read == opening
    assert statement.issuer == opening.member
    statement.verify(FIRM.public)
    with pytest.raises(BadSignature):
        statement.verify(SigningKey.generate().public)


def test_nothing_in_the_file_can_be_read() -> None:
    file = sealed()
    telling = [OPENING.cid, OPENING.member, OPENING.auditor, OPENING.round_id, OPENING.sid, OPENING.commit, b"\x03" * 8]
    assert file.startswith(FIRST_LINE)
    for part in telling:
        assert (part if isinstance(part, bytes) else part.encode()) not in file
    assert sealed() != file
    assert b"\x03" * 8 not in repr(OPENING).encode()


@settings(max_examples=40, deadline=None)
@given(place=st.floats(0, 1, exclude_max=True), bit=st.integers(0, 7))
def test_a_changed_byte_is_refused(place: float, bit: int) -> None:
    file = bytearray(sealed())
    file[int(place * len(file))] ^= 1 << bit
    with pytest.raises((NoOpening, NotForThisKey)):
        open_opening(bytes(file), AUDITOR, "timber", "bank-1")


@pytest.mark.parametrize(
    ("key", "cid", "auditor"),
    [(OTHER, "timber", "bank-1"), (AUDITOR, "steel", "bank-1"), (AUDITOR, "timber", "bank-2")],
)
def test_another_key_consortium_or_auditor_opens_nothing(key: EncryptionKey, cid: str, auditor: str) -> None:
    with pytest.raises(NotForThisKey) as caught:
        open_opening(sealed(), key, cid, auditor)
    assert caught.value.exit_code == 1


@pytest.mark.parametrize(("change", "of"), [({"auditor": "bank-2"}, "bank-2"), ({"cid": "steel"}, "in steel")])
def test_an_auditor_who_passes_it_on_cannot_make_it_anothers(change: dict[str, Any], of: str) -> None:
    """What was made for one is sealed again, by whoever has opened it, to somebody else."""
    passed = sealed(replace(OPENING, **change))
    meant = replace(OPENING, **change)
    _, statement = open_opening(passed, AUDITOR, meant.cid, meant.auditor)
    again = FIRST_LINE + seal(statement.raw, OTHER.public, encode(["artesian/opening/v1", "timber", "bank-1"]))
    with pytest.raises(NotForThisKey, match=f"made the opening for .*{of}"):
        open_opening(again, OTHER, "timber", "bank-1")


@pytest.mark.parametrize("file", [b"", FIRST_LINE, b"PK\x03\x04", b"artesian opening v2\n" + bytes(2000)])
def test_another_file_is_none(file: bytes) -> None:
    with pytest.raises((NoOpening, NotForThisKey)) as caught:
        open_opening(file, AUDITOR, "timber", "bank-1")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "change",
    [
        {"t": "attest"},
        {"round": bytes(15)},
        {"sid": None},
        {"commit": "x"},
        {"seeds": [bytes(32)]},
        {"seeds": {"firm-1": bytes(31)}},
        {"auditor": 1},
        {"more": 1},
        {"subject": "ab" * 16},
    ],
)
def test_a_statement_of_another_shape_is_none(change: dict[str, Any]) -> None:
    subject = change.get("subject", bytes(16).hex())
    change = {name: value for name, value in change.items() if name != "subject"}
    fields = {"round": bytes(16), "sid": bytes(32), "commit": bytes(32), "auditor": "bank-1", "seeds": {}}
    payload = {**record("opening", cid="timber", record_id=bytes(16), ts=1, **fields), **change}
    raw = sign_statement(payload, issuer="firm-2", subject=subject, key=FIRM)
    file = FIRST_LINE + seal(raw, AUDITOR.public, encode(["artesian/opening/v1", "timber", "bank-1"]))
    with pytest.raises(NoOpening):
        open_opening(file, AUDITOR, "timber", "bank-1")


def test_a_hybrid_key_signs_it_whole() -> None:
    key = SigningKey.generate(hybrid=True)
    _, statement = open_opening(sealed(key=key), AUDITOR, "timber", "bank-1")
    assert statement.is_hybrid
    statement.verify(key.public)
