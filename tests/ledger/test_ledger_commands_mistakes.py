"""`artesian ledger` and mistakes: what is wrong input and what is a no, and a line that says how to mend it."""

import random
from pathlib import Path

import pytest
from command_world import MEMBERS, Homes, done, facts, refused, run

from ledger.evidence import notes_evidence
from ledger.homes import log_key_of
from ledger.keys import SigningKey
from ledger.log import Log
from ledger.service.client import LedgerClient

GARBAGE = random.Random(20261122).randbytes(5000)
A_FLOAT = b"\xf9\x3e\x00" + bytes(40)
"""Begins as a CBOR value that no record may hold: chance makes such bytes, too."""


@pytest.fixture(scope="module")
def founded(tmp_path_factory: pytest.TempPathFactory) -> Homes:
    """One artifact is attested and final; its receipt is beside it."""
    made = Homes.witnessed(tmp_path_factory.mktemp("homes"))
    (made.folder / "lading.txt").write_text("10 pallets")
    with made.served(MEMBERS):
        done("attest", "--home", made["firm-1"], "--subject", "b", "--file", made["lading.txt"], "--wait", 0)
        made.witness()
        done("attest", "--home", made["firm-1"], "--subject", "b", "--file", made["lading.txt"], "--wait", 0)
    return made


@pytest.fixture
def homes(founded: Homes, tmp_path: Path) -> Homes:
    return founded.copied(tmp_path)


@pytest.fixture(params=[GARBAGE, A_FLOAT, b"", b"\xf9"], ids=["random", "float", "empty", "cut"])
def garbage(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """A file that is none of ours."""
    file = tmp_path / "garbage"
    file.write_bytes(request.param)
    return file


def test_a_file_that_is_none_of_ours_is_wrong_input_wherever_it_is_given(homes: Homes, garbage: Path) -> None:
    home, receipt, statement = homes["firm-1"], homes["lading.txt.receipt"], homes["lading.txt.statement"]
    policy = home / "policy.txt"
    done("verify", receipt, "--statement", statement, "--policy", policy)
    for arguments, words in (
        (["verify", garbage, "--statement", statement, "--policy", policy], "this is not a receipt"),
        (["verify", garbage, "--statement", statement, "--policy", home], "this is not a receipt"),
        (["evidence", garbage, "--home", home], "this is not evidence"),
        (["evidence", garbage, "--policy", policy], "this is not evidence"),
        (["members", "approve", garbage, "--home", home, "--yes"], "this is not a proposal"),
        (["handover", "approve", garbage, "--home", home, "--yes"], "this is not a proposal"),
        (["mirror", garbage, "--out", homes["m.db"], "--founding", homes.founding], f"{garbage}: "),
        (["handover", "bring-up", garbage, "--home", home], f"{garbage}: "),
        (["restore", garbage, "--home", homes.coordinator], f"{garbage}: "),
        (["show", "--db", garbage], f"{garbage}: "),
        (["audit", "--db", garbage, "--policy", policy], f"{garbage}: "),
        (["verify", receipt, "--statement", garbage, "--policy", policy], ""),
        (["verify", receipt, "--statement", statement, "--policy", garbage], ""),
    ):
        line = refused(*arguments)
        assert words in line, line
        assert "float" not in line, line
        assert "from a mirror" not in line, line


def test_a_mirror_that_is_no_database_is_wrong_input(homes: Homes) -> None:
    (homes["firm-1"] / "mirror.db").write_bytes(GARBAGE)
    for arguments in (["show"], ["members"], ["audit"], ["policy"], ["export", homes["copy"]], ["handover", "status"]):
        assert "no ledger's database" in refused(*arguments, "--home", homes["firm-1"])


def test_what_can_be_read_and_does_not_hold_is_a_no(homes: Homes) -> None:
    """Whatever bit of a receipt flips, the code says whether it can still be read; both are refused."""
    home, statement = homes["firm-1"], homes["lading.txt.statement"]
    raw, changed = homes["lading.txt.receipt"].read_bytes(), homes["changed"]
    where = ["--statement", statement, "--policy", home / "policy.txt"]
    for place in (raw.index(b"checkpoint") + 30, len(raw) - 20, raw.index(b"cose") + 90):
        changed.write_bytes(raw[:place] + bytes([raw[place] ^ 1]) + raw[place + 1 :])
        refused("verify", changed, *where, code=1)
    refused("verify", homes["lading.txt.receipt"], "--statement", own_entry(homes), *where[2:], code=1)
    for unreadable in (raw[:-1], raw[:40], raw + b"\0", bytes([raw[0] ^ 1]) + raw[1:]):
        changed.write_bytes(unreadable)
        refused("verify", changed, *where)
    with Log.open(homes.coordinator / "ledger.db", SigningKey.load(log_key_of(homes.coordinator))) as log:
        file = notes_evidence(log.checkpoint(), log.checkpoint().replace("artesian/c-1\n", "artesian/c-2\n", 1))
    changed.write_bytes(file)
    refused("evidence", changed, "--home", home, code=1)
    changed.write_bytes(file[:-1])
    refused("evidence", changed, "--home", home)


def own_entry(homes: Homes) -> Path:
    """The file of another statement than the attested one."""
    with Log.open(homes.coordinator / "ledger.db", SigningKey.load(log_key_of(homes.coordinator))) as log:
        homes["entry"].write_bytes(log.entries(0, 1)[0])
    return homes["entry"]


def test_a_lost_ledger_names_the_command_that_rebuilds_it(homes: Homes) -> None:
    (homes.coordinator / "ledger.db").unlink()
    for command in ("serve", "status"):
        line = refused(command, "--home", homes.coordinator)
        assert f"artesian ledger restore COPY --home {homes.coordinator}" in line, line
    (homes.coordinator / "ledger.toml").write_text("founding = 3")
    assert "ledger.toml" in refused("serve", "--home", homes.coordinator)


def test_a_folder_without_a_copy_is_named(homes: Homes) -> None:
    empty = homes["empty"]
    empty.mkdir()
    for arguments in (
        ["mirror", empty, "--out", homes["m.db"], "--founding", homes.founding],
        ["restore", empty, "--home", homes.coordinator],
        ["handover", "bring-up", empty, "--home", homes["firm-1"]],
    ):
        line = refused(*arguments)
        assert line.startswith(f"{empty}: holds no copy of a ledger"), line
        assert "--db" not in line, line


def test_a_handover_of_what_is_not_final_names_the_command_that_makes_it_so(homes: Homes) -> None:
    """The first witnesses have not seen the later ones' cosignatures: for them nothing is final but the founding."""
    proposal, bring_up = homes["handover.proposal"], "artesian ledger handover bring-up COPIES --home HOME"
    done("handover", "propose", "--home", homes["bank-1"], "--to", homes["s"], "--out", proposal)
    propose = ["handover", "propose", "--home", homes["firm-1"], "--to", homes["s2"], "--out", homes["p"]]
    assert bring_up in refused(*propose, code=1)
    code, _, err = run("handover", "approve", proposal, "--home", homes["firm-1"], "--yes")
    assert (code, bring_up in err) == (1, True), err


def test_there_is_nothing_to_switch_to(homes: Homes) -> None:
    line = refused("members", "switch-key", "--home", homes["firm-1"])
    assert "no next key to switch to" in line
    assert f"artesian ledger members key --home {homes['firm-1']} --member ID --next" in line


def test_a_home_that_is_a_file_is_said_to_be_one(homes: Homes) -> None:
    file = homes["lading.txt"]
    for home in (file, file / "home"):
        line = refused("members", "key", "--home", home, "--member", "x")
        assert line.startswith(f"{home}: is not a folder"), line
    proposing = ["handover", "propose", "--home", homes["firm-1"], "--to", file, "--out", homes["p"]]
    assert f"{file}: is not a folder" in refused(*proposing)
    assert f"{file}: is not a folder" in refused("evidence", "--home", homes["firm-1"], "--out", file)


def test_what_the_rules_refuse_is_not_sent(homes: Homes) -> None:
    """Nobody listens at the address: with exit code 3 something would have been sent."""
    where = ["--home", homes["firm-1"], "--file", homes["members.toml"], "--address", "127.0.0.1:1"]
    for subject, kind, words in (("b", "Bill of lading", "'kind'"), ("b" * 2000, "invoice", "'subject'")):
        assert words in refused("attest", *where, "--subject", subject, "--kind", kind)
    assert "'subject'" in refused("attest", *where, "--subject", "")
    assert not homes["members.toml.statement"].exists()
    refused("attest", *where, "--subject", "b", "--kind", "invoice", code=3)


def test_a_service_that_gives_garbage_for_a_receipt_proves_nothing(
    homes: Homes, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is no mistake of who asks: the answer is no."""
    monkeypatch.setattr(LedgerClient, "receipt", lambda _, *, index: (index, GARBAGE))
    with homes.served():
        line = refused("trace", "b", "--home", homes["bank-1"], "--proofs", homes["proofs"], code=1)
    assert "no receipt" in line


def test_every_document_says_whether_all_is_well(homes: Homes) -> None:
    for command in ("members", "show", "policy", "audit"):
        assert facts(command, "--home", homes.coordinator)["ok"] is True


def test_a_ledger_that_nobody_has_witnessed_yet_is_not_called_broken(tmp_path: Path) -> None:
    """Nor healthy: its audit asks for a quorum, and the answer is no."""
    homes = Homes.found(tmp_path)
    report = facts("audit", "--home", homes.coordinator, code=1)
    assert (report["ok"], report["awaits_witnesses"], report["final_size"]) == (False, True, 0)
    assert not_final(homes)
    with homes.served() as address:
        for name in MEMBERS[:2]:
            where = ["--home", homes[name], "--address", address, "--founding", homes.founding]
            done("witness", *where, "--once")
    assert not_final(homes)
    (tmp_path / "a.txt").write_text("a")
    with homes.served():
        done("attest", "--home", homes["firm-1"], "--subject", "b", "--file", tmp_path / "a.txt", "--wait", 0)
    assert not not_final(homes)


def not_final(homes: Homes) -> bool:
    """Whether an audit, whose answer is no, says that only witnesses are missing; or else that it does not hold."""
    code, out, _ = run("audit", "--home", homes.coordinator)
    assert code == 1
    only = "Nothing is final yet" in out
    assert ("artesian ledger witness" in out, "does not hold" in out, "Problem:" in out) == (only, not only, not only)
    return only
