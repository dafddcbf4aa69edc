"""The coordinator's `Control`: SuperLink's Control API, called in process instead of through Flower's command line."""

from __future__ import annotations

import ssl
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import httpx
from flwr.common.serde import fab_to_proto, user_config_to_proto
from flwr.proto.control_pb2 import (
    ListNodesRequest,
    ListRunsRequest,
    RegisterNodeRequest,
    StartRunRequest,
    StopRunRequest,
    UnregisterNodeRequest,
)
from flwr.proto.node_pb2 import NodeInfo
from flwr.proto.run_pb2 import RunStatus as FlowerStatus
from flwr.supercore.constant import NodeStatus
from flwr.supercore.control import ControlHttpClient
from flwr.supercore.error import ApiErrorCode, FlowerError
from flwr.supercore.fab import Fab
from flwr.supercore.interceptors import RuntimeVersionHttpInterceptor
from flwr.supercore.protobuf.client import ProtobufCall, ProtobufRequestContext

from clients.flower.bundle import installed_bundle
from server.engines import EngineError, EngineUnreachable
from server.engines.control import Node, RunPhase, RunStatus, RunUnknown
from server.engines.fence import SECRET_HEADER
from server.engines.flower_home import FlowerHome
from server.engines.grid import RunConfig
from server.network import Network

Answer = TypeVar("Answer")

_TIMEOUT_S = 30.0
_PATIENCE = 2  # Flower counts a node as there for so many of its heartbeats' intervals
_PHASES: dict[str, RunPhase] = {"pending": "pending", "starting": "pending", "running": "running"}
_ENDS: dict[str, RunPhase] = {"completed": "completed", "stopped": "stopped", "failed": "failed"}


class RunRefused(EngineError):
    """SuperLink does not accept what it was asked; the message says why."""

    exit_code = 1


class FlowerControl:
    """SuperLink's Control API, as the home that holds its secret.

    Args:
        home: the coordinator's.
        network: the ports in its `coordinator.toml`.
    """

    def __init__(self, home: Path, network: Network) -> None:
        self._home = FlowerHome(home, network)

    def register(self, name: str, public_key: bytes) -> None:
        """Let the SuperNode with this key (OpenSSH public key text) connect; again with the same key does nothing.

        Another key under the same name takes the place of the former, which never connects again.

        Raises:
            EngineUnreachable: SuperLink does not answer.
            RunRefused: it takes no such key, or has unregistered it before.
        """
        key = _flower_key(public_key)
        present = [node for node in self._nodes() if node.name == name]
        if any(node.public_key == key for node in present):
            return
        for node in present:
            self._unregister(node.node_id)
        self._call(lambda client: client.RegisterNode(RegisterNodeRequest(public_key=key, name=name)))

    def unregister(self, name: str) -> None:
        """Never let this member's present SuperNode key connect again; one that is unknown does nothing."""
        for node in self._nodes():
            if node.name == name:
                self._unregister(node.node_id)

    def nodes(self) -> list[Node]:
        """Every registered node, by name."""
        return sorted((_node(info) for info in self._nodes()), key=lambda node: node.name)

    def submit(self, run_config: RunConfig) -> int:
        """Start a run of the coordinator's own, installed app; returns its number."""
        bundle = installed_bundle()
        request = StartRunRequest(
            fab=fab_to_proto(Fab(bundle.sha256, bundle.content, {})),
            override_config=user_config_to_proto(dict(run_config)),
        )
        answer = self._call(lambda client: client.StartRun(request))
        if not answer.HasField("run_id"):
            raise RunRefused("SuperLink did not start the run: see its log")
        return int(answer.run_id)

    def run(self, run_id: int) -> RunStatus:
        """How a run stands.

        Raises:
            RunUnknown: there is no such run.
        """
        runs = self._call(lambda client: client.ListRuns(ListRunsRequest(run_id=run_id))).run_dict
        if run_id not in runs:
            raise RunUnknown(f"SuperLink knows no run {run_id}")
        return RunStatus(run_id, phase_of(runs[run_id].status), runs[run_id].status.details)

    def stop(self, run_id: int) -> None:
        """Stop a run; one that has ended stays as it is."""
        self._call(lambda client: client.StopRun(StopRunRequest(run_id=run_id)), ApiErrorCode.RUN_ALREADY_FINISHED)

    def _nodes(self) -> list[NodeInfo]:
        answer = self._call(lambda client: client.ListNodes(ListNodesRequest()))
        return [info for info in answer.nodes_info if info.status != NodeStatus.UNREGISTERED]

    def _unregister(self, node_id: int) -> None:
        request = UnregisterNodeRequest(node_id=node_id)
        self._call(lambda client: client.UnregisterNode(request), ApiErrorCode.NODE_NOT_FOUND)

    def _call(self, ask: Callable[[ControlHttpClient], Answer], *passes: ApiErrorCode) -> Answer | Any:
        """Ask SuperLink; None where it answers with an error that does not matter here."""
        client = _Client(self._home)
        try:
            return ask(client)
        except httpx.HTTPStatusError as error:
            said = FlowerError.from_json(error.response.text)
            if said is not None and said.code in passes:
                return None
            raise _refusal(said, error.response.status_code) from None
        except (httpx.HTTPError, ValueError) as error:
            where = f"SuperLink at {self._home.address}"
            raise EngineUnreachable(
                f"{where} does not answer ({type(error).__name__}); is the coordinator up?"
            ) from None
        finally:
            client.close()


class _Client(ControlHttpClient):
    """Flower's client, which shows the home's secret and takes no proxy."""

    def __init__(self, home: FlowerHome) -> None:
        try:
            context = ssl.create_default_context(cafile=str(home.authority))
        except OSError as error:
            raise EngineUnreachable(f"{home.authority}: cannot read the CA certificate: {error.strerror}") from None
        version = RuntimeVersionHttpInterceptor(component_name="flwr CLI")
        super().__init__(f"https://{home.address}", interceptors=[version, _ShowSecret(home.control_secret)])
        self._client.close()
        self._client = httpx.Client(verify=context, timeout=_TIMEOUT_S, trust_env=False)


class _ShowSecret:
    def __init__(self, secret: bytes) -> None:
        self._value = secret.hex()

    def intercept(self, context: ProtobufRequestContext, call_next: ProtobufCall) -> httpx.Response:
        context.request.headers[SECRET_HEADER] = self._value
        return call_next(context)


def phase_of(status: FlowerStatus) -> RunPhase:
    """Flower's status and sub-status in one word."""
    return _PHASES.get(status.status) or _ENDS.get(status.sub_status, "failed")


def _node(info: NodeInfo) -> Node:
    until_s = info.online_until if info.HasField("online_until") else 0.0
    last_seen_s = until_s - _PATIENCE * info.heartbeat_interval if until_s else None
    return Node(info.name, info.node_id, info.status == NodeStatus.ONLINE, last_seen_s)


def _flower_key(public_key: bytes) -> bytes:
    """An OpenSSH public key as Flower sends it.

    Raises:
        RunRefused: it is none, or not of a curve that Flower takes.
    """
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePublicKey
    from cryptography.hazmat.primitives.serialization import load_ssh_public_key
    from flwr.supercore.primitives.asymmetric import public_key_to_bytes

    try:
        key = load_ssh_public_key(public_key)
    except (ValueError, UnsupportedAlgorithm):
        key = None
    if not isinstance(key, EllipticCurvePublicKey):
        raise RunRefused("a SuperNode's key is an EC key (P-256, P-384 or P-521) as OpenSSH writes its public half")
    return public_key_to_bytes(key)


def _refusal(said: FlowerError | None, status: int) -> EngineError:
    if said is None:
        why = "it does not take this home's secret" if status == httpx.codes.UNAUTHORIZED else f"HTTP {status}"
        return EngineUnreachable(f"SuperLink refused: {why}")
    detail = said.public_details or said.message
    if said.code == ApiErrorCode.RUN_ID_NOT_FOUND:
        return RunUnknown("SuperLink knows no such run")
    return RunRefused(f"SuperLink refused: {detail} (code {int(said.code)})")
