"""What `artesian bank status` says: from the bank's own files, and of services only whether they answer."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from federation_world import TASK, federation, opened, train, training

from artesian import app
from clients.bank_live import bank_facts, lines_of
from clients.bank_migrations import BANK_MIGRATIONS
from clients.certificates import TLS_CERTIFICATE, facts_of, request_certificate
from clients.connection import CONNECTION
from clients.doctor.probe import Seen
from clients.migration import HomeOfLaterRelease, migrate, state_version, write_version
from clients.refusal_log import RefusalLog
from clients.versions import STATE_VERSION
from experiments.federation import Federation
from ledger.homes import SETTINGS, Settings
from ledger.keys import SigningKey
from ledger.policy import Policy
from ledger.witness import Witness
from server.certificates import CertificateAuthority

BANK = "bank-1"
PLACES = {"enrolment": "desk.example:1", "ledger": "ledger.example:2", "scores": "scores.example:3"}


class Network:
    """One where the score service does not answer."""

    def resolve(self, host: str) -> list[str]:
        return ["192.0.2.1"]

    def reach(self, host: str, port: int, proxy: str) -> None:
        if port == 3:
            raise TimeoutError

    def handshake(self, host: str, port: int, proxy: str, authority: Path, *, http: bool) -> Seen:
        return Seen(1e12)


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Federation:
    built = federation(tmp_path_factory.mktemp("bank") / "f", 3, training(1), banks=(BANK,))
    home = built.member(BANK)
    key, policy = SigningKey.load(home / "signing.pem"), Policy.parse((home / "policy.txt").read_text("utf-8"))
    with opened(built) as coordinator:
        train(built, coordinator)
        with Witness(home / "mirror.db", key, BANK, policy.logs[0], "simulation", lambda: 1.8e9) as witness:
            witness.follow(coordinator.log)
            witness.mirror.learn_from(coordinator.log)
    return built


@pytest.fixture
def home(built: Federation) -> Path:
    return built.member(BANK)


def connect(home: Path, **more: str) -> None:
    places = "".join(f'{name} = "{place}"\n' for name, place in {**PLACES, **more}.items())
    fields = f'member = "{BANK}"\nkind = "bank"\ncid = "simulation"\nauthority_sha256 = "{"a" * 64}"\n'
    (home / CONNECTION).write_text(fields + places, encoding="utf-8")


def facts(home: Path, network: Network | None = None, now: Callable[[], float] = lambda: 1.8e9) -> dict[str, Any]:
    return bank_facts(home, now, network)


def test_the_mirror_and_what_is_published(home: Path) -> None:
    at = facts(home)
    assert at["mirror"]["entries"] >= at["mirror"]["final"] > 0
    assert at["mirror"]["bytes"] > 0
    assert at["mirror"]["checked_s"] == pytest.approx((home / "mirror.db").stat().st_mtime, abs=1)
    assert [(one["task"], one["revoked"]) for one in at["releases"]] == [(TASK, False)]
    assert at["problem"] is None
    said = list(lines_of(at))
    assert any(line.startswith("Ledger artesian/simulation: ") and "last checked" in line for line in said)
    assert any(line.startswith(f"Release of {TASK}: ") for line in said)


def test_services_are_named_and_looked_at(home: Path) -> None:
    connect(home, proxy="http://proxy.example:3128")
    at = facts(home, Network())
    assert at["services"] == PLACES
    levels = {one["service"]: one["level"] for one in at["reached"]}
    assert levels == {"proxy": "ok", "enrolment": "ok", "ledger": "ok", "scores": "unreachable"}
    said = list(lines_of(at))
    assert said[0] == "bank-1 of simulation"
    assert "The ledger service: ledger.example:2, reached" in said
    assert "Scores: scores.example:3, unreachable: scores.example:3: no answer" in said
    assert "Through the proxy http://proxy.example:3128" in said
    assert facts(home)["reached"] is None
    (home / CONNECTION).unlink()


def test_the_certificate_and_its_end(home: Path, tmp_path: Path) -> None:
    authority = CertificateAuthority.create(tmp_path, "simulation", datetime.now(UTC))
    pem = authority.issue_member(request_certificate(home, BANK), BANK, datetime.now(UTC))
    known = {name: (home / name).read_bytes() for name in (TLS_CERTIFICATE, "ca.crt") if (home / name).exists()}
    (home / TLS_CERTIFICATE).write_bytes(pem)
    (home / "ca.crt").write_bytes(authority.certificate_pem)
    until_s = facts_of(pem).until_s
    at = facts(home, now=lambda: until_s - 1)
    assert (at["certificate"]["holder"], at["certificate"]["until_s"]) == ("artesian://simulation/bank-1", until_s)
    assert at["problem"] is None
    over = facts(home, now=lambda: until_s)
    assert "expired" in over["problem"]
    assert list(lines_of(over))[1].startswith("Needs you: ")
    (home / "ca.crt").write_bytes(CertificateAuthority.create(tmp_path / "2", "x", datetime.now(UTC)).certificate_pem)
    assert "did not sign" in facts(home)["problem"]
    for name in (TLS_CERTIFICATE, "ca.crt"):
        (home / name).unlink()
    for name, raw in known.items():
        (home / name).write_bytes(raw)


def test_a_question_without_an_answer_is_kept(home: Path, tmp_path: Path) -> None:
    asked = tmp_path / "asked.json"
    asked.write_text('{"x1": 1}')
    words = ["bank", "score", "--home", str(home), "--address", "localhost:1", "--features", str(asked)]
    done = CliRunner().invoke(app, words)
    assert done.exit_code == 3, done.output
    (kept,) = facts(home)["refusals"]
    assert (kept["asked"], kept["code"]) == (f"score {TASK}", "ServiceUnreachable")
    assert any("ServiceUnreachable: no score service at localhost:1" in line for line in lines_of(facts(home)))
    RefusalLog(home).note("score credit", b"", "TurnedAway", "no \x1b[2J quota")
    assert not any("\x1b" in line for line in lines_of(facts(home)))


def test_the_command_prints_one_document_and_changes_nothing(home: Path) -> None:
    before = {path: path.read_bytes() for path in home.rglob("*") if path.is_file()}
    done = CliRunner().invoke(app, ["bank", "status", "--home", str(home), "--json"])
    document = json.loads(done.stdout)
    assert (done.exit_code, document["ok"], document["coordinator"]) == (0, True, None)
    assert document["releases"][0]["task"] == TASK
    after = {path: path.read_bytes() for path in home.rglob("*") if path.is_file()}
    assert {path.name for path in after.keys() - before.keys()} <= {"mirror.db-wal", "mirror.db-shm"}
    assert all(after[path] == raw for path, raw in before.items())
    shown = CliRunner().invoke(app, ["bank", "status", "--home", str(home), "--offline"]).stdout
    assert "entries mirrored and checked" in shown


def test_an_empty_home(tmp_path: Path) -> None:
    said = list(lines_of(facts(tmp_path)))
    assert said == [
        "a bank of a consortium that it has not joined",
        "Certificate: none yet; artesian bank join fetches it",
        "Ledger: nothing mirrored yet; artesian ledger witness keeps a mirror",
    ]


def test_an_older_home_comes_forward(tmp_path: Path) -> None:
    connect(tmp_path)
    (tmp_path / SETTINGS).write_text('origin = "kept/log"\n')
    done = CliRunner().invoke(app, ["bank", "migrate", "--home", str(tmp_path), "--dry-run"])
    assert (done.exit_code, state_version(tmp_path)) == (0, 0)
    assert "would go from version 0 to 1" in done.stdout
    done = CliRunner().invoke(app, ["bank", "migrate", "--home", str(tmp_path), "--json"])
    assert json.loads(done.stdout)["migrations"][0]["to"] == STATE_VERSION
    assert Settings.load(tmp_path) == Settings(BANK, "simulation", "kept/log", address="ledger.example:2")
    assert (tmp_path / f"{SETTINGS}.before-1").read_text() == 'origin = "kept/log"\n'
    assert (tmp_path / "run").is_dir()


def test_one_that_was_given_its_certificate_by_hand(tmp_path: Path) -> None:
    authority = CertificateAuthority.create(tmp_path / "ca", "bread", datetime.now(UTC))
    home = tmp_path / "bank"
    pem = authority.issue_member(request_certificate(home, BANK), BANK, datetime.now(UTC))
    (home / TLS_CERTIFICATE).write_bytes(pem)
    migrate(home, BANK_MIGRATIONS)
    assert Settings.load(home) == Settings(BANK, "bread")


def test_a_home_of_a_later_release_is_refused(tmp_path: Path) -> None:
    write_version(tmp_path, STATE_VERSION + 1)
    with pytest.raises(HomeOfLaterRelease):
        facts(tmp_path)
    done = CliRunner().invoke(app, ["bank", "score", "--home", str(tmp_path), "--features", "none.json"])
    assert (done.exit_code, "its files are of version" in done.stderr) == (2, True)
