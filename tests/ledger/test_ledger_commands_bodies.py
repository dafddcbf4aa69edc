"""Sealed bodies as people lose them, bring them back, erase them, and cannot open them any more."""

import hashlib
import shutil
from pathlib import Path

import pytest
from command_world import MEMBERS, Homes, done, facts, refused, run

from ledger.homes import Settings, database_of
from ledger.service.limits import Settings as Limits
from ledger.statement import decode_statement
from ledger.store import Store

NOBODY = "127.0.0.1:9"


@pytest.fixture(scope="module")
def founded(tmp_path_factory: pytest.TempPathFactory) -> Homes:
    """Witnessed by all, with an encryption key of firm-2."""
    homes = Homes.witnessed(tmp_path_factory.mktemp("homes"))
    with homes.served():
        done("members", "encryption", "--home", homes["firm-2"])
        homes.witness()
        homes.witness()
    return homes


@pytest.fixture
def homes(founded: Homes, tmp_path: Path) -> Homes:
    """The service is not running."""
    return founded.copied(tmp_path)


@pytest.fixture
def prices(tmp_path: Path) -> Path:
    path = tmp_path / "prices.txt"
    path.write_text("17 EUR each")
    return path


def beside(file: Path, what: str) -> Path:
    return file.with_name(f"{file.name}.{what}")


def attest(homes: Homes, file: Path, *more: object) -> list[object]:
    where = ["--home", homes["firm-1"], "--subject", "batch-7", "--file", file, "--wait", 0]
    return ["attest", *where, "--parties", "firm-2", *more]


def opening(homes: Homes, index: int, out: Path, member: str = "firm-2") -> list[object]:
    return ["open", index, "--home", homes[member], "--out", out]


def erasing(homes: Homes, entry: object, member: str = "firm-1") -> list[object]:
    return ["erase", entry, "--home", homes[member]]


def sealed(homes: Homes, file: Path) -> int:
    """A final entry by firm-1 with a body for firm-2; everybody has mirrored it."""
    with homes.served():
        index = facts(*attest(homes, file))["index"]
        homes.witness()
        homes.witness()
    assert isinstance(index, int)
    return index


def restored(homes: Homes, *more: object) -> list[object]:
    """The command that restores the coordinator's ledger, which is lost now, from firm-2."""
    (homes.coordinator / "ledger.db").unlink()
    return ["restore", homes["firm-2"], "--home", homes.coordinator, *more]


def test_a_restored_ledger_says_which_bodies_are_lost_and_their_issuer_brings_them_back(
    homes: Homes, prices: Path, tmp_path: Path
) -> None:
    index = sealed(homes, prices)
    out = done(*restored(homes))
    assert "Sealed bodies: 0 kept, 0 erased, 1 missing (firm-1 1)." in out
    assert "the same artesian ledger attest again" in out
    assert f"{index}  " in done("trace", "batch-7", "--home", homes.coordinator)
    assert "sealed, body missing" in done("trace", "batch-7", "--home", homes.coordinator)
    with homes.served():
        told = refused(*opening(homes, index, tmp_path / "opened"), code=1)
        assert f"entry {index}: its body is not here: it was never handed in, or lost" in told
        assert "ask 'firm-1', who issued it, to run the same artesian ledger attest again" in told
        assert "was not at the service, and is now" in done(*attest(homes, prices))
        again = facts(*attest(homes, prices))
        assert (again["index"], again["body"], again["final"]) == (index, "kept", True)
        done(*opening(homes, index, tmp_path / "opened"))
    assert (tmp_path / "opened").read_bytes() == prices.read_bytes()
    kept = [envelope for _, envelope, _ in Store(database_of(homes.coordinator)).bodies()]
    assert kept == [beside(prices, "sealed").read_bytes()]
    census = {"named": 1, "kept": 1, "erased": 0, "missing": {}}
    assert facts("audit", "--home", homes.coordinator)["bodies"] == census
    assert facts("audit", "--home", homes["firm-2"])["bodies"] is None  # a mirror never has any


def test_a_handover_leaves_bodies_behind_and_says_so(homes: Homes, prices: Path, tmp_path: Path) -> None:
    sealed(homes, prices)
    new, proposal = tmp_path / "sequencer", tmp_path / "handover.proposal"
    done("handover", "propose", "--home", homes["firm-2"], "--to", new, "--out", proposal)
    for name in MEMBERS[:3]:
        done("handover", "approve", proposal, "--home", homes[name], "--yes")
    out = done("handover", "start", proposal, "--home", homes["firm-2"], "--to", new)
    assert "Sealed bodies: 0 kept, 0 erased, 1 missing (firm-1 1)." in out
    assert "the same artesian ledger attest again" in out


def test_what_names_no_body_is_not_counted(homes: Homes, prices: Path) -> None:
    with homes.served():
        about = ["--subject", "body_sha256", "--file", prices, "--wait", 0]
        done("attest", "--home", homes["firm-1"], *about)
        homes.witness()
    restore = restored(homes)
    assert facts(*restore)["bodies"] == {"named": 0, "kept": 0, "erased": 0, "missing": {}}
    (homes.coordinator / "ledger.db").unlink()
    assert "bodies" not in done(*restore)


def test_without_the_envelope_the_issuer_seals_again(homes: Homes, prices: Path, tmp_path: Path) -> None:
    index = sealed(homes, prices)
    before = beside(prices, "sealed").read_bytes()
    beside(prices, "sealed").unlink()
    done(*restored(homes))
    with homes.served():
        assert facts(*attest(homes, prices))["body"] == "taken"
        done(*opening(homes, index, tmp_path / "opened"))
    assert beside(prices, "sealed").read_bytes() != before


def test_a_backup_keeps_bodies(homes: Homes, prices: Path, tmp_path: Path) -> None:
    index, backup = sealed(homes, prices), tmp_path / "backup.db"
    done("backup", backup, "--home", homes.coordinator)
    out = done("audit", "--db", backup, "--policy", homes["firm-1"] / "policy.txt")
    assert "Sealed bodies: 1 kept, 0 erased, 0 missing." in out
    with homes.served():
        second = tmp_path / "second.txt"
        second.write_text("18 EUR each")
        done(*attest(homes, second))
        homes.witness()
        homes.witness()
    both = facts(*restored(homes, "--bodies", backup))  # the mirror is longer, the backup has a body
    assert both["bodies"] == {"named": 2, "kept": 1, "erased": 0, "missing": {"firm-1": 1}}
    with homes.served():
        done(*opening(homes, index, tmp_path / "opened"))
    (homes.coordinator / "ledger.db").unlink()
    shutil.copy(backup, homes.coordinator / "ledger.db")
    with homes.served():
        done(*opening(homes, index, tmp_path / "again"))
    (homes.coordinator / "ledger.db").unlink()
    assert facts("restore", backup, "--home", homes.coordinator, "--bodies", backup)["bodies"]["kept"] == 1


def test_a_copy_of_somebody_else_brings_no_bodies_and_erases_none(homes: Homes, prices: Path, tmp_path: Path) -> None:
    index = sealed(homes, prices)
    digest = decode_statement(beside(prices, "statement").read_bytes()).digest
    for name in ("firm-2", "firm-3"):  # `restored` takes one of them
        store = Store(homes[name] / "mirror.db")
        store.delete_body(digest, "firm-1")
        store.close()
    assert facts(*restored(homes))["bodies"] == {"named": 1, "kept": 0, "erased": 0, "missing": {"firm-1": 1}}
    with homes.served():
        assert facts(*attest(homes, prices))["body"] == "taken"
        done(*opening(homes, index, tmp_path / "opened"))


def test_a_backup_of_another_consortium_has_no_bodies_for_this_one(homes: Homes, tmp_path: Path) -> None:
    others = tmp_path / "others"
    done("init", "--home", others, "--cid", "c-2", "--members", homes.folder / "members.toml")
    assert "another consortium" in refused(*restored(homes, "--bodies", others))
    refused("restore", homes["firm-2"], "--home", homes.coordinator, "--bodies", tmp_path / "none")
    assert not (homes.coordinator / "ledger.db").exists()


def test_a_backup_with_something_else_for_a_body_restores_nothing(homes: Homes, prices: Path, tmp_path: Path) -> None:
    sealed(homes, prices)
    store = Store(database_of(homes.coordinator))
    with store.write() as transaction:
        transaction.put_body(bytes(32), b"no envelope", "firm-1")
    store.close()
    done("backup", tmp_path / "backup.db", "--home", homes.coordinator)
    told = refused(*restored(homes, "--bodies", tmp_path / "backup.db"), code=1)
    assert f"the body of statement {bytes(32).hex()} is none" in told
    assert not (homes.coordinator / "ledger.db").exists()


def test_submit_hands_a_body_in(homes: Homes, prices: Path, tmp_path: Path) -> None:
    index, statement = sealed(homes, prices), beside(prices, "statement")
    submit = ["submit", statement, "--wait", 0, "--home"]
    done(*restored(homes))
    with homes.served():
        told = done(*submit, homes["firm-3"])  # another's body is not its to hand in
        assert "Its body is not at the service: hand it in with --sealed" in told
        explicit = refused(*submit, homes["firm-3"], "--sealed", beside(prices, "sealed"), code=1)
        assert "is taken from nobody else" in explicit
        assert (facts(*submit, homes["firm-1"])["index"], facts(*submit, homes["firm-1"])["body"]) == (index, "kept")
        done(*opening(homes, index, tmp_path / "opened"))
    done(*restored(homes))
    moved = beside(prices, "sealed").rename(tmp_path / "elsewhere")
    with homes.served():
        assert facts(*submit, homes["firm-1"])["body"] == "missing"
        assert facts(*submit, homes["firm-1"], "--sealed", moved)["body"] == "taken"


def test_an_erased_body_is_gone_and_everything_else_holds(homes: Homes, prices: Path, tmp_path: Path) -> None:
    index, opened = sealed(homes, prices), tmp_path / "opened"
    with homes.served():
        done(*attest(homes, prices))
        out = done(*erasing(homes, index))
        assert f"The body of entry {index} is erased. The entry" in out
        assert ".sealed and .salt" in out
        again = facts(*erasing(homes, index))
        assert (again["before"], again["issuer"], again["index"]) == ("erased", "firm-1", index)
        told = refused(*opening(homes, index, opened), code=1)
        assert "was erased here by 'firm-1', for good; ask 'firm-1', who issued it, for the content itself" in told
        handed_in = facts(*attest(homes, prices))
        assert (handed_in["index"], handed_in["body"]) == (index, "erased")
        assert "not taken again" in done(*attest(homes, prices))
        assert facts("submit", beside(prices, "statement"), "--home", homes["firm-1"])["body"] == "erased"
        refused(*opening(homes, index, opened), code=1)
        policy = ["--policy", homes["bank-1"] / "policy.txt"]
        done("verify", beside(prices, "receipt"), "--statement", beside(prices, "statement"), *policy)
    out = done("audit", "--home", homes.coordinator)
    assert "Sealed bodies: 0 kept, 1 erased, 0 missing." in out
    assert "Nothing is wrong." in out
    assert "sealed, body erased" in done("trace", "batch-7", "--home", homes.coordinator)
    assert facts("trace", "batch-7", "--home", homes.coordinator)["entries"][0]["body"] == "erased"
    assert facts("trace", "batch-7", "--home", homes["firm-2"])["entries"][0]["body"] is None
    done("backup", tmp_path / "backup.db", "--home", homes.coordinator)
    census = facts(*restored(homes))["bodies"]
    assert census["missing"] == {"firm-1": 1}  # a mirror does not know what was erased
    with homes.served():
        assert facts(*erasing(homes, index))["before"] == "missing"
        assert facts(*attest(homes, prices))["body"] == "erased"
    assert facts(*restored(homes, "--bodies", tmp_path / "backup.db"))["bodies"]["erased"] == 1


def test_who_may_erase_a_body(homes: Homes, prices: Path, tmp_path: Path) -> None:
    index = sealed(homes, prices)
    digest = decode_statement(beside(prices, "statement").read_bytes()).digest.hex()
    with homes.served() as address:
        for stranger in ("firm-2", "bank-1"):  # its party neither
            assert "only 'firm-1'" in refused(*erasing(homes, index, stranger), code=1)
        done(*opening(homes, index, tmp_path / "opened"))
        told = refused("erase", index, "--home", homes.coordinator)
        assert "another sequencer is running" in told
        assert "--address" in told
        by = facts("erase", digest, "--home", homes.coordinator, "--address", address)
        assert (by["index"], by["before"], by["digest"]) == (index, "kept", digest)
        assert "by 'coordinator'" in refused(*opening(homes, index, tmp_path / "x"), code=1)


def test_the_coordinator_erases_while_nobody_serves(homes: Homes, prices: Path) -> None:
    index = sealed(homes, prices)
    out = done("erase", index, "--home", homes.coordinator)
    assert (f"entry {index} is erased" in out, ".salt" in out) == (True, False)
    assert facts("erase", index, "--home", homes.coordinator)["before"] == "erased"


def test_what_cannot_be_erased(homes: Homes, prices: Path) -> None:
    index = sealed(homes, prices)
    with homes.served():
        assert "no sealed body" in refused(*erasing(homes, 0))
        assert "let the witness catch up" in refused(*erasing(homes, index + 1))
        for nonsense in ("batch-7", "12ab", ""):
            assert "give an entry's number" in refused(*erasing(homes, nonsense))
        assert "a digest of 64 digits" in refused(*erasing(homes, "g" * 64))
        assert "no statement with this digest" in refused(*erasing(homes, "ab" * 32))
    refused(*erasing(homes, index), code=3)


def test_why_a_body_does_not_open(homes: Homes, prices: Path, tmp_path: Path) -> None:
    index, out = sealed(homes, prices), tmp_path / "opened"
    with homes.served():
        assert "no party" in refused(*opening(homes, index, out, "bank-1"), code=1)
        assert "no party" in refused(*opening(homes, index, out, "firm-1"), code=1)  # its issuer sealed it for another
        assert "no sealed body" in refused(*opening(homes, 0, out))
        assert "not in the mirror yet" in refused(*opening(homes, 99, out))
        refused(*opening(homes, index, tmp_path))
        refused(*opening(homes, index, tmp_path / "none" / "opened"))
        key = homes["firm-2"] / "encryption.pem"
        lost = key.rename(tmp_path / "encryption.pem")
        assert "encryption.pem" in refused(*opening(homes, index, out))
        done("members", "encryption", "--home", homes["firm-2"])
        assert "does not open for firm-2" in refused(*opening(homes, index, out), code=1)
        lost.rename(homes["firm-2"] / "encryption.old-1.pem")
        done(*opening(homes, index, out))
    refused(*opening(homes, index, tmp_path / "x"), code=3)
    refused(*opening(homes, index, tmp_path / "x"), "--address", "nowhere")


def test_an_envelope_for_another_statement_does_not_open(homes: Homes, prices: Path, tmp_path: Path) -> None:
    """The service cannot look into an envelope: that it is the one committed to, its parties check."""
    index, other = sealed(homes, prices), tmp_path / "other.txt"
    other.write_text("18 EUR each")
    with homes.served():
        done(*attest(homes, other))
    done(*restored(homes))
    shutil.copy(beside(other, "sealed"), beside(prices, "sealed"))
    with homes.served():
        assert facts(*attest(homes, prices))["body"] == "taken"
        assert "another key or record" in refused(*opening(homes, index, tmp_path / "opened"), code=1)


@pytest.mark.parametrize("content", [b"", b"no envelope", b"\xa3", bytes(100)])
def test_a_file_that_is_no_sealed_body(homes: Homes, prices: Path, tmp_path: Path, content: bytes) -> None:
    sealed(homes, prices)
    beside(prices, "sealed").write_bytes(content)
    done(*restored(homes))
    with homes.served():
        assert "is no sealed body" in refused(*attest(homes, prices))
        submit = ["submit", beside(prices, "statement"), "--home", homes["firm-1"]]
        if content:
            assert "the rule 'body'" in refused(*submit, code=1)
        else:  # as if nothing was handed in
            assert "Its body is not at the service" in done(*submit)
        beside(prices, "sealed").unlink()
        assert facts(*attest(homes, prices))["body"] == "taken"


def test_a_changed_file_or_other_parties_are_another_statement(homes: Homes, prices: Path) -> None:
    sealed(homes, prices)
    with homes.served():
        done("members", "encryption", "--home", homes["firm-3"])
        homes.witness()
        told = refused(*attest(homes, prices)[:-1], "firm-2,firm-3")
        assert "is sealed to firm-2; name the same --parties" in told
        prices.write_text("18 EUR each")
        assert "about something else" in refused(*attest(homes, prices))
        prices.write_text("17 EUR each")
        other = ["--home", homes["firm-3"], *attest(homes, prices)[3:]]
        assert "is a statement by firm-1" in refused("attest", *other)


def test_a_body_that_is_too_large(homes: Homes, tmp_path: Path) -> None:
    large, huge = tmp_path / "large.bin", tmp_path / "huge.bin"
    large.write_bytes(bytes(1_200_000))
    huge.write_bytes(bytes(4_000_000))
    with homes.served():
        told = refused(*attest(homes, large), code=1)
        assert "the limit is 1048576; seal less" in told
        assert "more than a body can have; seal less with --body" in refused(*attest(homes, huge))
        for file in (large, huge):
            assert not beside(file, "statement").exists()
            assert not beside(file, "sealed").exists()
        key = tmp_path / "key.txt"
        key.write_text("where it is, and its key")
        assert facts(*attest(homes, huge, "--body", key))["body"] == "taken"
        beside(huge, "sealed").write_bytes(bytes(4_000_000))
        told = refused("submit", beside(huge, "statement"), "--home", homes["firm-1"])
        assert "one call carries at most" in told


def test_a_full_quota_refuses_a_body_and_loses_nothing(homes: Homes, prices: Path, tmp_path: Path) -> None:
    index, more = sealed(homes, prices), tmp_path / "more.txt"
    more.write_text("18 EUR each")
    kept = beside(prices, "statement").read_bytes()
    done(*restored(homes))
    with homes.served(limits=Limits(max_stored_bytes=100)):
        told = refused(*attest(homes, prices), code=1)
        assert "would have more than 100 bytes here; erase some" in told
        assert beside(prices, "statement").read_bytes() == kept
        assert beside(prices, "sealed").exists()
        refused(*attest(homes, more), code=1)
        assert not beside(more, "statement").exists()
    with homes.served(limits=Limits(max_stored_bytes=2_000)):
        assert facts(*attest(homes, prices))["body"] == "taken"
        assert facts(*attest(homes, prices))["body"] == "kept"  # what is there takes no room again
        refused(*attest(homes, more), code=1)
        done(*erasing(homes, index))
        assert facts(*attest(homes, more))["body"] == "taken"  # what was erased has made room
        assert facts(*attest(homes, prices))["body"] == "erased"


def rotate(homes: Homes) -> None:
    """firm-1 changes its key, by the approval of the others; it has their mirror."""
    home, proposal = homes["firm-1"], homes.folder / "rotate.proposal"
    done("members", "key", "--home", home, "--member", "firm-1", "--next")
    done("members", "propose", "rotate", "--home", home, "--from", home / "next-member.toml", "--out", proposal)
    for name in MEMBERS[1:]:
        done("members", "approve", proposal, "--home", homes[name], "--yes")
    done("members", "submit", proposal, "--home", homes.coordinator)
    with homes.served(MEMBERS[1:]) as address:
        done("members", "switch-key", "--home", home, "--address", address)
        homes.witness()
        homes.witness()


def test_a_statement_that_the_old_key_signed_and_nobody_took_is_signed_again(
    homes: Homes, prices: Path, tmp_path: Path
) -> None:
    refused(*attest(homes, prices, "--address", NOBODY), code=3)
    statement, envelope = beside(prices, "statement"), beside(prices, "sealed").read_bytes()
    old = decode_statement(statement.read_bytes())
    rotate(homes)
    with homes.served():
        assert "the rule 'signature'" in refused("submit", statement, "--home", homes["firm-1"], code=1)
        placed = facts(*attest(homes, prices))
        new = decode_statement(statement.read_bytes())
        assert (placed["digest"], placed["body"]) == (new.digest.hex(), "taken")
        assert (new.payload, new.digest != old.digest) == (old.payload, True)
        assert beside(prices, "sealed").read_bytes() == envelope
        homes.witness()
        done(*opening(homes, placed["index"], tmp_path / "opened"))
        assert facts(*attest(homes, prices))["index"] == placed["index"]


def test_an_entry_that_the_old_key_signed_is_found_again(homes: Homes, prices: Path) -> None:
    index, before = sealed(homes, prices), beside(prices, "statement").read_bytes()
    rotate(homes)
    with homes.served():
        again = facts(*attest(homes, prices))
        assert (again["index"], again["final"], again["body"]) == (index, True, "kept")
    assert beside(prices, "statement").read_bytes() == before
    files = [beside(prices, "receipt"), "--statement", beside(prices, "statement")]
    assert facts("verify", *files, "--policy", homes["firm-2"] / "policy.txt")["index"] == index


def test_with_the_old_key_still_in_the_home_nothing_is_lost(homes: Homes, prices: Path) -> None:
    refused(*attest(homes, prices, "--address", NOBODY), code=3)
    before = beside(prices, "statement").read_bytes()
    rotate(homes)
    home = homes["firm-1"]
    [old] = home.glob("signing.old-*.pem")
    shutil.copy(old, home / "signing.pem")
    with homes.served():
        assert "another key" in refused(*attest(homes, prices), code=1)
    assert beside(prices, "statement").read_bytes() == before


def test_what_is_kept_beside_the_file(homes: Homes, prices: Path) -> None:
    with homes.served():
        made = facts(*attest(homes, prices))
    assert made["sealed"] == str(beside(prices, "sealed"))
    for secret in ("sealed", "salt"):
        assert beside(prices, secret).stat().st_mode & 0o777 == 0o600
    salted = beside(prices, "salt").read_bytes() + prices.read_bytes()
    assert made["artifact"] == hashlib.sha256(salted).hexdigest()


def test_a_member_that_sequences_itself_keeps_its_body(homes: Homes, prices: Path, tmp_path: Path) -> None:
    """A home with both a member's key and the log's: `attest` writes into its own ledger while nobody serves it."""
    home = homes["firm-1"]
    for name in ("ledger.db", "log.pem"):
        shutil.copy(homes.coordinator / name, home / name)
    (home / "ledger.toml").write_text((home / "ledger.toml").read_text().replace("address", "#address"))
    assert Settings.load(home).address == ""
    assert facts(*attest(homes, prices))["body"] == "taken"
    assert run(*attest(homes, prices))[0] == 0
    assert facts("audit", "--home", home)["bodies"]["kept"] == 1
