"""The examples of deployment: units, containers, fence and proxy name commands, ports and files that are there."""

import datetime as dt
import re
import shlex
import shutil
import subprocess
import tomllib
from pathlib import Path

import pytest
import yaml
from click.testing import CliRunner

from artesian import app
from server.certificates import CertificateAuthority, install_certificate, request_certificate
from server.network import Network

ROOT = Path(__file__).parents[1]
UNITS = sorted((ROOT / "deploy").glob("*.service"))
each_unit = pytest.mark.parametrize("unit", UNITS, ids=lambda unit: unit.name)


def test_there_is_a_unit_for_each_role_and_for_each_process_of_the_ledger_alone() -> None:
    names = [unit.name.removeprefix("artesian-").removesuffix(".service") for unit in UNITS]
    assert names == ["coordinator", "firm", "ledger", "witness"]


@each_unit
def test_what_it_starts_is_there(unit: Path) -> None:
    [line] = re.findall(r"^ExecStart=/opt/artesian/bin/artesian (.*)$", unit.read_text(), re.MULTILINE)
    group, command, *options = shlex.split(line)
    shown = CliRunner().invoke(app, [group, command, "--help"], env={"COLUMNS": "200"})
    assert shown.exit_code == 0
    assert "ARTESIAN_HOME" in shown.stdout
    assert all(option in shown.stdout for option in options if option.startswith("--"))


@each_unit
@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="there is no systemd here")
def test_systemd_takes_it(unit: Path, tmp_path: Path) -> None:
    """With a program and a user that are on this machine."""
    text = unit.read_text().replace("/opt/artesian/bin/artesian", "/bin/true").replace("User=artesian", "User=root")
    (tmp_path / unit.name).write_text(text)
    verify = ["systemd-analyze", "verify", tmp_path / unit.name]
    done = subprocess.run(verify, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


def test_the_manual_shows_the_unit() -> None:
    shown = re.findall("```ini\n(.*?)```", (ROOT / "docs" / "ledger.md").read_text(), re.DOTALL)
    assert shown == [(ROOT / "deploy" / "artesian-ledger.service").read_text()]


PORTS = {Network().enrolment_port, Network().ledger_port, Network().fleet_port, Network().scores_port}


def test_firms_in_containers_publish_nothing_and_the_coordinator_its_four_ports() -> None:
    services = yaml.safe_load((ROOT / "deploy" / "compose.yaml").read_text())["services"]
    coordinator = services.pop("coordinator")
    assert {int(port.split(":")[1]) for port in coordinator["ports"]} == PORTS
    assert len(services) == 3
    assert all("ports" not in firm for firm in services.values())


def test_containers_run_commands_that_are_there() -> None:
    for service in yaml.safe_load((ROOT / "deploy" / "compose.yaml").read_text())["services"].values():
        for words in (service["command"], service["healthcheck"]["test"][2:]):
            assert CliRunner().invoke(app, [*words, "--help"]).exit_code == 0


@pytest.mark.skipif(
    subprocess.run(["docker", "compose", "version"], capture_output=True, check=False).returncode != 0
    if shutil.which("docker")
    else True,
    reason="there is no docker compose here",
)
def test_docker_takes_the_composition() -> None:
    config = ["docker", "compose", "-f", ROOT / "deploy" / "compose.yaml", "config", "--quiet"]
    assert subprocess.run(config, capture_output=True, check=False).returncode == 0


def test_the_image_has_every_package() -> None:
    copied = re.findall(r"^COPY (\w+) \1$", (ROOT / "deploy" / "Dockerfile").read_text(), re.MULTILINE)
    assert copied == ["ledger", "clients", "server", "experiments"]


def test_the_image_has_what_is_installed_beside_the_packages() -> None:
    """A pattern of pyproject.toml that finds nothing is no error to whoever builds the package."""
    patterns = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]["data-files"].values()
    copied = re.findall(r"^COPY (\S+/\S+) \1$", (ROOT / "deploy" / "Dockerfile").read_text(), re.MULTILINE)
    assert all(any(pattern.startswith(f"{folder}/") for folder in copied) for [pattern] in patterns)


def test_a_home_in_a_container_is_made_below_its_volume() -> None:
    text = (ROOT / "deploy" / "Dockerfile").read_text()
    [volume] = re.findall(r"^VOLUME (\S+)$", text, re.MULTILINE)
    [home] = re.findall(r"ARTESIAN_HOME=(\S+)", text)
    assert Path(home).parent == Path(volume)


def test_the_fence_of_nginx_lets_nothing_through_but_the_fleet_api_and_our_services() -> None:
    text = (ROOT / "deploy" / "nginx.conf").read_text()
    assert re.findall(r"location (\S+) {", text) == ["/v1/fleet/", "/"]
    assert {int(port) for port in re.findall(r"listen 203\.0\.113\.10:(\d+)", text)} == PORTS
    assert {int(port) for port in re.findall(r"127\.0\.0\.1:(\d+)", text)} == PORTS, "members are told these ports"
    assert len(re.findall("listen ", text)) == len(PORTS)


@pytest.mark.nginx
@pytest.mark.skipif(shutil.which("nginx") is None, reason="there is no nginx here")
def test_nginx_takes_it(tmp_path: Path) -> None:
    home = tmp_path / "coordinator"
    now = dt.datetime.now(dt.UTC)
    authority = CertificateAuthority.create(home, "c", now)
    certificate = authority.issue_server(request_certificate(home, "coordinator"), "coordinator", now)
    install_certificate(home, certificate, authority.certificate_pem)
    text = (ROOT / "deploy" / "nginx.conf").read_text()
    (tmp_path / "nginx.conf").write_text(
        text.replace("/var/lib/artesian", str(tmp_path))
        .replace("/run/nginx.pid", str(tmp_path / "pid"))
        .replace("203.0.113.10", "127.0.0.2")
    )
    done = subprocess.run(["nginx", "-t", "-c", tmp_path / "nginx.conf"], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_the_proxy_lets_tunnels_to_our_ports_out_and_nothing_else() -> None:
    text = (ROOT / "deploy" / "squid.conf").read_text()
    [ports] = re.findall(r"^acl services port (.*)$", text, re.MULTILINE)
    assert {int(port) for port in ports.split()} == PORTS
    assert re.findall(r"^http_access (.*)$", text, re.MULTILINE) == [
        "allow CONNECT firm coordinator services",
        "deny all",
    ]
