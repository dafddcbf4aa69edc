"""Only the parties open a body, only the one that the ledger commits to, and only for its record."""

import hashlib
from dataclasses import replace
from pathlib import Path

import pytest

from ledger.encoding import decode, encode
from ledger.keys import SigningKey
from ledger.secret_files import KeyFileError
from ledger.service.bodies import About, BadBody, Envelope, commit_to_body, open_body, seal_body
from ledger.service.encryption_key import PUBLIC_BYTES, CannotOpen, EncryptionKey, seal

BODY = b"900 planks of larch, 17 EUR each"
KEYS = {name: EncryptionKey.generate() for name in ("bank-0", "firm-0")}
PUBLIC = {name: key.public for name, key in KEYS.items()}
SALT, COMMITMENT = commit_to_body(BODY)
ABOUT = About("c-1", b"i" * 16, COMMITMENT)


@pytest.fixture(scope="module")
def envelope() -> bytes:
    return seal_body(BODY, SALT, ABOUT, PUBLIC)


def test_each_party_opens_it_and_nobody_else(envelope: bytes) -> None:
    assert hashlib.sha256(SALT + BODY).digest() == COMMITMENT
    assert Envelope.from_bytes(envelope).parties == ("bank-0", "firm-0")
    for name, key in KEYS.items():
        assert open_body(envelope, ABOUT, name, key) == BODY
    with pytest.raises(BadBody, match="not for firm-9"):
        open_body(envelope, ABOUT, "firm-9", KEYS["firm-0"])
    for name, key in (("bank-0", KEYS["firm-0"]), ("firm-0", EncryptionKey.generate())):
        with pytest.raises(BadBody, match="does not open"):
            open_body(envelope, ABOUT, name, key)


def test_nothing_of_it_shows(envelope: bytes) -> None:
    assert BODY not in envelope
    assert SALT not in envelope
    assert seal_body(BODY, SALT, ABOUT, PUBLIC) != envelope


@pytest.mark.parametrize(
    "about",
    [
        replace(ABOUT, cid="c-2"),
        replace(ABOUT, record_id=b"j" * 16),
        replace(ABOUT, commitment=commit_to_body(BODY)[1]),
    ],
)
def test_it_serves_for_its_record_only(envelope: bytes, about: About) -> None:
    with pytest.raises(BadBody):
        open_body(envelope, about, "firm-0", KEYS["firm-0"])


def test_parties_can_be_neither_added_nor_taken_away(envelope: bytes) -> None:
    parts = Envelope.from_bytes(envelope)
    fewer = Envelope({"firm-0": parts.sealed["firm-0"]}, parts.ciphertext)
    more = Envelope({**parts.sealed, "firm-9": parts.sealed["firm-0"]}, parts.ciphertext)
    for changed in (fewer, more):
        with pytest.raises(BadBody, match="does not open"):
            open_body(changed.to_bytes(), ABOUT, "firm-0", KEYS["firm-0"])


def test_every_changed_byte_is_seen() -> None:
    envelope = seal_body(BODY, SALT, ABOUT, {"firm-0": PUBLIC["firm-0"]})
    for place in range(0, len(envelope), 7):
        changed = bytearray(envelope)
        changed[place] ^= 1 << place % 8
        with pytest.raises(BadBody):
            open_body(bytes(changed), ABOUT, "firm-0", KEYS["firm-0"])


def test_a_sealed_lie_is_found_by_the_commitment(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(BadBody, match="commits to"):
        seal_body(b"another body", SALT, ABOUT, PUBLIC)
    with pytest.raises(BadBody, match="commits to"):
        seal_body(BODY, SALT[:-1], ABOUT, PUBLIC)
    monkeypatch.setattr("ledger.service.bodies._require_committed", lambda *_: None)
    lie = seal_body(b"another body", SALT, ABOUT, PUBLIC)
    monkeypatch.undo()
    with pytest.raises(BadBody, match="commits to"):
        open_body(lie, ABOUT, "firm-0", KEYS["firm-0"])


def test_envelopes_of_another_form_are_refused(envelope: bytes) -> None:
    fields = decode(envelope, what="it")
    for wrong in (
        {**fields, "v": 2}, {**fields, "v": True}, {**fields, "sealed": {}}, {**fields, "more": 1},
        {**fields, "sealed": {"Firm 0": b"x"}}, {**fields, "sealed": {"firm-0": 1}},
        {**fields, "sealed": {f"firm-{n}": b"" for n in range(257)}}, [1],
    ):  # fmt: skip
        with pytest.raises(BadBody):
            Envelope.from_bytes(encode(wrong))
    for raw in (b"", envelope + b"\0"):
        with pytest.raises(BadBody):
            Envelope.from_bytes(raw)
    for keys in ({}, {f"firm-{n}": b"" for n in range(257)}):
        with pytest.raises(BadBody, match="name 1 to 256"):
            seal_body(BODY, SALT, ABOUT, keys)


def test_a_key_file_is_its_owners_alone(tmp_path: Path) -> None:
    key, path = KEYS["firm-0"], tmp_path / "encryption.pem"
    key.save(path)
    assert path.stat().st_mode & 0o777 == 0o600
    again = EncryptionKey.load(path)
    assert again.public == key.public
    assert len(key.public) == PUBLIC_BYTES == 1216
    assert again.open(seal(b"m", key.public, b"info"), b"info") == b"m"
    with pytest.raises(KeyFileError, match="already there"):
        key.save(path)
    path.chmod(0o644)
    with pytest.raises(KeyFileError, match="chmod 600"):
        EncryptionKey.load(path)
    SigningKey.generate().save(tmp_path / "signing.pem")
    with pytest.raises(KeyFileError, match="are needed"):
        EncryptionKey.load(tmp_path / "signing.pem")
    assert "EncryptionKey(" in repr(key)


def test_what_was_sealed_for_another_purpose_does_not_open() -> None:
    key = KEYS["firm-0"]
    sealed = seal(b"m", key.public, b"info")
    for message, info in ((sealed, b"other"), (sealed[:-1], b"info"), (b"", b"info")):
        with pytest.raises(CannotOpen):
            key.open(message, info)
    for public in (b"", key.public[:-1], key.public + b"x", bytes(1216)[:-32] + key.public[-32:] + b"y"):
        with pytest.raises(KeyFileError):
            seal(b"m", public, b"")
