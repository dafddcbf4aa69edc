"""`artesian ledger witness`, `attest`, `submit`, `trace`, `open`: members at work with a running service."""

import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from certificates import make_certificates
from command_world import Homes, done, facts, refused, run

from ledger.homes import Settings
from ledger.rules import Refused
from ledger.service.client import LedgerClient, Placed
from ledger.service.tls import ServerTls


@pytest.fixture(scope="module")
def founded(tmp_path_factory: pytest.TempPathFactory) -> Homes:
    return Homes.witnessed(tmp_path_factory.mktemp("homes"))


@pytest.fixture
def homes(founded: Homes, tmp_path: Path) -> Iterator[Homes]:
    """A served consortium whose members have witnessed the founding."""
    made = founded.copied(tmp_path)
    with made.served():
        yield made


@pytest.fixture
def lading(tmp_path: Path) -> Path:
    path = tmp_path / "lading.txt"
    path.write_text("forty crates")
    return path


def attest(homes: Homes, lading: Path, *more: object) -> list[object]:
    return ["attest", "--home", homes["firm-1"], "--subject", "batch-7", "--file", lading, "--wait", 0, *more]


def test_a_witness_compares_the_founding_first(tmp_path: Path) -> None:
    homes = Homes.found(tmp_path)
    with homes.served() as address:
        start = ["witness", "--home", homes["firm-1"], "--address", address, "--once"]
        assert "give --founding" in refused(*start)
        assert "another log" in refused(*start, "--founding", homes.founding.replace(homes.founding[0], "z"), code=1)
        assert not (homes["firm-1"] / "ledger.toml").exists()
        assert facts(*start, "--founding", homes.founding)["size"] == 5
        known = Settings.load(homes["firm-1"])
        assert (known.member, known.cid, known.founding) == ("firm-1", "c-1", homes.founding)
        assert "remembers another founding" in refused(*start, "--founding", "1234")
        assert not facts("witness", "--home", homes["firm-2"], "--founding", homes.founding, *start[3:])["final"]
        assert facts("witness", "--home", homes["bank-1"], "--founding", homes.founding, *start[3:])["final"]
    refused("witness", "--home", homes["firm-1"], "--once", code=3)
    refused("witness", "--home", homes["firm-1"], "--address", "127.0.0.1:1", "--once", code=3)
    assert Settings.load(homes["firm-1"]).address == address  # nobody answered at the other one


def test_a_witness_keeps_the_policy_and_knows_what_is_final(homes: Homes) -> None:
    homes.witness()
    policy = (homes["firm-1"] / "policy.txt").read_text()
    assert policy == (homes.coordinator / "policy.txt").read_text()
    assert facts("audit", "--home", homes["firm-1"])["final_size"] == 5


def test_an_artifact_is_attested_once_and_gets_its_receipt(homes: Homes, lading: Path) -> None:
    first = facts(*attest(homes, lading, "--kind", "bill-of-lading"))
    assert (first["index"], first["final"], first["receipt"]) == (5, False, None)
    assert first["promise"] is not None
    assert first["artifact"] == hashlib.sha256(b"forty crates").hexdigest()
    homes.witness()
    out = done(*attest(homes, lading, "--kind", "bill-of-lading"))
    assert "entry 5, final." in out
    files = [f"{lading}.receipt", "--statement", f"{lading}.statement", "--policy", homes["firm-2"] / "policy.txt"]
    assert "about batch-7" in done("verify", *files)
    assert "about something else" in refused(*attest(homes, lading, "--kind", "invoice"))
    submitted = facts("submit", f"{lading}.statement", "--home", homes["firm-2"], "--wait", 0)
    assert (submitted["index"], submitted["final"]) == (5, True)


def test_what_cannot_be_attested(homes: Homes, lading: Path) -> None:
    refused(*attest(homes, lading.with_name("none")))
    refused(*attest(homes, lading, "--parties", "firm-2", "--public"))
    refused(*attest(homes, lading, "--body", lading))
    assert "no active member with an encryption key" in refused(*attest(homes, lading, "--parties", "firm-2"))
    refused(*attest(homes, lading, "--kind", "Bill of lading"))
    assert not lading.with_name("lading.txt.statement").exists()
    foreign = ["--home", homes.coordinator, "--subject", "s", "--file", lading, "--address"]
    address = Settings.load(homes["firm-1"]).address
    refused("attest", *foreign, address, "--wait", 0, code=1)


def test_trace_lists_the_history_with_proofs(homes: Homes, lading: Path, tmp_path: Path) -> None:
    done(*attest(homes, lading, "--kind", "bill-of-lading", "--public"))
    invoice = tmp_path / "invoice.txt"
    invoice.write_text("100")
    done("attest", "--home", homes["bank-1"], "--subject", "batch-7", "--file", invoice, "--wait", 0)
    done(
        "attest",
        "--home",
        homes["bank-1"],
        "--subject",
        "batch-70",
        "--file",
        invoice.rename(tmp_path / "i"),
        "--wait",
        0,
    )
    homes.witness()
    homes.witness()  # the first to cosign learns only now that it became final
    traced = facts("trace", "batch-7", "--home", homes["firm-2"])
    assert [(e["index"], e["issuer"], e["final"]) for e in traced["entries"]] == [
        (5, "firm-1", True),
        (6, "bank-1", True),
    ]
    out = done("trace", "batch-7", "--home", homes["firm-2"], "--file", lading, "--proofs", tmp_path / "proofs")
    assert "bill-of-lading" in out
    assert out.count("is this file") == 1
    proof = [tmp_path / "proofs" / "6.receipt", "--statement", tmp_path / "proofs" / "6.statement"]
    assert facts("verify", *proof, "--policy", homes["firm-3"] / "policy.txt")["index"] == 6
    served = Settings.load(homes["firm-2"]).address
    assert facts("trace", "batch-7", "--home", homes["firm-2"], "--address", served) == traced
    refused("trace", "batch-7", "--address", served, "--policy", homes["firm-3"] / "policy.txt")
    changed = tmp_path / "changed.txt"
    changed.write_text("forty-one crates")
    code, out, _ = run("trace", "batch-7", "--home", homes["firm-2"], "--file", changed)
    assert (code, f"No entry attests {changed}." in out) == (1, True)
    assert facts("trace", "batch-8", "--home", homes["firm-2"])["entries"] == []


def test_goods_are_traced_back_to_what_went_into_them(homes: Homes, lading: Path, tmp_path: Path) -> None:
    done(*attest(homes, lading, "--kind", "bill-of-lading"))
    flour = tmp_path / "flour.txt"
    flour.write_text("milled from batch-7")
    milled = ["attest", "--home", homes["firm-2"], "--subject", "flour-1", "--file", flour, "--wait", 0]
    assert "not in the mirror yet" in refused(*milled, "--input", 5)
    homes.witness()
    done(*milled, "--input", 5)
    homes.witness()
    traced = facts("trace", "flour-1", "--home", homes["bank-1"], "--upstream")
    assert [(e["index"], e["subject"], e["inputs"]) for e in traced["entries"]] == [
        (5, "batch-7", []),
        (6, "flour-1", [traced["entries"][0]["digest"]]),
    ]
    assert "from entry 5" in done("trace", "flour-1", "--home", homes["bank-1"])


def test_a_sealed_body_is_for_its_parties_only(homes: Homes, lading: Path, tmp_path: Path) -> None:
    done("members", "encryption", "--home", homes["firm-2"])
    refused(*attest(homes, lading, "--parties", "firm-2"))  # the mirror is asked for keys, not the service
    homes.witness()
    sealed = facts(*attest(homes, lading, "--parties", "firm-2"))
    assert sealed["artifact"] != hashlib.sha256(b"forty crates").hexdigest()  # a short text could be guessed
    opened = tmp_path / "opened"
    assert "not in the mirror yet" in refused("open", sealed["index"], "--home", homes["firm-2"], "--out", opened)
    homes.witness()
    done("open", sealed["index"], "--home", homes["firm-2"], "--out", opened)
    assert opened.read_text() == "forty crates"
    assert "no party" in refused("open", sealed["index"], "--home", homes["firm-3"], "--out", tmp_path / "x", code=1)
    assert "already" in refused("open", sealed["index"], "--home", homes["firm-2"], "--out", opened)
    assert "no sealed body" in refused("open", 0, "--home", homes["firm-2"], "--out", tmp_path / "x")
    done("members", "encryption", "--home", homes["firm-2"], "--new")
    done("open", sealed["index"], "--home", homes["firm-2"], "--out", tmp_path / "again")
    assert ", sealed, is this file" in done("trace", "batch-7", "--home", homes["firm-2"], "--file", lading)
    assert facts(*attest(homes, lading, "--parties", "firm-2"))["index"] == sealed["index"]
    refused(*attest(homes, lading))
    lading.with_name("lading.txt.salt").unlink()
    assert run("trace", "batch-7", "--home", homes["firm-2"], "--file", lading)[0] == 1
    assert lading.with_name("lading.txt.sealed").stat().st_mode & 0o777 == 0o600


def test_what_the_service_says_of_a_place_is_checked(
    homes: Homes, lading: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    honest = LedgerClient.submit

    def lying(client: LedgerClient, statements: list[bytes], **more: Any) -> list[Placed | Refused]:
        told = honest(client, statements, **more)
        return [Placed(one.index + 1, one.receipt, one.promise) for one in told if isinstance(one, Placed)]

    monkeypatch.setattr(LedgerClient, "submit", lying)
    assert "promise that does not hold" in refused(*attest(homes, lading), code=1)
    homes.witness()
    assert "receipt that does not hold" in refused(*attest(homes, lading), code=1)
    assert not lading.with_name("lading.txt.receipt").exists()
    monkeypatch.undo()
    assert facts(*attest(homes, lading))["final"]


def test_over_tls_the_homes_own_authority_is_trusted(founded: Homes, tmp_path: Path) -> None:
    homes = founded.copied(tmp_path)
    make_certificates(tmp_path / "tls")
    tls = ServerTls.from_files(tmp_path / "tls" / "tls.key", tmp_path / "tls" / "tls.crt")
    with homes.served(tls=tls):
        once = ["witness", "--home", homes["firm-1"], "--once"]
        refused(*once, code=3)
        done(*once, "--ca", tmp_path / "tls" / "ca.crt")
        refused(*once, "--ca", tmp_path / "none.crt")
        (homes["firm-1"] / "ca.crt").write_bytes((tmp_path / "tls" / "ca.crt").read_bytes())
        done(*once)


def test_a_members_home_that_others_made(homes: Homes, lading: Path) -> None:
    """A federation's homes have no ledger.toml: the mirror says whose it is and of which consortium."""
    address = Settings.load(homes["firm-1"]).address
    for file in ("ledger.toml", "member.toml"):
        (homes["firm-1"] / file).unlink()
    assert facts("handover", "status", "--home", homes["firm-1"])["member"] == "firm-1"
    assert facts(*attest(homes, lading), "--address", address)["index"] == 5


def test_nothing_is_sent_without_a_policy_to_check_the_answer(homes: Homes, lading: Path) -> None:
    (homes["firm-1"] / "policy.txt").unlink()
    assert "start the witness first" in refused(*attest(homes, lading))
    homes.witness()
    assert facts("show", "--home", homes["firm-2"])["size"] == 5


def test_nobody_answers(tmp_path: Path, lading: Path) -> None:
    homes = Homes.found(tmp_path)
    where = ["--address", "127.0.0.1:9"]
    refused("witness", "--home", homes["firm-1"], "--founding", "1", *where, code=3)
    refused("witness", "--home", homes["firm-1"], "--founding", "1")
    refused("witness", "--home", homes["firm-1"], "--founding", "1", "--address", "nonsense")
    refused("witness", "--home", homes["firm-1"], "--founding", "1", "--address", "example.com:1")
    assert "knows no ledger yet" in refused(*attest(homes, lading))
