"""What `firm status` says of this moment: from the firm's own files, and nothing that is not there."""

from __future__ import annotations

import json
import os
from datetime import UTC, datetime
from pathlib import Path

import pytest
from click.testing import CliRunner
from federation_world import TASK, Lost, Meddler, federation, opened, train, training

from artesian import app
from clients.certificates import TLS_CERTIFICATE
from clients.connection import CONNECTION
from clients.firm import Firm
from clients.firm_live import lines_of, live
from clients.messages import OPEN
from clients.refusal_log import RefusalLog
from clients.sitting_out import ALL, FILE, Pause, sit_out
from clients.supervision.marked import started_at
from clients.supervision.status import RUN, ProgramStatus, SetStatus, write_status
from experiments.federation import Federation
from server.certificates import CertificateAuthority, install_certificate, request_certificate
from server.rounds import RunFailed


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Federation:
    return federation(tmp_path_factory.mktemp("live") / "f", 3)


@pytest.fixture
def firm(built: Federation) -> Firm:
    return Firm(built.member("firm-1"))


def test_before_anything_ran_nothing_is_claimed(firm: Firm) -> None:
    facts = live(firm)
    assert facts == {
        "processes": None,
        "coordinator": None,
        "certificate_until_s": facts["certificate_until_s"],
        "sits_out": {},
        "refusals": [],
    }


def test_processes_and_the_last_news(built: Federation) -> None:
    home = built.member("firm-2")
    (home / RUN).mkdir(exist_ok=True)
    programs = (ProgramStatus("witness", "ready"), ProgramStatus("supernode", "restarting"))
    write_status(home, SetStatus("ready", os.getpid(), started_at(os.getpid()) or 0, "token", 0.0, programs))
    places = "".join(f'{name} = "localhost:1"\n' for name in ("enrolment", "ledger", "fleet"))
    fields = f'member = "firm-2"\nkind = "firm"\ncid = "simulation"\nauthority_sha256 = "{"a" * 64}"\n'
    (home / CONNECTION).write_text(f"{fields}{places}", encoding="utf-8")
    (home / "mirror.db").touch()
    os.utime(home / "mirror.db", (1_790_000_000, 1_790_000_000))
    facts = live(Firm(home))
    assert facts["coordinator"] == {"ledger": "localhost:1", "last_news_s": 1_790_000_000.0}
    said = lines_of(facts)
    assert said[0] == "Processes: witness ready, supernode restarting"
    assert said[1] == "Coordinator: localhost:1, last news 2026-09-21 14:13 UTC"
    write_status(home, SetStatus("ready", os.getpid(), 1, "token", 0.0, programs))
    assert lines_of(live(Firm(home)))[0] == "Processes: killed; nothing runs"


def test_certificate_pause_and_refusals(firm: Firm, tmp_path: Path) -> None:
    now = datetime.now(UTC)
    authority = CertificateAuthority.create(tmp_path, "simulation", now)
    certificate = authority.issue_member(request_certificate(firm.home, "firm-1"), "firm-1", now)
    install_certificate(firm.home, certificate, authority.certificate_pem)
    sit_out(firm.home, TASK, Pause(0.0))
    sit_out(firm.home, "demand", Pause(0.0, 1.0))  # over
    RefusalLog(firm.home, lambda: 1_790_000_000.0).note("train.update", b"", "OverCap", "the cap is 2")
    facts = live(firm)
    assert facts["certificate_until_s"] > now.timestamp()
    assert facts["sits_out"] == {TASK: None}
    said = lines_of(facts)
    assert "Sits out of credit: until artesian firm resume" in said
    assert "Refused train.update at 2026-09-21 14:13 UTC with OverCap: the cap is 2" in said
    sit_out(firm.home, TASK, Pause(0.0, 4_000_000_000.0))
    assert "Sits out of credit: until 2096-10-02 07:06 UTC" in lines_of(live(firm))
    (firm.home / FILE).write_text("{", encoding="utf-8")
    assert "cannot be read" in str(live(firm)["sits_out"][ALL])
    (firm.home / FILE).unlink()
    (firm.home / TLS_CERTIFICATE).write_text("no certificate", encoding="utf-8")
    assert live(firm)["certificate_until_s"] is None


def test_an_open_round_that_waits_for_the_firm_is_named(tmp_path: Path) -> None:
    built = federation(tmp_path / "f", 3, training(1))

    def before(kind: str, member: str, message: object) -> None:
        if kind == OPEN:
            raise KeyboardInterrupt  # the coordinator dies while the round is open

    with opened(built) as coordinator, pytest.raises((KeyboardInterrupt, RunFailed, Lost)):
        train(built, coordinator, app=Meddler(before=before))  # type: ignore[arg-type]
    done = CliRunner().invoke(app, ["firm", "status", "--home", str(built.member("firm-1")), "--json"])
    facts = json.loads(done.stdout)
    (one,) = facts["ledger"]["open"]
    assert (one["task"], one["contributed"]) == (TASK, True)
    assert facts["now"]["processes"] is None
    shown = CliRunner().invoke(app, ["firm", "status", "--home", str(built.member("firm-1"))]).stdout
    assert "of credit is open and has this firm's contribution" in shown
