"""A database of another release is refused as it is; an export carries its ledger over."""

import shutil
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
from command_world import MEMBERS, Homes, done, facts, refused

from ledger.release import this_release
from ledger.schema import SCHEMA_VERSION, row_crc32


@pytest.fixture(scope="module")
def founded(tmp_path_factory: pytest.TempPathFactory) -> Homes:
    return Homes.witnessed(tmp_path_factory.mktemp("homes"))


@pytest.fixture
def homes(founded: Homes, tmp_path: Path) -> Homes:
    return founded.copied(tmp_path)


def change_fact(path: Path, fact: str, value: str) -> None:
    with closing(sqlite3.connect(path)) as database, database:
        row = (value, row_crc32(fact, value), fact)
        assert database.execute("UPDATE meta SET value = ?, crc32 = ? WHERE key = ?", row).rowcount == 1


def test_an_older_schema_is_refused_and_not_touched(homes: Homes) -> None:
    for home, file in ((homes.coordinator, "ledger.db"), (homes["bank-1"], "mirror.db")):
        change_fact(home / file, "schema", "2")
        change_fact(home / file, "release", "0.0.9")
        before = (home / file).read_bytes()
        commands: list[list[object]] = [["audit"], ["show"], ["members"], ["export", homes.folder / "copy"]]
        commands += [["serve"], ["members", "rotate-log"]] if file == "ledger.db" else [["witness", "--once"]]
        for command in commands:
            said = refused(*command, "--home", home)
            assert f"{file}: artesian 0.0.9 made it with schema '2'" in said
            assert f"this is artesian {this_release()}, which reads {SCHEMA_VERSION!r}" in said
            assert "ledger export FOLDER, here artesian ledger restore FOLDER" in said
        assert (home / file).read_bytes() == before
        assert {path.name for path in home.glob(f"{file}*")} <= {file, f"{file}.lock"}
    assert not (homes.folder / "copy").exists()


def test_a_database_that_does_not_say_who_made_it(homes: Homes) -> None:
    path = homes.coordinator / "ledger.db"
    with closing(sqlite3.connect(path)) as database, database:
        database.execute("DELETE FROM meta WHERE key = 'release'")
    assert facts("audit", "--home", homes.coordinator)["ok"]
    change_fact(path, "schema", "99")
    assert "of an unknown version made it with schema '99'" in refused("show", "--home", homes.coordinator)


def test_what_the_other_release_exported_goes_on_here(homes: Homes, monkeypatch: pytest.MonkeyPatch) -> None:
    """As docs/ledger.md, Upgrading: entries, cosignatures, what is final and the policy are carried over."""
    before = facts("audit", "--home", homes.coordinator)
    policy, copies = done("policy", "--home", homes["firm-1"]), {}
    for name in ("coordinator", *MEMBERS):
        copies[name] = homes.folder / f"{name}-copy"
        done("export", copies[name], "--home", homes[name])
    monkeypatch.setattr("ledger.database.SCHEMA_VERSION", "99")
    refused("serve", "--home", homes.coordinator)
    (homes.coordinator / "ledger.db").rename(homes.coordinator / "before.db")
    assert facts("restore", copies["coordinator"], "--home", homes.coordinator)["final_size"] == 5
    for name in MEMBERS:
        (homes[name] / "mirror.db").rename(homes[name] / "before.db")
        assert facts("mirror", copies[name], "--home", homes[name])["final_size"] == 5
    after = facts("audit", "--home", homes.coordinator)
    assert after == before
    with homes.served(MEMBERS) as address:
        where = ["--home", homes["firm-2"], "--address", address, "--wait", 0]
        done("attest", *where, "--subject", "s", "--file", homes.folder / "members.toml")
        homes.witness()
    assert facts("audit", "--home", homes.coordinator)["final_size"] == 6
    assert done("policy", "--home", homes["firm-1"]) == policy


def test_an_export_says_what_no_checkpoint_covers_yet(homes: Homes) -> None:
    """A log that was killed before it signed a checkpoint: the copy lacks what is acknowledged."""
    path, whole = homes.coordinator / "ledger.db", homes.folder / "whole.db"
    with homes.served() as address:
        where = ["--home", homes["firm-2"], "--address", address, "--wait", 0]
        done("attest", *where, "--subject", "s", "--file", homes.folder / "members.toml")
    shutil.copy(path, whole)
    with closing(sqlite3.connect(path)) as database, database:
        database.execute("DELETE FROM checkpoints WHERE size = 6")
    said = done("export", homes.folder / "copy", "--home", homes.coordinator)
    assert "1 more have no checkpoint yet and are left out: start serve" in said
    shutil.copy(whole, path)
    assert facts("export", homes.folder / "copy", "--home", homes.coordinator)["without_checkpoint"] == 0
