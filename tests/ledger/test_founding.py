"""Founding: all of a home or nothing, the members' own blocks, and one fingerprint that covers everybody."""

import dataclasses
from pathlib import Path

import pytest
from consortium_simulator import key_of

from ledger.errors import StoreError
from ledger.founding import Founded, FoundingError, WrongFounding, found, founding_of
from ledger.genesis import Founder
from ledger.homes import HomeError, Settings, database_of, log_key_of, member_of
from ledger.keys import SigningKey
from ledger.log import Log
from ledger.member_file import member_block, read_members
from ledger.rules import CLASSICAL, HYBRID, Refused, commitment
from ledger.store import Store

FOUNDERS = [Founder(name, "firm", key_of(name).public, name.title()) for name in ("firm-1", "firm-2", "firm-3")]


def make(home: Path, founders: list[Founder] = FOUNDERS, **settings: object) -> Founded:
    return found(home, "c-1", founders, **{"min_cohort": 2, "signatures": CLASSICAL, **settings})  # type: ignore[arg-type]


def test_a_home_has_all_that_a_sequencer_needs(tmp_path: Path) -> None:
    home = tmp_path / "deep" / "coordinator"
    made = make(home)
    assert Settings.load(home) == Settings("coordinator", "c-1", "artesian/c-1", "ledger.db", made.fingerprint)
    assert member_of(home) == "coordinator"
    with Log.open(database_of(home), SigningKey.load(log_key_of(home))) as log:
        assert log.policy.text() == (home / "policy.txt").read_text()
        assert log.entries(0, log.size) == list(made.entries)
        assert log.state.log is not None
        assert log.state.log.next == commitment(SigningKey.load(home / "next-log.pem").public)
        assert log.state.coordinator == SigningKey.load(home / "signing.pem").public
        assert founding_of(log.origin, log.entries(0, log.size)).log == log.vkey
    assert home.stat().st_mode & 0o077 == 0
    assert not [path for path in home.parent.iterdir() if path != home]


def test_a_hybrid_consortium_has_hybrid_keys(tmp_path: Path) -> None:
    with pytest.raises(Refused):
        make(tmp_path / "c", signatures=HYBRID)
    assert list(tmp_path.iterdir()) == []
    hybrid = [dataclasses.replace(one, key=SigningKey.generate(hybrid=True).public) for one in FOUNDERS]
    make(tmp_path / "c", hybrid, signatures=HYBRID)
    assert SigningKey.load(tmp_path / "c" / "signing.pem").public.is_hybrid


@pytest.mark.parametrize(
    "founders",
    [
        [FOUNDERS[0], FOUNDERS[0]],
        [FOUNDERS[0], dataclasses.replace(FOUNDERS[1], key=FOUNDERS[0].key)],
        [dataclasses.replace(FOUNDERS[0], member="coordinator")],
    ],
)
def test_nothing_half_made_is_left(tmp_path: Path, founders: list[Founder]) -> None:
    with pytest.raises((FoundingError, Refused)):
        make(tmp_path / "c", founders)
    assert list(tmp_path.iterdir()) == []


def test_a_home_is_founded_once(tmp_path: Path) -> None:
    make(tmp_path / "c")
    kept = (tmp_path / "c" / "signing.pem").read_bytes()
    with pytest.raises(FoundingError):
        make(tmp_path / "c")
    assert (tmp_path / "c" / "signing.pem").read_bytes() == kept
    (tmp_path / "empty").mkdir()
    make(tmp_path / "empty")


def test_a_disk_that_fails_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Log, "checkpoint", lambda _: (_ for _ in ()).throw(OSError(28, "No space left on device")))
    with pytest.raises(OSError, match="No space"):
        make(tmp_path / "c")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.postgresql
def test_a_server_that_fails_is_left_as_it_was(
    tmp_path: Path, postgres_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(Log, "checkpoint", lambda _: (_ for _ in ()).throw(OSError(28, "No space left on device")))
        with pytest.raises(OSError, match="No space"):
            make(tmp_path / "c", database=postgres_url)
    assert list(tmp_path.iterdir()) == []
    make(tmp_path / "c", database=postgres_url)
    kept = (tmp_path / "c" / "log.pem").read_bytes()
    with pytest.raises(StoreError, match="already there"):
        make(tmp_path / "d", database=postgres_url)
    with Log.open(database_of(tmp_path / "c"), SigningKey.load(log_key_of(tmp_path / "c"))) as log:
        assert log.size == 4
    assert (tmp_path / "c" / "log.pem").read_bytes() == kept


def test_the_fingerprint_covers_the_founding_and_no_more(tmp_path: Path) -> None:
    made = make(tmp_path / "c")
    other = make(tmp_path / "d")
    assert made.fingerprint != other.fingerprint
    known = founding_of(made.origin, made.entries)
    assert (known.cid, known.size, known.fingerprint) == ("c-1", 4, made.fingerprint)
    assert founding_of("artesian/c-2", made.entries).fingerprint != made.fingerprint
    assert founding_of(made.origin, [*made.entries, made.entries[0]]) == known
    known.require(made.fingerprint.upper().replace("-", " "))
    with pytest.raises(WrongFounding, match="another log"):
        known.require(other.fingerprint)
    for entries in ([], made.entries[:-1], made.entries[1:]):
        with pytest.raises(WrongFounding):
            founding_of(made.origin, entries)
    assert [len(group) for group in made.fingerprint.split("-")] == [4] * 16


def test_member_blocks_are_read_back(tmp_path: Path) -> None:
    named = dataclasses.replace(FOUNDERS[1], name='A "quoted" näme\n\x7f', kind="bank")
    path = tmp_path / "members.toml"
    path.write_text(member_block(FOUNDERS[0]) + member_block(named), encoding="utf-8")
    assert read_members(path) == [FOUNDERS[0], named]


BLOCK = member_block(FOUNDERS[0])


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "[[member]] blocks are expected"),
        ("[[member]", "not valid TOML"),
        ("member = 3", "[[member]] blocks are expected"),
        ("member = [3]", "member 1: needs the texts"),
        (BLOCK + 'more = "x"\n', "member 1: needs the texts"),
        (BLOCK + "[other]\n", "nothing else"),
        (BLOCK.replace('"firm-1"', '"Firm 1"'), "member 1: id 'Firm 1'"),
        (BLOCK.replace('"firm"', '"shop"'), "kind 'shop'"),
        (BLOCK.replace('"Firm-1"', '""'), "name must be"),
        (BLOCK.replace('key = "', 'key = "!'), "not Base 64"),
        (BLOCK.replace('key = "', 'key = "AAAA'), "a public key has"),
    ],
)
def test_a_wrong_block_is_named(tmp_path: Path, text: str, words: str) -> None:
    path = tmp_path / "members.toml"
    path.write_text(text)
    with pytest.raises(HomeError) as refused:
        read_members(path)
    assert str(refused.value).startswith(str(path))
    assert words in str(refused.value)
    assert "\n" not in str(refused.value)


def test_homes_say_what_is_wrong_with_them(tmp_path: Path) -> None:
    with pytest.raises(HomeError, match="holds neither"):
        database_of(tmp_path)
    assert member_of(tmp_path) == ""
    Store(tmp_path / "mirror.db").create({})
    assert database_of(tmp_path) == str(tmp_path / "mirror.db")
    (tmp_path / "ledger.toml").write_text('database = "postgresql://host/name"')
    assert database_of(tmp_path) == "postgresql://host/name"
    (tmp_path / "ledger.toml").write_text("databse = 3")
    with pytest.raises(HomeError, match="unknown key 'databse'"):
        Settings.load(tmp_path)
    (tmp_path / "ledger.toml").write_text("database = 3")
    with pytest.raises(HomeError, match="text in quotes"):
        Settings.load(tmp_path)
    (tmp_path / "ledger.toml").write_bytes(b"\xff")
    with pytest.raises(HomeError, match="not valid TOML"):
        Settings.load(tmp_path)
