"""A real SuperLink behind the fence: its own home controls it, an outsider with the CA certificate cannot.

The outsider has everything that is public: the address, the CA certificate, and Flower's own clients.
"""

import datetime as dt
import socket
import ssl
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import TypeVar

import httpx
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from flwr.proto.control_pb2 import ListNodesRequest, RegisterNodeRequest, StartRunRequest
from flwr.proto.fleet_pb2 import ActivateNodeRequest, PullMessagesRequest, RegisterNodeFleetRequest
from flwr.proto.node_pb2 import Node
from flwr.proto.runtime_pb2 import AcquireTaskRequest
from flwr.supercore.control import ControlHttpClient
from flwr.supercore.interceptors import RuntimeVersionHttpInterceptor, SuperExecAuthHttpInterceptor
from flwr.supercore.protobuf.client import ProtobufClientInterceptor
from flwr.supercore.runtime import RuntimeHttpClient
from flwr.supernode.fleet_http_client import FleetHttpClient
from flwr.supernode.node_auth_http_interceptor import NodeAuthHttpInterceptor

from server.certificates import CertificateAuthority, install_certificate, request_certificate
from server.engines import EngineUnreachable
from server.engines.control import RunUnknown
from server.engines.flower_control import FlowerControl, RunRefused
from server.engines.loopback import free_ports
from server.engines.programs import coordinator_programs
from server.network import Network

C = TypeVar("C", ControlHttpClient, RuntimeHttpClient, FleetHttpClient)

pytestmark = pytest.mark.integration


def public(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.public_key().public_bytes(serialization.Encoding.OpenSSH, serialization.PublicFormat.OpenSSH)


def new_key() -> ec.EllipticCurvePrivateKey:
    return ec.generate_private_key(ec.SECP384R1())


class World:
    """A coordinator's home and its SuperLink."""

    def __init__(self, home: Path) -> None:
        self.home = home
        inside, outside = free_ports(2)
        self.network = Network(superlink_port=inside, fleet_port=outside)
        moment = dt.datetime.now(dt.UTC)
        authority = CertificateAuthority.create(home, "c1", moment)
        request = request_certificate(home, "coordinator")
        install_certificate(home, authority.issue_server(request, "coordinator", moment), authority.certificate_pem)
        (home / "coordinator.toml").write_text(
            f'cid = "c1"\n[network]\nsuperlink_port = {inside}\nfleet_port = {outside}\n'
        )
        self.control = FlowerControl(home, self.network)
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        program = coordinator_programs(self.home, self.network)[0]
        self.process = subprocess.Popen(program.command, env={"PATH": "/usr/bin", **program.environment})
        deadline = dt.datetime.now() + dt.timedelta(seconds=60)
        while dt.datetime.now() < deadline:
            try:
                self.control.nodes()
            except EngineUnreachable:
                assert self.process.poll() is None, "SuperLink ended"
            else:
                return
        raise AssertionError("SuperLink did not come up")

    def kill(self) -> None:
        if self.process is not None:
            self.process.kill()
            self.process.wait()

    def ask(self, port: int, path: str, **more: str) -> int:
        context = ssl.create_default_context(cafile=str(self.home / "ca.crt"))
        headers = {"content-type": "application/x-protobuf", **more}
        return httpx.post(f"https://127.0.0.1:{port}{path}", verify=context, headers=headers).status_code

    @property
    def ports(self) -> tuple[int, int]:
        return self.network.fleet_port, self.network.superlink_port

    def client(self, kind: type[C], port: int, *more: ProtobufClientInterceptor) -> C:
        """One of Flower's own clients, which knows the CA certificate."""
        version = RuntimeVersionHttpInterceptor(component_name="outsider")
        authority = (self.home / "ca.crt").read_bytes()
        return kind.from_server_address(f"127.0.0.1:{port}", False, authority, [version, *more])


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    made = World(tmp_path_factory.mktemp("coordinator"))
    try:
        made.start()
        yield made
    finally:
        made.kill()


def refused(error: pytest.ExceptionInfo[httpx.HTTPStatusError]) -> bool:
    return error.value.response.status_code in {401, 403, 404}


def test_an_outsider_can_neither_submit_code_nor_register_a_key(world: World) -> None:
    for port in world.ports:
        control = world.client(ControlHttpClient, port)
        for ask in (
            lambda control=control: control.StartRun(StartRunRequest()),
            lambda control=control: control.ListNodes(ListNodesRequest()),
            lambda control=control: control.RegisterNode(RegisterNodeRequest(public_key=public(new_key()))),
        ):
            with pytest.raises(httpx.HTTPStatusError) as error:
                ask()
            assert refused(error)
        control.close()
    assert world.control.nodes() == []


def test_an_outsider_cannot_take_the_server_app(world: World) -> None:
    run = world.control.submit({"home": "/nowhere"})
    guess = SuperExecAuthHttpInterceptor(master_secret=b"x" * 32, protected_methods={"/flwr.proto.Runtime/AcquireTask"})
    request = AcquireTaskRequest(supported_task_types=["flwr-serverapp"])
    for port in world.ports:
        for more in ([], [guess]):
            runtime = world.client(RuntimeHttpClient, port, *more)
            with pytest.raises(httpx.HTTPStatusError) as error:
                runtime.AcquireTask(request)
            assert refused(error)
            runtime.close()
    assert world.control.run(run).phase == "pending"
    world.control.stop(run)


def test_an_outsider_with_a_key_of_its_own_can_neither_join_nor_pull(world: World) -> None:
    key = new_key()
    pem = key.public_key().public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    fleet = world.client(FleetHttpClient, world.network.fleet_port, NodeAuthHttpInterceptor(key, key.public_key()))
    with pytest.raises(httpx.HTTPStatusError) as error:
        fleet.RegisterNode(RegisterNodeFleetRequest(public_key=pem))
    assert error.value.response.status_code >= 400
    with pytest.raises(httpx.HTTPStatusError) as error:
        fleet.PullMessages(PullMessagesRequest(node=Node(node_id=1)))
    assert refused(error)
    assert world.control.nodes() == []
    fleet.close()


def test_members_see_the_fleet_api_only(world: World) -> None:
    for path in ("/health", "/docs", "/openapi.json", "/v1/control/list-runs", "/v1/runtime/get-nodes"):
        assert world.ask(world.network.fleet_port, path) == 404
    assert world.ask(world.network.fleet_port, "/v1/fleet/pull-messages") == 401


def test_idle_strangers_keep_out_neither_members_nor_this_home(world: World) -> None:
    key = new_key()
    world.control.register("firm-1", public(key))
    idle = [socket.create_connection(("127.0.0.1", world.network.fleet_port), timeout=30) for _ in range(600)]
    try:
        assert [node.name for node in world.control.nodes()] == ["firm-1"]
        for one in idle[:-64]:
            assert one.recv(1) == b""  # one address has room for 64, and the first go
        fleet = world.client(FleetHttpClient, world.network.fleet_port, NodeAuthHttpInterceptor(key, key.public_key()))
        pem = key.public_key().public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
        assert fleet.ActivateNode(ActivateNodeRequest(public_key=pem, heartbeat_interval=30)).node_id
        fleet.close()
    finally:
        for one in idle:
            one.close()
        world.control.unregister("firm-1")


def test_registered_nodes_and_runs_outlive_superlink(world: World) -> None:
    first, second = new_key(), new_key()
    world.control.register("firm-1", public(first))
    world.control.register("firm-1", public(first))
    (registered,) = world.control.nodes()
    run = world.control.submit({"home": "/nowhere"})
    world.kill()
    world.start()
    assert world.control.nodes() == [registered]
    assert registered.name == "firm-1"
    assert not registered.online
    assert world.control.run(run).phase == "pending"
    world.control.stop(run)
    world.control.stop(run)
    assert world.control.run(run).phase == "stopped"
    world.control.register("firm-1", public(second))
    (replaced,) = world.control.nodes()
    assert replaced.node_id != registered.node_id
    with pytest.raises(RunRefused, match="in use"):
        world.control.register("firm-2", public(first))
    world.control.unregister("firm-1")
    world.control.unregister("firm-1")
    assert world.control.nodes() == []


def test_what_superlink_refuses_is_said(world: World) -> None:
    with pytest.raises(RunUnknown):
        world.control.run(5)
    with pytest.raises(RunRefused, match="configuration"):
        world.control.submit({"of-nobody": 1})
