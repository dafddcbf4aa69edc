"""Who comes to a consortium's doors, and what each door can be asked: calls of Flower's own clients and of ours."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Generator, Mapping
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import grpc
import httpx
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from flwr.proto.control_pb2 import ListNodesRequest, ListRunsRequest, RegisterNodeRequest, StartRunRequest
from flwr.proto.fleet_pb2 import (
    ActivateNodeRequest,
    PullMessagesRequest,
    PushMessagesRequest,
    RegisterNodeFleetRequest,
)
from flwr.proto.node_pb2 import Node
from flwr.proto.runtime_pb2 import AcquireTaskRequest, PullAppMessagesRequest
from flwr.supercore.control import ControlHttpClient
from flwr.supercore.interceptors import RuntimeVersionHttpInterceptor, SuperExecAuthHttpInterceptor
from flwr.supercore.runtime import RuntimeHttpClient
from flwr.supernode.fleet_http_client import FleetHttpClient
from flwr.supernode.node_auth_http_interceptor import NodeAuthHttpInterceptor

from clients.bank import new_query
from clients.certificates import AUTHORITY_CERTIFICATE, TLS_CERTIFICATE, TLS_KEY
from clients.connection import NODE_KEY
from clients.enrolment.desk_client import DeskClient
from clients.enrolment.errors import NotAdmitted
from clients.enrolment.invite import Invite
from clients.scoring.scores_pb2_grpc import ScoresStub
from clients.scoring.wire import query_to_message
from experiments.tiny_consortium import TinyConsortium
from ledger.errors import LedgerError
from ledger.genesis import record
from ledger.keys import SigningKey
from ledger.service.client import LedgerClient
from ledger.service.tls import ClientTls
from ledger.service.tokens import Identity
from ledger.statement import sign_statement
from server.certificates import request_certificate

CID = "simulation"
Ask = Callable[[], object]
C = TypeVar("C", ControlHttpClient, RuntimeHttpClient, FleetHttpClient)


@dataclass(frozen=True)
class Caller:
    """Somebody with keys.

    Attributes:
        home: holds `ca.crt`, and `tls.key` and `tls.crt` if it has a certificate.
        member: who it says it is.
        key: signs records and calls.
        node: signs requests to the Fleet API.
    """

    home: Path
    member: str
    key: SigningKey
    node: ec.EllipticCurvePrivateKey

    @classmethod
    def of_home(cls, home: Path) -> Caller:
        """The member whose home it is; a bank has no SuperNode."""
        path = home / NODE_KEY
        node: Any = serialization.load_ssh_private_key(path.read_bytes(), None) if path.exists() else new_node_key()
        return cls(home, home.name, SigningKey.load(home / "signing.pem"), node)

    @property
    def tls(self) -> ClientTls:
        shown = (self.home / TLS_KEY, self.home / TLS_CERTIFICATE) if (self.home / TLS_CERTIFICATE).exists() else ()
        return ClientTls.from_files(self.home / AUTHORITY_CERTIFICATE, *shown)

    @property
    def authority(self) -> bytes:
        return (self.home / AUTHORITY_CERTIFICATE).read_bytes()

    def flower(self, kind: type[C], port: int, *more: Any) -> C:
        """One of Flower's own clients, which knows the CA certificate."""
        version = RuntimeVersionHttpInterceptor(component_name="outsider")
        return kind.from_server_address(f"127.0.0.1:{port}", False, self.authority, [version, *more])


def new_node_key() -> ec.EllipticCurvePrivateKey:
    return ec.generate_private_key(ec.SECP384R1())


def control(consortium: TinyConsortium, who: Caller) -> Generator[Ask, None, None]:
    """Submit code, register a key, list runs and nodes: at the members' port and at that of the machine itself."""
    network, public = consortium.network, who.node.public_key()
    key = public.public_bytes(serialization.Encoding.OpenSSH, serialization.PublicFormat.OpenSSH)
    for port in (network.fleet_port, network.superlink_port):
        with closing(who.flower(ControlHttpClient, port, NodeAuthHttpInterceptor(who.node, public))) as client:
            yield lambda client=client: client.StartRun(StartRunRequest())
            yield lambda client=client: client.RegisterNode(RegisterNodeRequest(public_key=key))
            yield lambda client=client: client.ListRuns(ListRunsRequest())
            yield lambda client=client: client.ListNodes(ListNodesRequest())


def runtime(consortium: TinyConsortium, who: Caller) -> Generator[Ask, None, None]:
    """Take the ServerApp's task, without a secret and with a guessed one, and read its messages."""
    network, acquire = consortium.network, "/flwr.proto.Runtime/AcquireTask"
    guess = SuperExecAuthHttpInterceptor(master_secret=b"x" * 32, protected_methods={acquire})
    for port in (network.fleet_port, network.superlink_port):
        for more in ((), (guess,)):
            with closing(who.flower(RuntimeHttpClient, port, *more)) as client:
                task = AcquireTaskRequest(supported_task_types=["flwr-serverapp"])
                yield lambda client=client, task=task: client.AcquireTask(task)
                yield lambda client=client: client.PullMessages(PullAppMessagesRequest())


def fleet(consortium: TinyConsortium, who: Caller) -> Generator[Ask, None, None]:
    """Come online, register, pull messages and push some."""
    public = who.node.public_key()
    pem = public.public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    signed = NodeAuthHttpInterceptor(who.node, public)
    with closing(who.flower(FleetHttpClient, consortium.network.fleet_port, signed)) as client:
        yield lambda: client.ActivateNode(ActivateNodeRequest(public_key=pem, heartbeat_interval=30))
        yield lambda: client.RegisterNode(RegisterNodeFleetRequest(public_key=pem))
        yield lambda: client.PullMessages(PullMessagesRequest(node=Node(node_id=1)))
        yield lambda: client.PushMessages(PushMessagesRequest(node=Node(node_id=1)))


def desk(consortium: TinyConsortium, who: Caller) -> Generator[Ask, None, None]:
    """Ask for a certificate for the key that it has, how it stands, what is proposed, and approve that."""
    network = consortium.network
    csr = request_certificate(who.home, who.member)
    with DeskClient(network.address(network.enrolment_port), who.authority) as client:
        yield lambda: client.renew(CID, who.member, who.key, csr)
        yield lambda: client.standing(CID, who.member, who.key)
        yield lambda: client.proposals(CID, who.member, who.key)
        yield lambda: client.approve(CID, who.member, who.key, "suspend-firm-2", bytes(64))


def join(consortium: TinyConsortium, who: Caller) -> Generator[Ask, None, None]:
    """Ask for the terms, and to be enrolled, by an invite of one's own making and by one that somebody has used."""
    network = consortium.network
    used = Invite.parse((consortium.coordinator / "invites" / "firm-1.txt").read_text())
    made_up = Invite(**{**vars(used), "token": os.urandom(32)})
    csr = request_certificate(who.home, who.member)
    node = who.node.public_key().public_bytes(serialization.Encoding.OpenSSH, serialization.PublicFormat.OpenSSH)
    with DeskClient(network.address(network.enrolment_port), who.authority) as client:
        yield lambda: client.terms(made_up)
        yield lambda: client.join(made_up, who.key, csr, node)
        yield lambda: client.join(used, who.key, csr, node)


def append(consortium: TinyConsortium, who: Caller) -> Generator[Ask, None, None]:
    """Put a statement of its own on the ledger."""
    fields = {"subject": "a batch", "artifact": bytes(32)}
    payload = record("attest", cid=CID, record_id=os.urandom(16), ts=int(time.time()), **fields)
    statement = sign_statement(payload, issuer=who.member, subject="a batch", key=who.key)
    with _ledger(consortium, who) as client:
        yield lambda: client.submit([statement])


def read(consortium: TinyConsortium, who: Caller) -> Generator[Ask, None, None]:
    """Read the members' records, who they are, and proofs of them; follow what is new."""
    with _ledger(consortium, who) as client:
        yield lambda: client.entries(0, 1)
        yield lambda: client.members()
        yield lambda: client.checkpoint()
        yield lambda: next(iter(client.news(0)))


def score(consortium: TinyConsortium, who: Caller) -> Generator[Ask, None, None]:
    """Ask for a score."""
    network, tls = consortium.network, who.tls
    credentials = grpc.ssl_channel_credentials(tls.authority, tls.key, tls.certificate)
    features: Mapping[str, float | str | None] = {"income": 20.0, "sector": "trade"}
    question = query_to_message(new_query("credit", features, "loan", bytes(32)))
    channel = grpc.secure_channel(network.address(network.scores_port), credentials)
    with channel:
        stub: Any = ScoresStub(channel)  # type: ignore[no-untyped-call]
        yield lambda: stub.Score(question, timeout=10)


REFUSALS = (httpx.HTTPStatusError, grpc.RpcError, NotAdmitted, LedgerError)


def is_refusal(error: BaseException) -> bool:
    """Whether a service, or its TLS, has said no; anything else is a fault of the test or of the service."""
    if isinstance(error, httpx.HTTPStatusError):
        return error.response.status_code in {401, 403, 404}
    if isinstance(error, grpc.RpcError):
        by_tls = error.code() is grpc.StatusCode.UNAVAILABLE
        return by_tls or error.code() in (grpc.StatusCode.UNAUTHENTICATED, grpc.StatusCode.PERMISSION_DENIED)
    return True


def _ledger(consortium: TinyConsortium, who: Caller) -> LedgerClient:
    network = consortium.network
    identity = Identity(who.member, who.key, f"artesian/{CID}")
    address = network.address(network.ledger_port)
    return LedgerClient(address, tls=who.tls, identity=identity, timeout_s=10)
