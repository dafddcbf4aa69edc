"""Flower's words turned into ours: phases of a run, keys of SuperNodes; and the home's secrets."""

from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from flwr.common.serde import fab_to_proto, user_config_to_proto
from flwr.proto import control_pb2
from flwr.supercore.error import ApiErrorCode
from flwr.supercore.fab import Fab

from clients.flower import flower_api_pb2 as pb
from ledger.secret_files import KeyFileError
from server.certificates import AUTHORITY_CERTIFICATE
from server.engines import EngineUnreachable
from server.engines.flower_control import (
    NODE_NOT_FOUND,
    RUN_ALREADY_FINISHED,
    RUN_ID_NOT_FOUND,
    FlowerControl,
    RunRefused,
    phase_of,
    scalars,
)
from server.engines.flower_home import FlowerHome
from server.engines.loopback import free_ports
from server.engines.programs import coordinator_programs
from server.network import Network, NetworkInvalid, load_network


@pytest.mark.parametrize(
    ("status", "sub_status", "phase"),
    [
        ("pending", "", "pending"),
        ("starting", "", "pending"),
        ("running", "", "running"),
        ("finished", "completed", "completed"),
        ("finished", "stopped", "stopped"),
        ("finished", "failed", "failed"),
        ("finished", "a new word", "failed"),
    ],
)
def test_a_run_stands_where_flower_says(status: str, sub_status: str, phase: str) -> None:
    assert phase_of(pb.RunStatus(status=status, sub_status=sub_status)) == phase


def test_a_run_is_submitted_in_the_bytes_that_flower_would_send() -> None:
    config: dict[str, bool | int | float | str] = {"a": True, "b": -3, "c": 0.5, "d": "x"}
    ours = pb.StartRunRequest(fab=pb.Fab(hash_str="h", content=b"c"), override_config=scalars(config))
    flowers = control_pb2.StartRunRequest(
        fab=fab_to_proto(Fab("h", b"c", {})), override_config=user_config_to_proto(config)
    )
    assert ours.SerializeToString(deterministic=True) == flowers.SerializeToString(deterministic=True)


def test_the_numbers_of_errors_are_flowers() -> None:
    known = (ApiErrorCode.RUN_ID_NOT_FOUND, ApiErrorCode.RUN_ALREADY_FINISHED, ApiErrorCode.NODE_NOT_FOUND)
    assert known == (RUN_ID_NOT_FOUND, RUN_ALREADY_FINISHED, NODE_NOT_FOUND)


def test_only_keys_that_flower_takes_are_registered(tmp_path: Path) -> None:
    control = FlowerControl(tmp_path, Network())
    openssh = serialization.Encoding.OpenSSH, serialization.PublicFormat.OpenSSH
    for key in (b"nonsense", ed25519.Ed25519PrivateKey.generate().public_key().public_bytes(*openssh)):
        with pytest.raises(RunRefused, match="EC key"):
            control.register("firm-1", key)


def test_a_nodes_key_is_told_as_it_was_given(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    key = ec.generate_private_key(ec.SECP384R1()).public_key()
    pem = key.public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    told = [pb.NodeInfo(name="firm-1", public_key=pem), pb.NodeInfo(name="firm-2", public_key=b"nonsense")]
    monkeypatch.setattr(FlowerControl, "_nodes", lambda _self: told)
    openssh = key.public_bytes(serialization.Encoding.OpenSSH, serialization.PublicFormat.OpenSSH)
    assert [node.public_key for node in FlowerControl(tmp_path, Network()).nodes()] == [openssh, b""]


def test_a_superlink_that_is_down_is_named(tmp_path: Path) -> None:
    (port,) = free_ports(1)
    control = FlowerControl(tmp_path, Network(superlink_port=port))
    with pytest.raises(EngineUnreachable, match=r"ca\.crt"):
        control.nodes()
    (tmp_path / AUTHORITY_CERTIFICATE).write_text(_authority())
    with pytest.raises(EngineUnreachable, match=f"127.0.0.1:{port} does not answer"):
        control.nodes()


def _authority() -> str:
    import datetime as dt

    from cryptography import x509
    from cryptography.hazmat.primitives.hashes import SHA256

    key, name, day = ec.generate_private_key(ec.SECP256R1()), x509.Name([]), dt.datetime(2026, 1, 1)
    made = x509.CertificateBuilder(name, name, key.public_key(), 1, day, day + dt.timedelta(days=9))
    return made.sign(key, SHA256()).public_bytes(serialization.Encoding.PEM).decode()


def test_secrets_are_made_once_for_their_owner_alone(tmp_path: Path) -> None:
    files = FlowerHome(tmp_path, Network())
    assert len(files.control_secret) == 32
    assert files.control_secret == FlowerHome(tmp_path, Network()).control_secret != files.executor_secret
    made = tmp_path / "flower" / "control.secret"
    assert made.stat().st_mode & 0o777 == 0o600
    made.chmod(0o644)
    with pytest.raises(KeyFileError, match="chmod 600"):
        _ = files.control_secret


def test_the_network_is_read_without_the_rest_of_the_file(tmp_path: Path) -> None:
    file = tmp_path / "coordinator.toml"
    file.write_text('cid = "c"\n[network]\nfleet_port = 9000\n[[task]]\nname = "credit"\n')
    assert load_network(tmp_path).fleet_port == 9000
    file.write_text("[network]\nfleet_port = 0\n")
    with pytest.raises(NetworkInvalid, match=r"network\.fleet_port"):
        load_network(tmp_path)


def test_two_services_cannot_have_one_port(tmp_path: Path) -> None:
    (tmp_path / "coordinator.toml").write_text("[network]\nfleet_port = 9000\nsuperlink_port = 9000\n")
    with pytest.raises(NetworkInvalid, match="fleet_port and superlink_port are both 9000"):
        load_network(tmp_path)


def test_the_executor_waits_for_superlink(tmp_path: Path) -> None:
    superlink, executor = coordinator_programs(tmp_path, Network(), "python")
    assert superlink.command == ("python", "-m", "server.engines.superlink_service", "--home", str(tmp_path))
    assert executor.needs == ("superlink",)
    assert superlink.environment["FLWR_TELEMETRY_ENABLED"] == "0"
