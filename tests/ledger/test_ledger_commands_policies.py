"""Receipts outlive members and keys: every policy that was in force is kept, found again, and picked by `verify`."""

import threading
import time
from pathlib import Path

import pytest
from command_world import MEMBERS, Homes, done, facts, refused, run

from ledger.electorate import Membership
from ledger.homes import database_of, log_key_of
from ledger.keys import SigningKey
from ledger.log import Log
from ledger.policy import Policy
from ledger.service.server import serving

NOT_OF_NOW = "The policy is not that of the members and the log's key of now."
STAYING = ("firm-1", "firm-2", "bank-1")


class World(Homes):
    """Homes whose firm-3 was suspended (entry 6) and whose log changed its key (entry 7), with a receipt of each time.

    Attested in order: entry 5, by all four; entry 8, after both changes.
    """

    @classmethod
    def changed(cls, folder: Path) -> "World":
        homes = cls.witnessed(folder)
        homes.attest("old")
        proposal = folder / "suspend.proposal"
        who = ["--member", "firm-3", "--reason", "closed", "--out", proposal]
        done("members", "propose", "suspend", "--home", homes["firm-1"], *who)
        for name in STAYING:
            done("members", "approve", proposal, "--home", homes[name], "--yes")
        done("members", "submit", proposal, "--home", homes.coordinator)
        with homes.served(STAYING):
            homes.witness(STAYING)
        done("members", "rotate-log", "--home", homes.coordinator)
        with homes.served(STAYING):
            homes.witness(STAYING)
        homes.attest("new", STAYING)
        return homes

    def attest(self, name: str, witnesses: tuple[str, ...] = MEMBERS) -> None:
        file = self.file(name)
        file.write_text(name)
        asked = ["attest", "--home", self["firm-1"], "--subject", name, "--file", file, "--wait", 0]
        with self.served():
            done(*asked)
            self.witness(witnesses)
            self.witness(witnesses)
            assert facts(*asked)["final"]

    def file(self, name: str) -> Path:
        return self.folder / f"{name}.txt"

    def proof(self, name: str) -> list[object]:
        return [f"{self.file(name)}.receipt", "--statement", f"{self.file(name)}.statement", "--policy"]

    def kept(self, home: str) -> dict[str, str]:
        return {file.name: file.read_text() for file in sorted((self[home] / "policies").iterdir())}


@pytest.fixture(scope="module")
def changed(tmp_path_factory: pytest.TempPathFactory) -> World:
    return World.changed(tmp_path_factory.mktemp("homes"))


@pytest.fixture
def homes(changed: World, tmp_path: Path) -> World:
    return World(changed.copied(tmp_path).folder)


def test_a_witness_keeps_every_policy_that_was_in_force(homes: World) -> None:
    kept = homes.kept("firm-1")
    assert list(kept) == ["5.txt", "7.txt", "8.txt"]
    assert kept["8.txt"] == (homes["firm-1"] / "policy.txt").read_text()
    assert kept == homes.kept("bank-1")
    assert [len(Policy.parse(text).witnesses) for text in kept.values()] == [4, 3, 3]
    assert [len(Policy.parse(text).logs) for text in kept.values()] == [1, 1, 2]


def test_a_receipt_holds_by_a_folder_of_policies_whatever_came_later(homes: World) -> None:
    folder = homes["bank-1"] / "policies"
    assert facts("verify", *homes.proof("old"), folder)["policy"] == str(folder / "5.txt")
    assert facts("verify", *homes.proof("new"), folder)["policy"] == str(folder / "8.txt")
    assert f"The receipt holds by the policy {folder / '5.txt'}." in done("verify", *homes.proof("old"), folder)
    assert facts("verify", *homes.proof("old"), homes["bank-1"])["policy"] == str(folder / "5.txt")
    (homes.folder / "empty").mkdir()
    assert "holds no policy" in refused("verify", *homes.proof("old"), homes.folder / "empty")
    (homes["bank-1"] / "policies" / "notes.txt").write_text("bill of lading")
    assert "notes.txt: policy line 1" in refused("verify", *homes.proof("old"), folder)


def test_a_policy_of_another_time_says_how_to_get_the_right_one(homes: World) -> None:
    """As the user does it: the line that `verify` prints names the command that mends it."""
    today, right = homes["bank-1"] / "policy.txt", homes.folder / "right.txt"
    for name, wrong, size in (("old", today, 6), ("new", homes["bank-1"] / "policies" / "5.txt", 9)):
        line = refused("verify", *homes.proof(name), wrong, code=1)
        assert f"artesian ledger policy --at {size} --home HOME" in line
        right.write_text(done("policy", "--at", size, "--home", homes["firm-2"]))
        done("verify", *homes.proof(name), right)


def test_every_home_and_copy_knows_the_policy_of_any_time(homes: World, tmp_path: Path) -> None:
    kept = homes.kept("firm-1")
    out, copy = tmp_path / "out.txt", tmp_path / "copy.db"
    done("backup", copy, "--home", homes.coordinator)
    for where in (["--home", homes.coordinator], ["--home", homes["bank-1"]], ["--db", copy]):
        for at, name in ((5, "5.txt"), (6, "5.txt"), (7, "7.txt"), (8, "8.txt"), (9, "8.txt")):
            assert done("policy", "--at", at, *where) == kept[name]
    known = facts("policy", "--at", 6, "--home", homes["firm-1"], "--out", out)
    assert (known["since"], known["policy"]) == (5, kept["5.txt"])
    assert out.read_text() == kept["5.txt"]
    assert "already" in refused("policy", "--home", homes["firm-1"], "--out", out)
    assert "founding was complete with 5" in refused("policy", "--at", 4, "--home", homes["firm-1"])
    assert "9 entries are final here" in refused("policy", "--at", 10, "--home", homes["firm-1"])
    assert facts("policy", "--at", 6, "--home", homes["firm-3"])["since"] == 5  # its mirror ends before the changes
    refused("policy", "--at", 7, "--home", homes["firm-3"])


def test_a_home_that_kept_none_gets_them_all_at_once(homes: World) -> None:
    kept = homes.kept("firm-1")
    assert not (homes.coordinator / "policies").exists()
    done("policy", "--write", "--home", homes.coordinator)
    assert homes.kept("coordinator") == kept
    assert (homes.coordinator / "policy.txt").read_text() == kept["8.txt"]
    done("policy", "--at", 6, "--write", "--home", homes.coordinator)
    assert (homes.coordinator / "policy.txt").read_text() == kept["8.txt"]
    for file in (homes["firm-1"] / "policies").iterdir():
        file.unlink()
    with homes.served():
        homes.witness(["firm-1"])
    assert homes.kept("firm-1") == kept


def test_a_kept_policy_is_never_overwritten(homes: World) -> None:
    first = homes["firm-1"] / "policies" / "5.txt"
    first.write_text(first.read_text() + "# seen\n")
    assert f"{first}: is there already" in refused("policy", "--write", "--home", homes["firm-1"])
    assert first.read_text().endswith("# seen\n")
    (homes["firm-1"] / "policy.txt").write_text("")
    with homes.served():
        homes.witness(["firm-1"])
    assert (homes["firm-1"] / "policy.txt").read_text() == homes.kept("bank-1")["8.txt"]


def test_a_witness_goes_on_where_a_policy_cannot_be_kept(homes: World) -> None:
    folder = homes["firm-1"] / "policies"
    (folder / "8.txt").unlink()
    (folder / "7.txt").write_text("of another release\n")
    with homes.served() as address:
        out = done("witness", "--home", homes["firm-1"], "--address", address, "--once")
    assert "firm-1 cosigned 9 entries" in out
    assert (folder / "7.txt").read_text() == "of another release\n"


def test_the_policy_of_its_time_stays_beside_a_receipt(homes: World) -> None:
    kept = homes.kept("bank-1")
    for name, since in (("old", "5.txt"), ("new", "8.txt")):
        beside = homes.file(name).with_name(f"{name}.txt.policy")
        assert beside.read_text() == kept[since]
        done("verify", *homes.proof(name), beside)


def test_a_receipt_asked_for_again_gets_the_policy_of_today(homes: World) -> None:
    """Also while the witness of the home has not caught up: the policy is the one of the receipt's size."""
    beside = homes.folder / "old.txt.policy"
    asked = ["attest", "--home", homes["firm-1"], "--subject", "old", "--file", homes.file("old"), "--wait", 0]
    with homes.served():
        assert facts(*asked)["policy"] == str(beside)
        assert beside.read_text() == homes.kept("bank-1")["8.txt"]
        (homes["firm-1"] / "policy.txt").write_text(homes.kept("bank-1")["5.txt"])
        assert f"Policy: {beside}" in done(*asked)
        out = homes.folder / "proofs"
        done("trace", "old", "--home", homes["firm-2"], "--proofs", out)
    proof = [out / "5.receipt", "--statement", out / "5.statement", "--policy"]
    done("verify", *proof, out / "5.policy")


def test_a_running_service_says_who_belongs_as_soon_as_it_is_final(homes: World) -> None:
    """One after the other, however long the listener takes: the later membership is the one that it ends with."""
    told, slow = list[Membership](), threading.Event()

    def hear(settled: Membership) -> None:
        if settled.since == 8:
            slow.wait(30)
        told.append(settled)

    key = SigningKey.load(log_key_of(homes.coordinator))
    proposal = homes.folder / "again.proposal"
    block = ["--from", homes["firm-3"] / "member.toml", "--out", proposal]
    done("members", "propose", "enrol", "--home", homes["firm-1"], *block)
    for name in STAYING:
        done("members", "approve", proposal, "--home", homes[name], "--yes")
    done("members", "submit", proposal, "--home", homes.coordinator)
    log = Log.open(database_of(homes.coordinator), key)
    with serving(log, key, on_settled=hear) as server:
        where = ["--address", server.address, "--once"]
        for name in STAYING:
            done("witness", "--home", homes[name], *where)
        done("witness", "--home", homes["firm-1"], *where)
        time.sleep(0.3)
        assert told == []
        slow.set()
        end_s = time.monotonic() + 60
        while len(told) < 2 and time.monotonic() < end_s:
            time.sleep(0.01)
    assert [one.since for one in told] == [8, 10]
    assert [len(one.members) for one in told] == [3, 4]


def test_an_audit_with_a_policy_of_before_names_the_command_that_renews_it(homes: World) -> None:
    home, older = homes.coordinator, homes["bank-1"] / "policies" / "7.txt"
    code, out, _ = run("audit", "--home", home)  # it has the policy of the founding, and the log another key
    renewing = out.splitlines()[-1].removeprefix(f"{NOT_OF_NOW} Next: artesian ledger ").split()
    assert (code, renewing) == (1, ["policy", "--home", str(home), "--write"])
    done(*renewing)
    assert NOT_OF_NOW not in done("audit", "--home", home)
    assert facts("audit", "--home", home)["next"] is None
    given = facts("audit", "--home", home, "--policy", older, code=1)
    assert given["next"] == f"artesian ledger policy --home {home} --out FILE"
    copied = facts("audit", "--db", home / "ledger.db", "--policy", older, code=1)
    assert copied["next"] == f"artesian ledger policy --db {home}/ledger.db --out FILE"


def test_an_audit_of_a_change_that_is_not_final_says_what_it_waits_for(homes: World) -> None:
    home = homes.coordinator
    done("members", "rotate-log", "--home", home)
    done("policy", "--home", home, "--write")
    code, out, _ = run("audit", "--home", home)
    assert (code, NOT_OF_NOW in out) == (1, False)
    waiting = f"Let the members' witnesses cosign that; then: artesian ledger policy --home {home} --write"
    assert out.splitlines()[-1].endswith(waiting)
    with homes.served(STAYING):
        homes.witness(STAYING)
    done("policy", "--home", home, "--write")
    assert facts("audit", "--home", home)["next"] is None


def test_an_audit_that_finds_nothing_wrong_tells_of_members_who_came_since(homes: World) -> None:
    done("policy", "--home", homes.coordinator, "--write")
    present = (homes.coordinator / "policy.txt").read_text()
    fewer = [line for line in present.splitlines() if not line.startswith("witness firm-1 ")]
    (homes.coordinator / "policy.txt").write_text("\n".join(fewer).replace("2 bank-1 firm-1", "2 bank-1"))
    out = done("audit", "--home", homes.coordinator)
    assert "Nothing is wrong." in out
    assert NOT_OF_NOW in out
