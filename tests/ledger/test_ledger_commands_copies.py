"""`artesian ledger export`, `mirror`, `backup`, `restore`, `handover`, `evidence`: the ledger outlives its server."""

import shutil
from pathlib import Path

import pytest
from command_world import MEMBERS, Homes, done, facts, refused, run

from ledger.evidence import notes_evidence
from ledger.homes import database_of, log_key_of
from ledger.keys import SigningKey
from ledger.log import Log


@pytest.fixture(scope="module")
def founded(tmp_path_factory: pytest.TempPathFactory) -> Homes:
    return Homes.witnessed(tmp_path_factory.mktemp("homes"))


@pytest.fixture
def homes(founded: Homes, tmp_path: Path) -> Homes:
    """A consortium whose members have witnessed everything; the service is gone."""
    return founded.copied(tmp_path)


def test_anyone_rebuilds_the_ledger_from_a_copy(homes: Homes, tmp_path: Path) -> None:
    copy, out = tmp_path / "copy", tmp_path / "mirror.db"
    assert facts("export", copy, "--home", homes["firm-1"])["new"] == 5
    assert facts("export", copy, "--home", homes["firm-1"])["new"] == 0
    made = facts("mirror", copy, "--out", out, "--founding", homes.founding)
    assert (made["size"], made["final_size"], made["cid"]) == (5, 5, "c-1")
    again = facts("mirror", homes.coordinator, "--out", out, "--policy", homes["firm-1"] / "policy.txt")
    assert again["founding"] == homes.founding
    assert "Nothing is wrong." in done("audit", "--db", out, "--policy", homes["firm-1"] / "policy.txt")
    assert [path.name for path in tmp_path.glob(".mirror*")] == []


def test_a_copy_that_is_not_believed(homes: Homes, tmp_path: Path) -> None:
    copy, out = tmp_path / "copy", tmp_path / "mirror.db"
    done("export", copy, "--home", homes["firm-1"])
    refused("mirror", copy, "--out", out)
    refused("mirror", copy, "--out", out, "--founding", "1234", code=1)
    refused("mirror", tmp_path / "none", "--out", out, "--founding", homes.founding)
    refused("mirror", "127.0.0.1:9", "--out", out, "--founding", homes.founding)
    assert "in a file" in refused("mirror", copy, "--out", "postgresql://x@h/l", "--founding", homes.founding)
    other = Homes.found(tmp_path / "other")
    refused("mirror", copy, "--out", out, "--policy", other.coordinator / "policy.txt", code=1)
    for file in copy.rglob("entries/*/*"):
        raw = bytearray(file.read_bytes())
        raw[len(raw) // 2] ^= 1
        file.write_bytes(bytes(raw))
    refused("mirror", copy, "--out", out, "--policy", homes["firm-1"] / "policy.txt", code=1)
    assert not out.exists()


def test_the_members_mirrors_are_asked_over_the_network_too(homes: Homes, tmp_path: Path) -> None:
    with homes.served() as address:
        ask = ["mirror", address, "--out", tmp_path / "m.db", "--founding", homes.founding]
        assert "give --home" in refused(*ask)
        assert facts(*ask, "--home", homes["bank-1"])["final_size"] == 5


def test_a_member_rebuilds_its_own_mirror(homes: Homes) -> None:
    (homes["bank-1"] / "mirror.db").unlink()
    refused("mirror", homes["firm-1"])
    assert facts("mirror", homes["firm-1"], "--home", homes["bank-1"])["final_size"] == 5
    with homes.served(["bank-1"]):
        pass
    assert facts("handover", "status", "--home", homes["bank-1"])["member"] == "bank-1"


@pytest.mark.postgresql
def test_a_ledger_in_postgresql(tmp_path: Path, postgres_url: str) -> None:
    homes = Homes.found(tmp_path, "--db", postgres_url)
    assert not (homes.coordinator / "ledger.db").exists()
    assert facts("show", "--home", homes.coordinator)["size"] == 5
    assert "pg_dump" in refused("backup", tmp_path / "b", "--home", homes.coordinator)
    again = ["--cid", "c-2", "--members", tmp_path / "members.toml", "--db", postgres_url]
    assert "already there" in refused("init", "--home", tmp_path / "second", *again)
    assert not (tmp_path / "second").exists()
    with homes.served() as address:
        for name in MEMBERS:
            where = ["--address", address, "--founding", homes.founding, "--once"]
            done("witness", "--home", homes[name], *where)
    assert facts("audit", "--home", homes.coordinator)["final_size"] == 5
    assert facts("mirror", homes.coordinator, "--out", tmp_path / "m.db", "--founding", homes.founding)["size"] == 5


def test_a_backup_is_a_ledger(homes: Homes, tmp_path: Path) -> None:
    copy = tmp_path / "backup.db"
    with homes.served():
        assert facts("backup", copy, "--home", homes.coordinator)["size"] == 5
    done("audit", "--db", copy, "--policy", homes["firm-1"] / "policy.txt")
    assert f"--policy {homes['firm-1']}/policy.txt" in done("backup", tmp_path / "b", "--home", homes["firm-1"])
    assert "already" in refused("backup", copy, "--home", homes.coordinator)
    refused("backup", tmp_path / "x", "--home", tmp_path)


def test_a_lost_database_is_restored_from_a_member(homes: Homes) -> None:
    restore = ["restore", homes["firm-2"], "--home", homes.coordinator]
    refused(*restore)
    (homes.coordinator / "ledger.db").unlink()
    assert facts(*restore)["final_size"] == 5
    with homes.served(MEMBERS):
        pass
    assert "Nothing is wrong." in done("audit", "--home", homes.coordinator)


def test_restoring_needs_to_know_what_may_be_believed(homes: Homes, tmp_path: Path) -> None:
    (homes.coordinator / "ledger.db").unlink()
    other = Homes.witnessed(tmp_path / "other")
    refused("restore", other["firm-1"], "--home", homes.coordinator, code=1)
    (homes.coordinator / "ledger.toml").unlink()
    assert "founding" in refused("restore", homes["firm-1"], "--home", homes.coordinator)
    assert not (homes.coordinator / "ledger.db").exists()


def test_a_quorum_hands_the_log_over(homes: Homes, tmp_path: Path) -> None:
    sequencer, proposal = tmp_path / "sequencer", tmp_path / "handover.proposal"
    done("handover", "propose", "--home", homes["firm-1"], "--to", sequencer, "--out", proposal)
    refused("members", "approve", proposal, "--home", homes["firm-1"], "--yes")
    start = ["handover", "start", proposal, "--home", homes["firm-1"], "--to", sequencer]
    refused(*start, code=1)
    assert "nobody is here" in run("handover", "approve", proposal, "--home", homes["firm-1"])[2]
    for name in MEMBERS[:3]:
        approved = facts("handover", "approve", proposal, "--home", homes[name], "--yes")
    assert approved["approved"] == list(MEMBERS[:3])
    assert facts("handover", "status", "--home", homes["firm-2"])["promise"]["size"] == 5
    assert facts(*start)["size"] == 6
    lost, homes.coordinator = homes.coordinator, sequencer
    with homes.served(MEMBERS):
        homes.witness()
    done("policy", "--home", sequencer, "--write")
    assert facts("audit", "--home", sequencer)["final_size"] == 6
    code, out, _ = run("handover", "status", "--home", lost, homes["firm-1"])
    assert (code, "goes on elsewhere" in out) == (1, True)
    assert facts("handover", "status", "--home", sequencer, homes["firm-1"])["replaced_by"] is None


def test_members_bring_each_other_up_before_a_handover(homes: Homes, tmp_path: Path) -> None:
    """Two of four have cosigned the last entry when the service dies: no quorum, until all have the others' copies."""
    with homes.served():
        where = ["--home", homes["firm-2"], "--subject", "s", "--file", tmp_path / "members.toml"]
        done("attest", *where, "--wait", 0)
        homes.witness(MEMBERS[:2])
    early = ["--to", tmp_path / "s", "--out", tmp_path / "early.proposal"]
    assert "are final" in refused("handover", "propose", "--home", homes["firm-1"], *early, code=1)
    copies = {name: tmp_path / f"copy-{name}" for name in MEMBERS}
    for _ in range(2):
        for name, copy in copies.items():
            done("export", copy, "--home", homes[name])
        for name in MEMBERS:
            done("handover", "bring-up", *[c for other, c in copies.items() if other != name], "--home", homes[name])
    for name in MEMBERS:
        assert facts("handover", "status", "--home", homes[name])["final_size"] == 6
    refused("handover", "bring-up", tmp_path / "none", "--home", homes["firm-1"])
    refused("handover", "bring-up", copies["firm-1"], "--home", homes.coordinator)


def test_a_fork_is_kept_and_convicts(homes: Homes, tmp_path: Path) -> None:
    """The coordinator goes on twice from the same entries; firm-1 sees both, and a stranger needs only its file."""
    shutil.copy(homes.coordinator / "ledger.db", tmp_path / "old.db")
    for history in ("a", "b"):
        artifact = tmp_path / f"{history}.txt"
        artifact.write_text(history)
        with homes.served() as address:
            where = ["--home", homes["firm-2"], "--address", address]
            done("attest", *where, "--subject", "s", "--file", artifact, "--wait", 0)
            witnessed = run("witness", "--home", homes["firm-1"], "--address", address, "--once")
        (homes.coordinator / "ledger.db").unlink()
        shutil.copy(tmp_path / "old.db", homes.coordinator / "ledger.db")
    assert (witnessed[0], "fork" in witnessed[2]) == (1, True)
    kept = facts("evidence", "--home", homes["firm-1"], "--out", tmp_path / "kept")["kept"]
    assert [one["kind"] for one in kept] == ["fork"]
    file = tmp_path / "kept" / kept[0]["name"]
    proved = facts("evidence", file, "--policy", homes["bank-1"] / "policy.txt")
    assert (proved["ok"], proved["kind"]) == (True, "fork")
    assert "signed two histories" in done("evidence", file, "--policy", homes["bank-1"] / "policy.txt")


def test_evidence_of_nothing(homes: Homes, tmp_path: Path) -> None:
    assert facts("evidence", "--home", homes["firm-1"])["kept"] == []
    with Log.open(database_of(homes.coordinator), SigningKey.load(log_key_of(homes.coordinator))) as log:
        note = log.checkpoint()
    file, policy = tmp_path / "two.evidence", homes["firm-1"] / "policy.txt"
    file.write_bytes(notes_evidence(note, note))
    code, out, _ = run("evidence", file, "--policy", policy)
    assert (code, "proves nothing" in out) == (1, True)
    file.write_bytes(b"none")
    refused("evidence", file, "--policy", policy)
    refused("evidence", file)
