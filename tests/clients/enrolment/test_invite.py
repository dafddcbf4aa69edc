"""An invite comes through whole or not at all, and pins the consortium's CA."""

from dataclasses import replace
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given
from hypothesis import strategies as st
from join_world import JoinWorld

from clients.enrolment.errors import BadInvite
from clients.enrolment.invite import PREFIX, Invite, read_invite
from clients.errors import ClientError

SLUG = st.from_regex("[a-z0-9][a-z0-9-]{0,20}", fullmatch=True)


@cache
def invite() -> Invite:
    with TemporaryDirectory() as folder:
        world = JoinWorld(Path(folder), ("firm-1",))
        world.close()
        return world.invites["firm-1"]


@given(
    cid=SLUG,
    member=SLUG,
    kind=st.sampled_from(["firm", "bank"]),
    name=st.text(st.characters(codec="utf-8"), min_size=1, max_size=60),
    desk=st.text("abc.:-0123456789", min_size=1, max_size=40),
    token=st.binary(min_size=32, max_size=32),
    policy=st.binary(min_size=32, max_size=32),
    until_s=st.integers(0, 2**40),
)
def test_what_is_written_is_read(**fields: object) -> None:
    made = replace(invite(), **fields)  # type: ignore[arg-type]
    assert Invite.parse(made.line()) == made
    broken = "\n".join(made.line()[place : place + 60] for place in range(0, len(made.line()), 60))
    assert Invite.parse(f"  {broken}\r\n") == made


@given(st.data())
def test_any_byte_that_is_flipped_is_noticed(data: st.DataObject) -> None:
    line = bytearray(invite().line().encode())
    place = data.draw(st.integers(0, len(line) - 1))
    line[place] ^= data.draw(st.integers(1, 255))
    with pytest.raises(BadInvite):
        Invite.parse(line.decode("latin-1"))


@given(st.data())
def test_any_letter_that_is_lost_doubled_or_exchanged_is_noticed(data: st.DataObject) -> None:
    line = invite().line()
    place = data.draw(st.integers(0, len(line) - 2))
    for wrong in (
        line[:place] + line[place + 1 :],
        line[:place] + line[place] + line[place:],
        line[:place] + line[place + 1] + line[place] + line[place + 2 :],
    ):
        if wrong != line:
            with pytest.raises(BadInvite):
                Invite.parse(wrong)


@given(st.text(max_size=300))
def test_other_text_is_no_invite(text: str) -> None:
    for given_text in (text, PREFIX + text):
        with pytest.raises(ClientError):
            Invite.parse(given_text)


def test_it_is_read_from_a_file_too(tmp_path: Path) -> None:
    (tmp_path / "invite.txt").write_text(f"{invite().line()}\n")
    assert read_invite(str(tmp_path / "invite.txt")) == read_invite(invite().line()) == invite()
    for wrong in (tmp_path / "none.txt", tmp_path):
        with pytest.raises(BadInvite, match="neither an invite nor a file"):
            read_invite(str(wrong))
    (tmp_path / "binary").write_bytes(bytes(range(256)))
    with pytest.raises(BadInvite):
        read_invite(str(tmp_path / "binary"))


def test_the_fingerprint_is_of_the_certificate_that_it_carries() -> None:
    import hashlib

    assert invite().fingerprint == hashlib.sha256(invite().authority).hexdigest()
    with pytest.raises(BadInvite, match="CA certificate"):
        Invite.parse(replace(invite(), authority=b"no certificate").line())
