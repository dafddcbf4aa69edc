"""A coordinator's home is made whole or not at all, and keeps its own certificate fresh."""

import fcntl
import os
from dataclasses import replace
from pathlib import Path

import pytest
from click.testing import CliRunner
from cryptography.x509 import load_pem_x509_certificate
from join_world import CID, SPEC, START_S

from artesian import app
from clients.certificates import facts_of
from clients.enrolment.consortium import check_specs, policy_hash, read_policy
from clients.enrolment.errors import BadConsortium
from clients.migration import pending
from ledger.keys import SigningKey
from server.certificates import CertificateAuthority
from server.coordinator import load_coordinator_config
from server.initialising import (
    CannotFound,
    Founding,
    HomeNotEmpty,
    NotInitialised,
    hosts_of,
    initialise,
    own_address,
    require_home,
)
from server.migration import COORDINATOR_MIGRATIONS
from server.network import Network, load_network
from server.service_certificate import MARKER, renew_service_certificate

NETWORK = Network(host="ledger.example", bind="0.0.0.0", enrolment_port=7)


def founding(signatures: str = "ed25519") -> Founding:
    return Founding(CID, 'The "Acme" of\n all', NETWORK, 4, signatures, (SPEC,))


def test_the_home_says_what_was_asked_for(tmp_path: Path) -> None:
    home = tmp_path / "home"
    policy = initialise(home, founding(), lambda: START_S)
    raw = (home / "consortium.toml").read_bytes()
    assert read_policy(raw) == policy
    assert (policy.name, policy.min_cohort) == ('The "Acme" of\n all', 4)
    assert len(policy_hash(raw)) == 32
    assert set(check_specs(policy, {"credit": (home / "tasks" / "credit.toml").read_bytes()})) == {"credit"}
    config = load_coordinator_config(home / "coordinator.toml")
    assert (config.network, config.task[0].spec) == (NETWORK, "tasks/credit.toml")
    assert config.ledger_service is not None
    assert CertificateAuthority.open(home).cid == CID
    keys = {SigningKey.load(home / name).public.raw for name in ("signing.pem", "log.pem", "next-log.pem")}
    assert len(keys) == 3
    for path in home.rglob("*"):
        if path.is_file() and path.parent.name != "tasks":
            assert path.stat().st_mode & 0o077 == 0, path
    assert not (home / "ledger.toml").exists()
    require_home(home)
    with pytest.raises(NotInitialised):
        require_home(tmp_path)
    (tmp_path / "consortium.toml").write_bytes((home / "consortium.toml").read_bytes())  # as a member's home has it
    with pytest.raises(NotInitialised, match=r"coordinator\.toml, so it is not the coordinator's home"):
        require_home(tmp_path)


def test_hybrid_keys_where_they_are_asked_for(tmp_path: Path) -> None:
    initialise(tmp_path / "home", founding("ed25519+ml-dsa-65"), lambda: START_S)
    assert SigningKey.load(tmp_path / "home" / "signing.pem").public.is_hybrid
    assert not SigningKey.load(tmp_path / "home" / "log.pem").public.is_hybrid


def test_what_fails_leaves_nothing_and_what_is_there_is_left_alone(tmp_path: Path) -> None:
    home = tmp_path / "home"

    def fail(_: Path) -> None:
        raise RuntimeError("disk full")

    with pytest.raises(RuntimeError):
        initialise(home, founding(), lambda: START_S, fail)
    assert list(tmp_path.iterdir()) == []
    initialise(home, founding(), lambda: START_S)
    before = {path: path.read_bytes() for path in home.rglob("*") if path.is_file()}
    with pytest.raises(HomeNotEmpty, match="must not be replaced"):
        initialise(home, founding(), lambda: START_S)
    assert {path: path.read_bytes() for path in home.rglob("*") if path.is_file()} == before


def test_a_consortium_with_an_id_of_another_form_is_not_founded(tmp_path: Path) -> None:
    with pytest.raises(CannotFound, match="the consortium: cid: ") as refused:
        initialise(tmp_path / "home", replace(founding(), cid="Beta!"), lambda: START_S)
    assert refused.value.exit_code == 2
    assert "\n" not in str(refused.value)
    assert list(tmp_path.iterdir()) == []


def test_two_tasks_of_one_name_are_refused(tmp_path: Path) -> None:
    first, second = tmp_path / "credit.toml", tmp_path / "other.toml"
    for path in (first, second):
        path.write_bytes(SPEC.read_bytes())
    with pytest.raises(CannotFound, match=f"--task {second}: .* is named .* too"):
        initialise(tmp_path / "home", replace(founding(), specs=(first, second)), lambda: START_S)
    assert not (tmp_path / "home").exists()


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("--ledger-port", "8442"), "the network: enrolment_port and ledger_port are both 8442"),
        (("--host", "bad host!"), "--host 'bad host!': give the name or the address"),
        (("--bind", "nonsense"), "--bind 'nonsense': give an address of this machine, like 10.0.0.5"),
        (("--bind", "10.0.0.1:8442"), "--bind '10.0.0.1:8442': give an address"),
        (("--bind", "[::1]"), "--bind '[::1]': give an address"),
        (("--cid", "Beta!"), "the consortium: cid: must be 1 to 63 lower-case letters, digits and hyphens"),
    ],
)
def test_what_cannot_be_founded_is_one_line(tmp_path: Path, words: tuple[str, str], says: str) -> None:
    home = tmp_path / "home"
    refused = CliRunner().invoke(app, ["coordinator", "init", "--home", str(home), "--cid", CID, *words])
    assert (refused.exit_code, refused.stderr.count("\n"), says in refused.stderr) == (2, 1, True), refused.output
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("bind", ["::", "10.0.0.5", "localhost"])
def test_what_is_listened_on_is_an_address_or_localhost(tmp_path: Path, bind: str) -> None:
    """The machine may get the address later, so it need not have it yet."""
    words = ["coordinator", "init", "--home", str(tmp_path / "home"), "--cid", CID, "--bind", bind]
    assert CliRunner().invoke(app, words).exit_code == 0
    assert load_network(tmp_path / "home").bind == bind


def test_the_certificate_is_for_every_name_and_renewed_in_time(tmp_path: Path) -> None:
    home = tmp_path / "home"
    initialise(home, founding(), lambda: START_S)
    assert hosts_of(NETWORK) == ["ledger.example", "localhost", "127.0.0.1"]
    assert hosts_of(Network(host="a.example", bind="10.0.0.1"))[:2] == ["a.example", "10.0.0.1"]
    assert own_address(NETWORK, 5) == "127.0.0.1:5"
    assert own_address(Network(bind="::1"), 5) == "[::1]:5"
    key, first = (home / "tls.key").read_bytes(), facts_of((home / "tls.crt").read_bytes())
    assert renew_service_certificate(home, first.due_s - 1) is None
    assert not (home / MARKER).exists()
    renewed = renew_service_certificate(home, first.due_s)
    assert renewed is not None
    assert renewed.until_s > first.until_s
    assert facts_of((home / "tls.crt").read_bytes()) == renewed
    assert f"{renewed.serial:x}" in (home / MARKER).read_text()
    assert (home / "tls.key").read_bytes() == key
    load_pem_x509_certificate((home / "tls.crt").read_bytes()).verify_directly_issued_by(
        load_pem_x509_certificate((home / "ca.crt").read_bytes())
    )
    assert renew_service_certificate(home, first.due_s, force=True) is not None


def test_what_a_killed_init_left_is_removed_and_what_another_makes_now_is_not(tmp_path: Path) -> None:
    home = tmp_path / "home"
    left, now, other = (tmp_path / name for name in (".home.0123456789ab", ".home.ba9876543210", ".home.backup"))
    for folder in (left, now, other):
        folder.mkdir()
        (folder / "ca.key").write_text("secret")
    descriptor = os.open(now, os.O_RDONLY)
    fcntl.flock(descriptor, fcntl.LOCK_EX)
    initialise(home, founding(), lambda: START_S)
    os.close(descriptor)
    assert sorted(path.name for path in tmp_path.iterdir()) == [".home.ba9876543210", ".home.backup", "home"]


def test_two_inits_at_once_do_not_remove_each_others_work(tmp_path: Path) -> None:
    home = tmp_path / "home"

    def second(unfinished: Path) -> None:
        with pytest.raises(RuntimeError):
            initialise(home, founding(), lambda: START_S, fail)
        assert (unfinished / "ca.key").exists()

    def fail(_: Path) -> None:
        raise RuntimeError("disk full")

    initialise(home, founding(), lambda: START_S, second)
    assert (home / "ca.key").exists()


def test_a_new_home_is_of_the_present_version(tmp_path: Path) -> None:
    home = tmp_path / "home"
    initialise(home, founding(), lambda: START_S)
    assert not pending(home, COORDINATOR_MIGRATIONS)
    assert all((home / name).is_dir() for name in ("run", "logs", "flower"))


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ('cid = "acme"', "name"),
        ('cid = "acme"\nname = "x"\nmin_cohort = 2', "min_cohort"),
        ('cid = "acme"\nname = "x"\nmin_cohrt = 3', "min_cohrt: unknown key"),
        ("cid = ", "not valid TOML"),
        ('cid = "acme"\nname = "x"\n' + 2 * f'[[task]]\nname = "a"\nspec_sha256 = "{"0" * 64}"\n', "named twice"),
        ("#" * (1 << 18) + "#", "at most"),
    ],
)
def test_a_policy_that_cannot_be_used_is_refused(text: str, words: str) -> None:
    with pytest.raises(BadConsortium, match=words):
        read_policy(text.encode())
