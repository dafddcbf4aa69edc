"""The coordinator's doctor: ports, policy, services, each with how to mend it."""

from __future__ import annotations

import json
import re
import socket
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from click.testing import CliRunner

from artesian import app
from clients.doctor.check import Finding, Report
from clients.doctor.probe import Seen
from clients.enrolment.consortium import CONSORTIUM, ConsortiumApp, ConsortiumPolicy, policy_hash
from clients.flower.bundle import installed_bundle
from ledger.homes import Settings
from server import doctor
from server.doctor import diagnosed
from server.engines.loopback import free_ports

NOW_S = 1_900_000_000.0
OWN = installed_bundle()
NAMES = ("enrolment", "ledger", "fleet", "scores", "superlink", "metrics", "dashboard")


@dataclass
class Nothing:
    """A network that nobody asks."""

    asked: list[str] = field(default_factory=list)

    def resolve(self, host: str) -> list[str]:
        raise AssertionError(host)

    def reach(self, host: str, port: int, proxy: str) -> None:
        raise AssertionError(host)

    def handshake(self, host: str, port: int, proxy: str, authority: Path, *, http: bool) -> Seen:
        raise AssertionError(host)


@pytest.fixture
def home(tmp_path: Path) -> Path:
    ports = "".join(f"{name}_port = {port}\n" for name, port in zip(NAMES, free_ports(len(NAMES)), strict=True))
    (tmp_path / "coordinator.toml").write_text(f'cid = "grain"\n\n[network]\n{ports}')
    (tmp_path / "signing.pem").write_text("a key")
    (tmp_path / "signing.pem").chmod(0o600)
    (tmp_path / CONSORTIUM).write_bytes(ConsortiumPolicy(cid="grain", name="Grain").text().encode())
    return tmp_path


def of(report: Report, name: str) -> list[Finding]:
    return [finding for check, finding in report.found if check == name]


def diagnose(home: Path, config: Callable[[Path], bytes | None] = lambda _: None) -> Report:
    return diagnosed(home, Nothing(), lambda: NOW_S, config)


def test_before_anything_runs(home: Path) -> None:
    report = diagnose(home)
    assert [one.level for one in of(report, "ports") + of(report, "policy")] == ["ok", "ok"]
    assert [one.level for one in of(report, "processes")] == ["warn"]
    assert "artesian coordinator up" in of(report, "processes")[0].mend
    assert not of(report, "ledger")  # nothing listens yet, so nothing is asked


def test_a_port_that_another_program_has_and_one_that_is_given_twice(home: Path) -> None:
    text = (home / "coordinator.toml").read_text()
    port = int(text.split("ledger_port = ")[1].split("\n")[0])
    with socket.create_server(("127.0.0.1", port)):
        (found,) = of(diagnose(home), "ports")
    assert (found.level, f"ledger_port {port}" in found.what, "another port" in found.mend) == ("fail", True, True)
    (home / "coordinator.toml").write_text(text.replace("fleet_port = ", f"fleet_port = {port} # "))
    (twice,) = of(diagnose(home), "coordinator.toml")
    assert (twice.level, str(port) in twice.what) == ("fail", True)


def test_a_port_that_this_user_may_not_have(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    bind = doctor._refused
    monkeypatch.setattr(
        doctor,
        "_refused",
        lambda host, port: PermissionError(13, "Permission denied") if port == 443 else bind(host, port),
    )
    text = (home / "coordinator.toml").read_text()
    (home / "coordinator.toml").write_text(re.sub(r"fleet_port = \d+", "fleet_port = 443", text))
    (found,) = of(diagnose(home), "ports")
    assert (found.level, found.what) == ("fail", "this user may not listen there: fleet_port 443")
    assert "above 1023" in found.mend


def test_an_address_that_is_not_of_this_machine(home: Path) -> None:
    text = (home / "coordinator.toml").read_text()
    (home / "coordinator.toml").write_text(text.replace("[network]\n", '[network]\nbind = "192.0.2.1"\n'))
    (found,) = of(diagnose(home), "ports")
    assert (found.level, "bind = '192.0.2.1'" in found.what, "0.0.0.0" in found.mend) == ("fail", True, True)


def test_another_policy_than_the_ledgers(home: Path) -> None:
    (home / "ledger.toml").write_text(Settings(founding="ab-cd").toml())
    right = policy_hash((home / CONSORTIUM).read_bytes())
    assert of(diagnose(home, lambda _: right), "policy")[0].level == "ok"
    (found,) = of(diagnose(home, lambda _: bytes(32)), "policy")
    assert (found.level, "the ledger's policy names 0000" in found.what) == ("fail", True)
    assert "artesian coordinator propose-policy COPY" in found.mend


def test_a_release_whose_app_bundle_the_policy_does_not_name(home: Path) -> None:
    (found,) = of(diagnose(home), "app")
    assert (found.level, found.what) == ("ok", f"runs are of app bundle {OWN.sha256[:16]} (artesian {OWN.version})")
    for named, level in ((OWN.sha256, "ok"), ("b" * 64, "fail")):
        policy = ConsortiumPolicy(cid="grain", name="Grain", app=(ConsortiumApp(sha256=named),))
        (home / CONSORTIUM).write_bytes(policy.text().encode())
        (found,) = of(diagnose(home), "app")
        assert found.level == level
    assert "so firms refuse its runs" in found.what
    assert "artesian coordinator apps" in found.mend


def test_a_configuration_that_cannot_be_read(home: Path) -> None:
    (home / "coordinator.toml").write_text("cid = 1")
    done = CliRunner().invoke(app, ["coordinator", "doctor", "--home", str(home), "--json"])
    facts = json.loads(done.stdout)
    assert (done.exit_code, facts["ok"]) == (1, False)
    assert any(one["check"] == "coordinator.toml" and one["level"] == "fail" for one in facts["checks"])
