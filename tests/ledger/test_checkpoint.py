"""Checkpoints, cosignatures, and finality that fails closed."""

import base64

import pytest
from consortium_simulator import LOG, key_of, witness

from ledger.checkpoint import (
    Checkpoint,
    CheckpointError,
    NotFinal,
    Policy,
    SignedCheckpoint,
    cosign,
    is_final,
    sign_checkpoint,
    verify_cosignature,
    verify_final,
    witness_name,
)
from ledger.note import NoteError, SignatureLine, Vkey

MEMBERS = ["a", "b", "c", "d"]
POLICY = Policy.of(LOG, {name: witness(name) for name in MEMBERS})
POINT = Checkpoint("log.example", 7, bytes(range(32)))
NOTE = sign_checkpoint(POINT, key_of("log"))
NOW_S = 1_800_000_000


def line(name: str, *, key: str | None = None, body: str | None = None, timestamp_s: int = NOW_S) -> str:
    return cosign(body or POINT.body(), name=f"log.example/{name}", key=key_of(key or name), timestamp_s=timestamp_s)


def with_cosignatures(*names: str) -> str:
    return NOTE + "".join(line(name) for name in names)


def test_the_text_of_a_checkpoint() -> None:
    assert POINT.body() == f"log.example\n7\n{base64.b64encode(bytes(range(32))).decode()}\n"
    assert SignedCheckpoint.parse(NOTE).checkpoint == POINT


def test_the_message_of_a_cosignature() -> None:
    """The signed text of C2SP tlog-cosignature, written out by hand."""
    parsed = SignatureLine.parse(line("a", timestamp_s=1679315147))
    text = f"cosignature/v1\ntime 1679315147\n{POINT.body()}"
    assert parsed.signature[:8] == (1679315147).to_bytes(8, "big")
    key_of("a").public.verify(parsed.signature[8:], text.encode())
    assert verify_cosignature(POINT.body(), parsed, witness("a")) == 1679315147


def test_final_with_a_quorum_and_not_below() -> None:
    checkpoint, cosigners = verify_final(with_cosignatures("d", "a", "b"), POLICY)
    assert checkpoint == POINT
    assert cosigners == ["a", "b", "d"]
    for names in ((), ("a",), ("a", "b"), ("a", "a", "a")):
        assert not is_final(with_cosignatures(*names), POLICY)
    with pytest.raises(NotFinal, match="2 of 4"):
        verify_final(with_cosignatures("a", "b"), POLICY)


def test_strangers_do_not_count() -> None:
    assert not is_final(with_cosignatures("a", "b", "stranger"), POLICY)
    assert is_final(with_cosignatures("a", "b", "c", "stranger"), POLICY)


@pytest.mark.parametrize(
    "note",
    [
        "",
        "garbage",
        with_cosignatures("a", "b", "c").replace("\n7\n", "\n8\n"),
        with_cosignatures("a", "b") + line("c", key="d"),
        with_cosignatures("a", "b", "c") + line("d", body=Checkpoint("log.example", 8, bytes(32)).body()),
        NOTE.split("\u2014")[0] + line("a") + line("b") + line("c"),
        sign_checkpoint(Checkpoint("other.example", 7, bytes(32)), key_of("log")),
        sign_checkpoint(POINT, key_of("mallory")) + line("a") + line("b") + line("c"),
    ],
)
def test_finality_fails_closed(note: str) -> None:
    assert not is_final(note, POLICY)


def test_a_cosignature_cannot_be_moved_to_another_log_name_or_time() -> None:
    parsed = SignatureLine.parse(line("a"))
    later = (NOW_S + 1).to_bytes(8, "big") + parsed.signature[8:]
    with pytest.raises(CheckpointError):
        verify_cosignature(POINT.body(), SignatureLine(parsed.name, parsed.key_id, later), witness("a"))
    with pytest.raises(CheckpointError):
        verify_cosignature(POINT.body(), parsed, witness("b"))
    renamed = Vkey.of_witness("elsewhere/a", key_of("a").public)
    with pytest.raises(CheckpointError):
        verify_cosignature(POINT.body(), parsed, renamed)


def test_the_future_is_refused_where_there_is_a_clock() -> None:
    note = NOTE + line("a") + line("b") + line("c", timestamp_s=NOW_S + 86_400)
    assert is_final(note, POLICY)
    assert not is_final(note, POLICY, now_s=NOW_S)
    assert is_final(note, POLICY, now_s=NOW_S + 86_400)


@pytest.mark.parametrize(
    "body",
    [
        "a\n1\n",
        "a\n01\nAAAA\n",
        "a\n-1\nAAAA\n",
        "a\n1\nAAAA\n",
        POINT.body() + "extension\n",
        "a b\n1\nAA==\n",
    ],
)
def test_malformed_checkpoints(body: str) -> None:
    with pytest.raises(NoteError):
        Checkpoint.parse(body)


def test_witness_names() -> None:
    assert witness_name("log.example", "firm-1") == "log.example/firm-1"
    with pytest.raises(NoteError):
        witness_name("log.example", "firm 1")
