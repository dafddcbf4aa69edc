"""Beyond this machine there is TLS or nothing; with a client authority, only its clients."""

from pathlib import Path

import pytest
from certificates import make_certificates
from consortium_simulator import Consortium

from ledger.service.client import LedgerClient, Unreachable
from ledger.service.errors import BadRequest
from ledger.service.server import CannotServe, serving
from ledger.service.tls import BadTls, ClientTls, ServerTls, host_and_port, is_loopback


@pytest.fixture
def home(tmp_path: Path) -> Path:
    make_certificates(tmp_path)
    return tmp_path


def server_tls(home: Path, *, clients: bool = False) -> ServerTls:
    return ServerTls.from_files(home / "tls.key", home / "tls.crt", home / "ca.crt" if clients else None)


def test_tls_from_files(home: Path, tmp_path: Path) -> None:
    made = Consortium()
    make_certificates(tmp_path / "others")
    with serving(made.log, made.keys["coordinator"], clock=made.clock, tls=server_tls(home)) as server:
        with LedgerClient(server.address, tls=ClientTls.from_files(home / "ca.crt")) as client:
            assert client.checkpoint()
        with (
            LedgerClient(
                server.address, tls=ClientTls.from_files(tmp_path / "others" / "ca.crt"), timeout_s=2
            ) as wrong,
            pytest.raises(Unreachable),
        ):
            wrong.checkpoint()
        with LedgerClient(server.address, timeout_s=2) as plain, pytest.raises(Unreachable):
            plain.checkpoint()


def test_with_a_client_authority_only_its_clients_get_in(home: Path) -> None:
    made, own = Consortium(), ("ca.crt", "tls.key", "tls.crt")
    with serving(made.log, made.keys["coordinator"], tls=server_tls(home, clients=True)) as server:
        with LedgerClient(server.address, tls=ClientTls.from_files(*(home / name for name in own))) as client:
            assert client.checkpoint()
        with (
            LedgerClient(server.address, tls=ClientTls.from_files(home / "ca.crt"), timeout_s=2) as bare,
            pytest.raises(Unreachable),
        ):
            bare.checkpoint()


def test_no_plain_text_beyond_this_machine() -> None:
    made = Consortium()
    for host in ("0.0.0.0", "192.0.2.1", "ledger.example", "::"):
        with pytest.raises(BadTls, match="not this machine"):
            LedgerClient(f"[{host}]:1" if ":" in host else f"{host}:1")
    with pytest.raises(BadTls), serving(made.log, made.keys["coordinator"], host="0.0.0.0"):
        pass
    assert all(map(is_loopback, ("localhost", "127.0.0.1", "127.1.2.3", "::1")))


def test_what_cannot_be_served(home: Path) -> None:
    made, other = Consortium(), Consortium()
    with serving(made.log, made.keys["coordinator"]) as server:
        port = int(server.address.rpartition(":")[2])
        with (
            pytest.raises(CannotServe, match="taken"),
            serving(other.log, other.keys["coordinator"], port=port),
        ):
            pass
    (home / "tls.crt").write_text("no certificate")
    made = Consortium()
    with pytest.raises(CannotServe), serving(made.log, made.keys["coordinator"], tls=server_tls(home)):
        pass


def test_files_and_addresses_that_are_none(home: Path) -> None:
    with pytest.raises(BadTls, match="No such file"):
        ServerTls.from_files(home / "nothing", home / "tls.crt")
    with pytest.raises(BadTls, match="go together"):
        ClientTls.from_files(home / "ca.crt", home / "tls.key")
    for address in ("localhost", ":1", "localhost:x", "localhost:65536", "::1:80", "localhost:-1", "localhost:123456"):
        with pytest.raises(BadTls, match="HOST:PORT"):
            host_and_port(address)
    assert host_and_port("[::1]:443") == ("::1", 443)
    for timeout_s in (0, -1, float("inf"), float("nan")):
        with pytest.raises(BadRequest):
            LedgerClient("localhost:1", timeout_s=timeout_s)
