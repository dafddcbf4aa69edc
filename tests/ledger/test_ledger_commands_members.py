"""`artesian ledger init` and `members`: founding, and every change of keys and membership, as people do them."""

from pathlib import Path

import pytest
from command_world import MEMBERS, Homes, done, facts, refused, run

from ledger.homes import SIGNING_KEY
from ledger.keys import SigningKey
from ledger.member_file import read_members


@pytest.fixture(scope="module")
def founded(tmp_path_factory: pytest.TempPathFactory) -> Homes:
    return Homes.witnessed(tmp_path_factory.mktemp("homes"))


@pytest.fixture
def homes(founded: Homes, tmp_path: Path) -> Homes:
    """A founded consortium; every member has a mirror, and the home of an outsider, firm-9, has a key."""
    made = founded.copied(tmp_path)
    done("members", "key", "--home", tmp_path / "firm-9", "--member", "firm-9", "--name", "Nine Ltd")
    return made


def carry(homes: Homes, proposal: Path, names: tuple[str, ...] = ("firm-1", "firm-2", "bank-1")) -> None:
    """Let three members approve and the coordinator submit; then they mirror it."""
    for name in names:
        done("members", "approve", proposal, "--home", homes[name], "--yes")
    done("members", "submit", proposal, "--home", homes.coordinator)
    with homes.served(names):
        pass


def test_init_says_what_must_be_compared(tmp_path: Path) -> None:
    homes = Homes.found(tmp_path)
    again = ["init", "--cid", "c-1", "--members", tmp_path / "members.toml", "--home"]
    founded = facts(*again, tmp_path / "second")
    assert (founded["quorum"], founded["origin"]) == (3, "artesian/c-1")
    own = SigningKey.load(homes["firm-1"] / SIGNING_KEY).public.fingerprint
    assert founded["members"][0] == {"member": "firm-1", "kind": "firm", "fingerprint": own}
    out = done(*again, tmp_path / "third")
    assert "Founding fingerprint: " in out
    assert "next-log.pem to another, safe place" in out


def test_init_that_cannot_be(tmp_path: Path) -> None:
    homes = Homes.found(tmp_path)
    members = ["--members", tmp_path / "members.toml"]
    assert "is not empty" in refused("init", "--home", homes.coordinator, "--cid", "c-1", *members)
    for more in (["--cid", "C 1"], ["--cid", "c-1", "--signatures", "rsa"], ["--cid", "c-1", "--db", "x.db"]):
        refused("init", "--home", tmp_path / "new", *members, *more)
    refused("init", "--home", tmp_path / "new", "--cid", "c-1", "--members", tmp_path / "none.toml")
    assert refused("init", "--home", "/proc/x/y", "--cid", "c-1", *members).startswith("/proc/x/y: cannot be made: ")
    hybrid = ["--signatures", "ed25519+ml-dsa-65"]
    refused("init", "--home", tmp_path / "new", "--cid", "c-1", *members, *hybrid, code=1)
    assert not (tmp_path / "new").exists()
    assert facts("init", "--home", tmp_path / "new", "--cid", "C 1", *members, code=2)["ok"] is False


def test_a_hybrid_consortium(tmp_path: Path) -> None:
    homes = Homes.found(tmp_path, "--signatures", "ed25519+ml-dsa-65", hybrid=True)
    listed = facts("members", "--home", homes.coordinator)
    assert listed["signatures"] == "ed25519+ml-dsa-65"
    assert all(member["hybrid"] for member in listed["members"])


def test_members_are_listed(homes: Homes) -> None:
    out = done("members", "--home", homes.coordinator)
    fingerprint = SigningKey.load(homes["bank-1"] / SIGNING_KEY).public.fingerprint
    assert f"bank-1           bank  {fingerprint}" in out
    assert "4 voting members, quorum 3" in out
    assert f"  founding               {homes.founding}\n" in out  # to be read out to a new member
    assert facts("members", "--home", homes["firm-1"])["founding"] == homes.founding
    assert facts("members", "--home", homes["firm-2"])["size"] == 5
    refused("members", "--home", homes["firm-9"])


def test_a_key_is_made_once(tmp_path: Path) -> None:
    make = ["members", "key", "--home", tmp_path / "x", "--member", "x"]
    assert facts(*make)["fingerprint"] in (tmp_path / "x" / "member.toml").read_text()
    assert "a key is already there" in refused(*make)
    refused("members", "key", "--home", tmp_path / "y", "--member", "X y")
    refused("members", "key", "--home", tmp_path / "y", "--member", "y", "--kind", "shop")
    assert not (tmp_path / "y").exists()


def test_the_next_key_is_of_the_same_member(homes: Homes) -> None:
    """What member.toml says of kind and name holds for the next key; another word is refused, and no key is made."""
    (homes["bank-1"] / "member.toml").write_text(
        (homes["bank-1"] / "member.toml").read_text().replace('name = "bank-1"', 'name = "The \\"First\\" Bank"')
    )
    make = ["members", "key", "--home", homes["bank-1"], "--next"]
    for contradiction in (
        ["--member", "bank-2"],
        ["--member", "bank-1", "--kind", "firm"],
        ["--member", "bank-1", "--name", "Other"],
    ):
        line = refused(*make, *contradiction)
        assert contradiction[-2] in line, line
        assert f"{homes['bank-1']}/member.toml" in line
    assert not (homes["bank-1"] / "signing.next.pem").exists()
    done(*make, "--member", "bank-1", "--kind", "bank")
    (made,) = read_members(homes["bank-1"] / "next-member.toml")
    assert (made.member, made.kind, made.name) == ("bank-1", "bank", 'The "First" Bank')
    done("members", "key", "--home", homes["firm-9"], "--member", "firm-9", "--next")
    assert 'name = "Nine Ltd"' in (homes["firm-9"] / "next-member.toml").read_text()


def test_a_new_member_joins(homes: Homes, tmp_path: Path) -> None:
    proposal = tmp_path / "enrol.proposal"
    block = homes["firm-9"] / "member.toml"
    done("members", "propose", "enrol", "--home", homes["firm-1"], "--from", block, "--out", proposal)
    asked = ["members", "proposal", proposal, "--home", homes["firm-2"]]
    assert f"Next: artesian ledger members approve {proposal} --home HOME, each member with its own" in done(*asked)
    status = facts(*asked)
    assert (status["approved"], status["needed"], status["members"]) == ([], 3, 4)
    refused("members", "submit", proposal, "--home", homes.coordinator, code=1)
    carry(homes, proposal)
    listed = {m["member"]: m for m in facts("members", "--home", homes["firm-2"])["members"]}
    assert listed["firm-9"]["name"] == "Nine Ltd"
    assert "already" in refused("members", "approve", proposal, "--home", homes["bank-1"], "--yes")


def test_a_policy_names_nobody_whose_membership_is_not_final(homes: Homes, tmp_path: Path) -> None:
    before = done("policy", "--home", homes.coordinator)
    proposal = tmp_path / "enrol.proposal"
    block = homes["firm-9"] / "member.toml"
    done("members", "propose", "enrol", "--home", homes["firm-1"], "--from", block, "--out", proposal)
    carry(homes, proposal)  # three of five have cosigned, one more is needed
    code, out, err = run("policy", "--home", homes.coordinator)
    assert (code, out, "not final yet" in err) == (0, before, True)
    assert before == (homes["firm-1"] / "policy.txt").read_text()
    with homes.served():
        assert "keeps the members of before" in done("witness", "--home", homes["firm-1"], "--once")
        homes.witness(["firm-3", "firm-1"])
    assert "witness firm-9 " in (homes["firm-1"] / "policy.txt").read_text()
    assert "witness firm-9 " in done("policy", "--home", homes.coordinator)
    refused("policy", "--db", homes.coordinator / "ledger.db", "--write")


def test_approving_is_a_decision(homes: Homes, tmp_path: Path) -> None:
    proposal = tmp_path / "suspend.proposal"
    asked = ["--member", "firm-3", "--reason", "insolvent", "--out", proposal]
    done("members", "propose", "suspend", "--home", homes["firm-1"], *asked)
    code, _, err = run("members", "approve", proposal, "--home", homes["firm-1"])
    assert (code, "add --yes" in err, "Suspend firm-3: insolvent" in err) == (2, True, True)
    assert "no active member" in refused("members", "approve", proposal, "--home", homes.coordinator, "--yes")
    refused("members", "approve", tmp_path / "members.toml", "--home", homes["firm-1"], "--yes")
    carry(homes, proposal)
    assert "suspended since entry 5" in done("members", "--home", homes["firm-1"])


def test_what_the_rules_will_refuse_is_not_proposed(homes: Homes, tmp_path: Path) -> None:
    propose = ["members", "propose"]
    asked = ["--home", homes["firm-1"], "--out", tmp_path / "p"]
    assert "no active member" in refused(*propose, "suspend", *asked, "--member", "firm-8", "--reason", "none")
    assert "no active member" in refused(*propose, "rotate", *asked, "--from", homes["firm-9"] / "member.toml")
    assert "is a member already" in refused(*propose, "enrol", *asked, "--from", homes["firm-2"] / "member.toml")
    assert not (tmp_path / "p").exists()


def test_a_proposal_that_others_have_overtaken(homes: Homes, tmp_path: Path) -> None:
    old, new = tmp_path / "old.proposal", tmp_path / "new.proposal"
    done("members", "propose", "policy", "--home", homes["firm-1"], "--min-cohort", 9, "--out", old)
    done("members", "propose", "policy", "--home", homes["firm-1"], "--min-cohort", 3, "--out", new)
    carry(homes, new)
    assert facts("members", "--home", homes["firm-1"])["min_cohort"] == 3
    assert "propose it again" in refused("members", "approve", old, "--home", homes["firm-1"], "--yes")


def test_a_lost_key_is_replaced_by_a_quorum(homes: Homes, tmp_path: Path) -> None:
    home = homes["firm-3"]
    (home / SIGNING_KEY).unlink()
    made = facts("members", "key", "--home", home, "--member", "firm-3", "--next")
    proposal = tmp_path / "rotate.proposal"
    block = home / "next-member.toml"
    done("members", "propose", "rotate", "--home", homes["firm-1"], "--from", block, "--out", proposal)
    with homes.served() as address:
        refused("members", "switch-key", "--home", home, "--address", address, code=1)
    carry(homes, proposal)
    with homes.served() as address:
        switched = facts("members", "switch-key", "--home", home, "--address", address)
        assert switched == {"ok": True, "member": "firm-3", "fingerprint": made["fingerprint"]}
        done("witness", "--home", home, "--address", address, "--once")
    assert made["fingerprint"] in (home / "member.toml").read_text()


def test_a_key_is_changed_while_the_old_one_is_there(homes: Homes, tmp_path: Path) -> None:
    home, proposal = homes["firm-1"], tmp_path / "rotate.proposal"
    made = facts("members", "key", "--home", home, "--member", "firm-1", "--next")
    (home / "ledger.toml").write_text((home / "ledger.toml").read_text().replace("address", "#address"))
    assert "does not name this key yet" in refused("members", "switch-key", "--home", home)
    done("members", "propose", "rotate", "--home", home, "--from", home / "next-member.toml", "--out", proposal)
    carry(homes, proposal, ("firm-2", "firm-3", "bank-1"))
    (homes["firm-2"] / "mirror.db").replace(home / "mirror.db")
    assert facts("members", "switch-key", "--home", home)["fingerprint"] == made["fingerprint"]
    assert len(list(home.glob("signing.old-*.pem"))) == 1


def test_the_log_changes_to_the_key_that_it_has_committed_to(homes: Homes) -> None:
    before = facts("members", "--home", homes.coordinator)["log"]
    changed = facts("members", "rotate-log", "--home", homes.coordinator)
    after = facts("members", "--home", homes.coordinator)["log"]
    assert before["fingerprint"] != after["fingerprint"] == changed["fingerprint"]
    with homes.served(MEMBERS):
        homes.witness()
    done("policy", "--home", homes.coordinator, "--write")
    out = done("audit", "--home", homes.coordinator)
    assert "6 entries are final" in out
    assert "Nothing is wrong." in out
    policy = (homes["firm-1"] / "policy.txt").read_text()
    assert policy.count("log artesian/c-1+") == 2
    assert policy == done("policy", "--home", homes.coordinator) == (homes.coordinator / "policy.txt").read_text()
    out = done("members", "rotate-log", "--home", homes.coordinator)
    assert f"signs with {changed['next']} now" in out
    kept = sorted(homes.coordinator.glob("log.old-*.pem"), key=lambda path: path.stat().st_mtime_ns)
    assert sum(f"kept as {path}:" in out for path in kept) == 1


def test_a_log_key_that_was_not_committed_to_needs_a_quorum(homes: Homes, tmp_path: Path) -> None:
    proposal = tmp_path / "log.proposal"
    propose = ["members", "propose", "log-key", "--home", homes.coordinator, "--out", proposal]
    assert "rotate-log" in refused(*propose)
    (homes.coordinator / "next-log.pem").unlink()
    done(*propose)
    assert "committed" in refused("members", "rotate-log", "--home", homes.coordinator)
    for name in MEMBERS[1:]:
        done("members", "approve", proposal, "--home", homes[name], "--yes")
    done("members", "rotate-log", "--home", homes.coordinator, "--proposal", proposal)
    with homes.served(MEMBERS):
        pass
    assert facts("members", "--home", homes["firm-1"])["log"]["since"] == 5
