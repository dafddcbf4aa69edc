"""Signed notes and verifier keys, against the published example of the Go implementation."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ledger.keys import BadSignature, SigningKey
from ledger.note import NoteError, SignatureLine, Vkey, join_note, parse_note

# The example of golang.org/x/mod/sumdb/note.
GO_VKEY = "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW"
GO_NOTE = (
    "If you think cryptography is the answer to your problem,\n"
    "then you don't know what your problem is.\n"
    "\n"
    "\u2014 PeterNeumann x08go/ZJkuBS9UG/SffcvIAQxVBtiFupLLr8pAcElZInNIuGUgYN1FFYC2pZSNXgKvqfqdng"
    "otpRZb6KE6RyyBwJnAM=\n"
)


def test_go_example_verifies() -> None:
    vkey = Vkey.parse(GO_VKEY)
    body, [line] = parse_note(GO_NOTE)
    assert line.is_by(vkey)
    vkey.key.verify(line.signature, body.encode())
    with pytest.raises(BadSignature):
        vkey.key.verify(line.signature, body.replace("know", "knew").encode())
    assert str(vkey) == GO_VKEY
    assert join_note(body, [line]) == GO_NOTE


@given(st.text(min_size=1), st.integers(0, 1))
def test_keys_survive_as_text(name: str, kind: int) -> None:
    key = SigningKey.from_seed(bytes(32)).public
    try:
        vkey = (Vkey.of_log, Vkey.of_witness)[kind](name, key)
    except NoteError:
        assert name.strip() != name or "+" in name or not name.isprintable() or " " in name
        return
    assert Vkey.parse(str(vkey)) == vkey


def test_log_and_witness_ids_of_one_key_differ() -> None:
    key = SigningKey.from_seed(bytes(32)).public
    assert Vkey.of_log("a", key).id != Vkey.of_witness("a", key).id


@pytest.mark.parametrize(
    "text",
    [
        "",
        "a",
        "a+b",
        GO_VKEY.replace("c74f20a3", "c74f20a4"),
        GO_VKEY.replace("Peter", "peter"),
        GO_VKEY.replace("+ARpc", "+ArpC"),
        GO_VKEY[:-4],
        GO_VKEY[:-1] + "=",
        "a b+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW",
    ],
)
def test_malformed_keys(text: str) -> None:
    with pytest.raises(NoteError):
        Vkey.parse(text)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "text only\n",
        "text\n\n",
        "text\n\n\u2014 name AAAAAAAA",
        "text\n\n- name AAAAAAAA\n",
        "text\n\n\u2014 name  AAAAAAAA\n",
        "text\n\n\u2014 name AAAA\n",
        "text\n\n\u2014 name AAAAAAA\n",
        "text\n\n\u2014 name AAAAAAB=\n",
        "te\txt\n\n\u2014 name AAAAAAAA\n",
        "te\rxt\n\n\u2014 name AAAAAAAA\n",
        "x" * (2 << 20),
    ],
)
def test_malformed_notes(text: str) -> None:
    with pytest.raises(NoteError):
        parse_note(text)


def test_signature_lines_survive_as_text() -> None:
    line = SignatureLine("a/b", b"1234", b"signature")
    assert SignatureLine.parse(str(line)) == line
