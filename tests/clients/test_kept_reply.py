"""A kept reply: the same bytes for the same question, gone with its key, and nobody's who copies the file alone."""

from __future__ import annotations

import os
import secrets
from pathlib import Path

import pytest

from clients.kept_reply import KeptReply
from clients.masking.errors import KeySetupRefused
from clients.sealed_folder import WRAPPING_KEY

ROUND, OFFER = bytes(range(16)), bytes(32)
FIELDS = {"contribution": b"masked" * 50, "statement": b"signed"}


@pytest.fixture(params=["disk", "memory"])
def folder(request: pytest.FixtureRequest, tmp_path: Path) -> Path | None:
    return tmp_path / "reply" if request.param == "disk" else None


def kept(folder: Path | None) -> KeptReply:
    return KeptReply(folder, secrets.token_bytes)


def test_it_is_what_was_kept_for_this_question_only(folder: Path | None) -> None:
    reply = kept(folder)
    assert reply.round() is None
    assert reply.of(ROUND, OFFER, "train.update") is None
    reply.keep(ROUND, OFFER, "train.update", FIELDS)
    reply = reply if folder is None else kept(folder)  # another process
    assert reply.round() == ROUND
    assert reply.of(ROUND, OFFER, "train.update") == FIELDS
    assert reply.of(ROUND, bytes(31) + b"1", "train.update") is None
    assert reply.of(ROUND, OFFER, "train.measure") is None
    assert reply.of(bytes(16), OFFER, "train.update") is None


def test_another_rounds_takes_its_place_under_another_key(tmp_path: Path) -> None:
    reply = kept(tmp_path / "reply")
    reply.keep(ROUND, OFFER, "train.update", FIELDS)
    key = (tmp_path / "reply" / WRAPPING_KEY).read_bytes()
    reply.keep(bytes(16), OFFER, "train.update", {"contribution": b"", "statement": b"s"})
    assert (reply.round(), reply.of(ROUND, OFFER, "train.update")) == (bytes(16), None)
    assert (tmp_path / "reply" / WRAPPING_KEY).read_bytes() != key


def test_destroyed_it_is_gone(folder: Path | None) -> None:
    reply = kept(folder)
    reply.destroy()
    reply.keep(ROUND, OFFER, "train.update", FIELDS)
    reply.destroy()
    assert reply.round() is None
    assert reply.of(ROUND, OFFER, "train.update") is None
    assert folder is None or not list(folder.iterdir())


def test_the_file_is_the_owners_and_sealed(tmp_path: Path) -> None:
    reply = kept(tmp_path / "reply")
    reply.keep(ROUND, OFFER, "train.update", FIELDS)
    (file,) = (tmp_path / "reply").glob("*.reply")
    assert file.stat().st_mode & 0o777 == 0o600
    assert b"masked" not in file.read_bytes()
    file.write_bytes(file.read_bytes()[:-1] + b"x")
    with pytest.raises(KeySetupRefused, match="cannot be read"):
        reply.of(ROUND, OFFER, "train.update")
    os.unlink(tmp_path / "reply" / WRAPPING_KEY)
    with pytest.raises(KeySetupRefused, match="destroyed"):
        reply.of(ROUND, OFFER, "train.update")
