"""Our SuperNode's settings of Flower: how often it asks, who is let in, which key it takes."""

import threading
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519

from clients.connection import NODE_KEY
from clients.errors import ClientError
from clients.flower.flower_api import over_socket
from clients.flower.forking import ExecutorUnreachable
from clients.flower.node_home import NodeHome
from clients.flower.own_socket import listen_at
from clients.flower.programs import firm_programs
from clients.flower.runtime_source import RuntimeSource
from clients.flower.supernode import (
    QUICKEST_S,
    SLOWEST_S,
    NodeStatus,
    Pace,
    node_keys,
    read_status,
    write_status,
)
from clients.supervision.program import Touches
from ledger.secret_files import KeyFileError, write_secret_file


class Clock:
    def __init__(self) -> None:
        self.now_s = 0.0
        self.slept = list[float]()

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.now_s += seconds


def test_it_asks_often_after_a_message_and_seldom_when_there_is_none() -> None:
    clock = Clock()
    pace = Pace(clock.sleep, lambda: clock.now_s)
    while clock.now_s < 120:
        pace.sleep(3)
    assert clock.slept[0] == QUICKEST_S
    assert clock.slept == sorted(clock.slept)
    assert clock.slept[-1] == SLOWEST_S
    pace.sleep(0.5)
    pace.sleep(3)
    assert clock.slept[-2] < QUICKEST_S
    assert clock.slept[-1] == QUICKEST_S


def test_a_status_is_read_as_it_was_written(tmp_path: Path) -> None:
    assert read_status(tmp_path) is None
    status = NodeStatus(False, 5.0, "not yet admitted")
    write_status(NodeHome(tmp_path).run, status)
    assert read_status(tmp_path) == status
    (tmp_path / "run" / "supernode.json").write_text("[]")
    assert read_status(tmp_path) is None


def openssh(key: ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey) -> bytes:
    form = serialization.Encoding.PEM, serialization.PrivateFormat.OpenSSH, serialization.NoEncryption()
    return key.private_bytes(*form)


def test_its_key_is_its_owners_and_of_the_kind_that_flower_takes(tmp_path: Path) -> None:
    with pytest.raises(KeyFileError):
        node_keys(tmp_path)
    key = ec.generate_private_key(ec.SECP384R1())
    write_secret_file(tmp_path / NODE_KEY, openssh(key), "key")
    assert node_keys(tmp_path)[0].private_numbers() == key.private_numbers()
    (tmp_path / NODE_KEY).chmod(0o644)
    with pytest.raises(KeyFileError, match="chmod 600"):
        node_keys(tmp_path)
    (tmp_path / NODE_KEY).unlink()
    write_secret_file(tmp_path / NODE_KEY, openssh(ed25519.Ed25519PrivateKey.generate()), "key")
    with pytest.raises(ClientError, match="EC private key"):
        node_keys(tmp_path)


def test_the_executor_waits_for_the_supernode(tmp_path: Path) -> None:
    supernode, executor = firm_programs(tmp_path, "python")
    assert executor.needs == (supernode.name,)
    assert supernode.command == ("python", "-m", "clients.flower.supernode", "--home", str(tmp_path))
    assert supernode.ready == Touches(tmp_path / "flower" / "tasks.socket")


@pytest.mark.parametrize("depth", [0, 5])
def test_tasks_come_from_a_socket_in_a_folder_of_the_users_own(tmp_path: Path, depth: int) -> None:
    home = tmp_path.joinpath(*["a-folder-with-a-long-name"] * depth)
    files = NodeHome(home)
    with listen_at(files.socket) as listener:
        taken = threading.Thread(target=lambda: listener.accept()[0].close(), daemon=True)
        taken.start()
        source = RuntimeSource(over_socket(files.socket, 5.0), "the SuperNode", bytes(32), "type")
        with pytest.raises(ExecutorUnreachable, match="the SuperNode gives no tasks"):
            source.take()
        taken.join(60)
        assert not taken.is_alive()
    assert (files.folder.stat().st_mode & 0o777, files.socket.stat().st_mode & 0o777) == (0o700, 0o600)
    with listen_at(files.socket):  # in place of one that is gone
        pass


def test_where_others_can_enter_nobody_is_believed(tmp_path: Path) -> None:
    files = NodeHome(tmp_path)
    with listen_at(files.socket) as listener:
        listener.settimeout(0.05)
        files.socket.parent.chmod(0o755)
        source = RuntimeSource(over_socket(tmp_path / "flower" / "tasks.socket", 5.0), "it", bytes(32), "type")
        with pytest.raises(ExecutorUnreachable, match="chmod 700"):
            source.take()
        with pytest.raises(TimeoutError):
            listener.accept()
    with pytest.raises(PermissionError):
        listen_at(tmp_path / "flower" / "tasks.socket")
    assert files.folder.stat().st_mode & 0o777 == 0o700


@pytest.mark.parametrize("content", [b"", b"x" * 31, b"x" * 33])
def test_a_secret_has_32_bytes(tmp_path: Path, content: bytes) -> None:
    files = NodeHome(tmp_path)
    assert len(files.secret) == 32
    (files.folder / "executor.secret").write_bytes(content)
    with pytest.raises(KeyFileError, match="32 bytes"):
        _ = files.secret
