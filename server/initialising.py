"""Making a coordinator's home: every key where it stays, the CA, the shared policy, and `coordinator.toml` to edit.

The ledger is founded later, when the founders' keys are known (`server.enrolment.admission`).
"""

from __future__ import annotations

import fcntl
import json
import os
import re
import secrets
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from clients.enrolment.consortium import CONSORTIUM, TASKS, ConsortiumApp, ConsortiumPolicy, ConsortiumTask
from clients.migration import folders, write_version
from clients.tasks.spec import load_spec
from clients.toml_files import validated
from ledger.folder_sync import sync_folder
from ledger.homes import LOG_KEY, NEXT_LOG_KEY, SIGNING_KEY
from ledger.keys import SigningKey
from ledger.rules import COORDINATOR, HYBRID
from ledger.whole_file import write_whole
from server.certificates import LOCAL_HOSTS, CertificateAuthority, install_certificate, request_certificate
from server.engines.flower_home import FlowerHome
from server.errors import ServerError
from server.network import CONFIG_FILE, Network

_MARK_BYTES = 6
_EVERYWHERE = ("0.0.0.0", "::")


class NotInitialised(ServerError):
    """The folder is no coordinator's home."""


class CannotFound(ServerError):
    """The consortium's id or another of its terms is not of the form that it takes."""


class HomeNotEmpty(ServerError):
    """There is something where the home should be made."""


@dataclass(frozen=True)
class Founding:
    """What a consortium is to be.

    Attributes:
        cid, name: its id, and its name for people.
        network: where members reach the coordinator.
        min_cohort: fewest firms in a cohort.
        signatures: of statements and approvals.
        specs: files of task specs.
        pin_app: whether the policy names the app bundle of this version.
    """

    cid: str
    name: str
    network: Network
    min_cohort: int
    signatures: str
    specs: tuple[Path, ...] = ()
    pin_app: bool = False


def initialise(
    home: Path, founding: Founding, now: Callable[[], float], then: Callable[[Path], None] = lambda _: None
) -> ConsortiumPolicy:
    """Make the home, all of it or nothing.

    Args:
        home: a directory that is empty or does not exist.
        then: called with the folder before it gets its name, to put more into it.

    Raises:
        HomeNotEmpty: there is something already.
        CannotFound: the id, or another of the terms, is not of its form.
        TaskSpecInvalid, ServerError, LedgerError: it cannot be made like this.
    """
    if home.exists() and (not home.is_dir() or any(home.iterdir())):
        raise HomeNotEmpty(f"{home}: is not empty; its keys must not be replaced, so choose another directory")
    specs = _by_name(founding.specs)
    tasks = [ConsortiumTask(name=name, spec_sha256=load_spec(path).hash.hex()) for name, path in specs.items()]
    terms = {
        "cid": founding.cid,
        "name": founding.name,
        "min_cohort": founding.min_cohort,
        "signatures": founding.signatures,
        "task": tasks,
        "app": [_own_app()] if founding.pin_app else [],
    }
    policy = validated(terms, ConsortiumPolicy, CannotFound, "the consortium")
    home.parent.mkdir(parents=True, exist_ok=True)
    _remove_leftovers(home)
    unfinished = home.with_name(f".{home.name}.{secrets.token_hex(_MARK_BYTES)}")
    unfinished.mkdir(mode=0o700)
    with _being_made(unfinished):
        try:
            _fill(unfinished, founding, policy, specs, now)
            then(unfinished)
            os.rename(unfinished, home)  # replaces an empty directory, never a full one
        except BaseException:
            shutil.rmtree(unfinished, ignore_errors=True)
            raise
    sync_folder(home.parent)
    return policy


def _own_app() -> ConsortiumApp:
    from clients.flower.bundle import installed_bundle

    own = installed_bundle()
    return ConsortiumApp(sha256=own.sha256, version=own.version)


def _by_name(paths: Sequence[Path]) -> dict[str, Path]:
    specs = dict[str, Path]()
    for path in paths:
        name = load_spec(path).name
        if name in specs:
            raise CannotFound(f"--task {path}: {specs[name]} is named {name!r} too; give each task a name of its own")
        specs[name] = path
    return specs


@contextmanager
def _being_made(folder: Path) -> Iterator[bool]:
    """Hold a folder while a home is made in it; says whether nobody else does."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield True
    except BlockingIOError:
        yield False
    finally:
        os.close(descriptor)


def _remove_leftovers(home: Path) -> None:
    """Remove what a process that was killed had made for this home: keys that nobody was told of, `ca.key` among them.

    What another process is making just now stays.
    """
    name = re.compile(rf"\.{re.escape(home.name)}\.[0-9a-f]{{{2 * _MARK_BYTES}}}")
    for folder in home.parent.iterdir():
        if name.fullmatch(folder.name) and folder.is_dir() and not folder.is_symlink():
            with _being_made(folder) as left:
                if left:
                    shutil.rmtree(folder)


def _fill(
    home: Path, founding: Founding, policy: ConsortiumPolicy, specs: Mapping[str, Path], now: Callable[[], float]
) -> None:
    SigningKey.generate(founding.signatures == HYBRID).save(home / SIGNING_KEY)
    for name in (LOG_KEY, NEXT_LOG_KEY):
        SigningKey.generate().save(home / name)
    moment, network = datetime.fromtimestamp(now(), UTC), founding.network
    authority = CertificateAuthority.create(home, founding.cid, moment)
    request = request_certificate(home, COORDINATOR)
    certificate = authority.issue_server(request, COORDINATOR, moment, hosts_of(network), client_too=True)
    install_certificate(home, certificate, authority.certificate_pem)
    write_whole(home / CONSORTIUM, policy.text().encode())
    (home / TASKS).mkdir()
    for name, path in specs.items():
        write_whole(home / TASKS / f"{name}.toml", path.read_bytes())
    write_whole(home / CONFIG_FILE, coordinator_toml(founding.cid, network, policy).encode())
    _check_config(home / CONFIG_FILE)
    flower = FlowerHome(home, network)
    assert flower.control_secret != flower.executor_secret  # made by being asked for
    folders("run", "logs").do(home)
    write_version(home)


def _check_config(path: Path) -> None:
    """Read what was written as all others do; only here, since that imports what trains."""
    from server.coordinator import load_coordinator_config

    load_coordinator_config(path)


def hosts_of(network: Network) -> list[str]:
    """The names and addresses that the services' certificate is for."""
    bound = [] if network.bind in _EVERYWHERE else [network.bind]
    return list(dict.fromkeys([network.host, *bound, *LOCAL_HOSTS]))


def own_address(network: Network, port: int) -> str:
    """HOST:PORT at which this machine itself reaches one of the services."""
    host = "127.0.0.1" if network.bind in _EVERYWHERE else network.bind
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def coordinator_toml(cid: str, network: Network, policy: ConsortiumPolicy) -> str:
    """A `coordinator.toml` with comments."""
    ports = "\n".join(f"{f'{name} = {getattr(network, name)}':<26}# {words}" for name, words in _PORTS.items())
    tasks = "\n".join(_TASK.format(name=json.dumps(task.name), spec=json.dumps(task.file)) for task in policy.task)
    return _CONFIG.format(
        cid=json.dumps(cid), host=json.dumps(network.host), bind=json.dumps(network.bind), ports=ports, tasks=tasks
    )


_PORTS = {
    "enrolment_port": "the join desk: members join, renew certificates, approve",
    "ledger_port": "the ledger",
    "fleet_port": "where firms' SuperNodes connect",
    "scores_port": "banks' questions",
    "superlink_port": "Flower itself; this machine only",
    "metrics_port": "Prometheus; this machine only",
    "dashboard_port": "reserved; this machine only",
}
_CONFIG = """\
# How this coordinator runs. It stays here; what all members share is in consortium.toml.
cid = {cid}

[network]
host = {host}  # the name or address by which members reach this machine: in invites and certificates
bind = {bind}  # the address that services for members listen on; 0.0.0.0 is every one of this machine
{ports}

# `artesian ledger serve` has the ledger, and all other processes here ask it.
[ledger_service]

# Delete what old rounds' updates were in so many days after the release; without it everything is kept.
# [retention]
# days = 90
{tasks}"""
_TASK = """
[[task]]
name = {name}
spec = {spec}

# How it is trained. What is not said here takes the default; `artesian coordinator propose` finds good values.
# [task.training]
# rounds = 10
# [task.privacy]
# epsilon = 3.0   # of the whole run, for every privacy unit of every firm
# delta = 1e-5
"""


def require_home(home: Path) -> None:
    """Raise `NotInitialised` unless `home` was made by `initialise`."""
    for name in (CONSORTIUM, CONFIG_FILE):
        if not (home / name).exists():
            raise NotInitialised(
                f"{home}: holds no {name}, so it is not the coordinator's home; give that, or make one with: "
                "artesian coordinator init"
            )
