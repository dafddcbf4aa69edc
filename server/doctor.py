"""What is wrong at the coordinator, and how to mend it."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator
from pathlib import Path

from clients.doctor.check import Check, Finding, Report, ok, run_checks
from clients.doctor.files import certificate_checks, file_checks
from clients.doctor.probe import Probe
from clients.doctor.processes import process_checks
from clients.doctor.services import service_checks
from clients.doctor.software import software_checks
from clients.enrolment.consortium import CONSORTIUM, TASKS, check_specs, policy_hash, read_policy
from clients.supervision.status import read_status
from ledger.homes import Settings
from server.coordinator import CONFIG_FILE, load_coordinator_config
from server.enrolment.agreed import NotNamed, require_app_named
from server.member_checks import member_checks
from server.network import Network, NetworkInvalid, load_network

SECRETS = ("signing.pem", "log.pem", "next-log.pem", "following-log.pem", "ca.key", "tls.key", "ledger.db")
State = Callable[[Path], bytes | None]


def diagnosed(home: Path, probe: Probe, now: Callable[[], float], config_on_ledger: State) -> Report:
    """Every check at the coordinator.

    Args:
        config_on_ledger: reads the hash of `consortium.toml` that the ledger's policy names; None if it names none.
    """
    checks = [
        *software_checks(),
        *file_checks(home, SECRETS, ("signing.pem", CONFIG_FILE)),
        Check("coordinator.toml", lambda: _config(home)),
        *certificate_checks(home, now),
        Check("policy", lambda: _policy(home, config_on_ledger)),
        Check("app", lambda: _app(home)),
        *process_checks(home, "coordinator"),
        Check("ports", lambda: _ports(home, probe)),
        *member_checks(home),
    ]
    if read_status(home) is not None:  # else nothing listens, and the check of processes says so
        checks += service_checks(home, _addresses(home), "", probe, now)
    return run_checks(checks)


def _addresses(home: Path) -> dict[str, str]:
    """HOST:PORT of what members use; nothing where `coordinator.toml` is not in order, which its own check says."""
    try:
        network = load_network(home)
    except NetworkInvalid:
        return {}
    ports = {
        "enrolment": network.enrolment_port,
        "ledger": network.ledger_port,
        "fleet": network.fleet_port,
        "scores": network.scores_port,
    }
    return {name: network.address(port) for name, port in ports.items()}


def _config(home: Path) -> Iterator[Finding]:
    config = load_coordinator_config(home / CONFIG_FILE)
    if config.task:
        yield ok(f"{config.cid} trains {', '.join(one.name for one in config.task)}")
    else:
        yield Finding("warn", f"{home / CONFIG_FILE}: no task is trained", "write a [[task]] into it")


def _policy(home: Path, config_on_ledger: State) -> Iterator[Finding]:
    path = home / CONSORTIUM
    if not path.exists():
        yield Finding("warn", f"{path}: is missing", "consortia that `coordinator init` founds have one")
        return
    raw = path.read_bytes()
    policy = read_policy(raw, str(path))
    files = {one.name: home / TASKS / f"{one.name}.toml" for one in policy.task}
    check_specs(policy, {name: file.read_bytes() for name, file in files.items() if file.exists()})
    named = config_on_ledger(home) if Settings.load(home).founding else None
    if named is not None and named != policy_hash(raw):
        what = f"{path}: its hash is {policy_hash(raw).hex()[:16]}…, the ledger's policy names {named.hex()[:16]}…"
        mend = (
            "restore the file that the members agreed on; to change it, propose a copy: "
            f"artesian coordinator propose-policy COPY --home {home}"
        )
        yield Finding("fail", what, mend)
    else:
        yield ok(f"{CONSORTIUM} is the one that the members agreed on")


def _app(home: Path) -> Iterator[Finding]:
    try:
        yield ok(f"runs are of {require_app_named(home)}")
    except NotNamed as error:
        what, _, mend = str(error).partition("; ")
        yield Finding("fail", what, mend)


def _ports(home: Path, probe: Probe) -> Iterator[Finding]:
    """A port that another program has, before `up` is given. Two services on one port are no configuration."""
    network = load_network(home)
    if read_status(home) is not None:
        return
    unusable = _refused(network.bind, 0)
    if unusable is not None:
        mend = f"give bind in {CONFIG_FILE} an address of this machine; 0.0.0.0 is every one"
        yield Finding("fail", f"nothing can listen on bind = {network.bind!r}: {unusable.strerror}", mend)
        return
    refused = {f"{name} {port}": _refused(network.bind, port) for name, port in _named(network).items()}
    withheld = [one for one, error in refused.items() if isinstance(error, PermissionError)]
    taken = [one for one, error in refused.items() if error is not None and one not in withheld]
    if withheld:
        mend = f"take a port above 1023 in {CONFIG_FILE} (a proxy in front may have the low one: deploy/)"
        yield Finding("fail", f"this user may not listen there: {', '.join(withheld)}", mend)
    if taken:
        mend = f"stop what has it, or take another port in {CONFIG_FILE}"
        yield Finding("fail", f"another program listens already: {', '.join(taken)}", mend)
    if not withheld and not taken:
        yield ok("the ports are free")


def _named(network: Network) -> dict[str, int]:
    return {name: value for name, value in vars(network).items() if name.endswith("_port")}


def _refused(host: str, port: int) -> OSError | None:
    """Why nothing can listen there, port 0 being any; None where something can."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as asked:
        asked.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            asked.bind((host, port))
        except OSError as error:
            return error
        return None
