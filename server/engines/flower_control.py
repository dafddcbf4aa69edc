"""The coordinator's `Control`: SuperLink's Control API, called in process instead of through Flower's command line."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TypeVar

from google.protobuf.message import Message

from clients.flower import flower_api_pb2 as pb
from clients.flower.bundle import installed_bundle
from clients.flower.flower_api import FlowerApi, FlowerRefused, FlowerUnreachable, over_tls
from server.engines import EngineError, EngineUnreachable
from server.engines.control import ConfigValue, Node, RunConfig, RunPhase, RunStatus, RunUnknown
from server.engines.flower_home import SECRET_HEADER, FlowerHome
from server.network import Network

Answer = TypeVar("Answer", bound=Message)

RUN_ID_NOT_FOUND, RUN_ALREADY_FINISHED, NODE_NOT_FOUND = 16, 18, 24
"""Of `flwr.supercore.error.ApiErrorCode`."""

_TIMEOUT_S = 30.0
_PATIENCE = 2  # Flower counts a node as there for so many of its heartbeats' intervals
_PHASES: dict[str, RunPhase] = {"pending": "pending", "starting": "pending", "running": "running"}
_ENDS: dict[str, RunPhase] = {"completed": "completed", "stopped": "stopped", "failed": "failed"}
_ONLINE, _UNREGISTERED = "online", "unregistered"
_UNAUTHORIZED = 401


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
        for node in present:
            if node.public_key != key:
                self._unregister(node.node_id)
        if any(node.public_key == key for node in present):
            return
        self._ask("register-node", pb.RegisterNodeRequest(public_key=key, name=name), pb.RegisterNodeResponse)

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
        request = pb.StartRunRequest(
            fab=pb.Fab(hash_str=bundle.sha256, content=bundle.content), override_config=scalars(run_config)
        )
        answer = self._ask("start-run", request, pb.StartRunResponse)
        if not answer.HasField("run_id"):
            raise RunRefused("SuperLink did not start the run: see its log")
        return int(answer.run_id)

    def run(self, run_id: int) -> RunStatus:
        """How a run stands.

        Raises:
            RunUnknown: there is no such run.
        """
        runs = self._ask("list-runs", pb.ListRunsRequest(run_id=run_id), pb.ListRunsResponse).run_dict
        if run_id not in runs:
            raise RunUnknown(f"SuperLink knows no run {run_id}")
        return RunStatus(run_id, phase_of(runs[run_id].status), runs[run_id].status.details)

    def stop(self, run_id: int) -> None:
        """Stop a run; one that has ended stays as it is."""
        self._ask("stop-run", pb.StopRunRequest(run_id=run_id), pb.StopRunResponse, RUN_ALREADY_FINISHED)

    def _nodes(self) -> list[pb.NodeInfo]:
        answer = self._ask("list-nodes", pb.ListNodesRequest(), pb.ListNodesResponse)
        return [info for info in answer.nodes_info if info.status != _UNREGISTERED]

    def _unregister(self, node_id: int) -> None:
        request = pb.UnregisterNodeRequest(node_id=node_id)
        self._ask("unregister-node", request, pb.UnregisterNodeResponse, NODE_NOT_FOUND)

    def _ask(self, what: str, request: Message, answer: type[Answer], passes: int | None = None) -> Answer:
        """Ask SuperLink; an empty answer where it has the one error that does not matter here."""
        secret = {SECRET_HEADER: self._home.control_secret.hex()}
        authority = self._home.authority
        if not authority.is_file():
            raise EngineUnreachable(f"{authority}: the CA certificate is missing; found the consortium first")
        api = FlowerApi(over_tls(self._home.address, authority, _TIMEOUT_S), "flwr CLI", secret)
        try:
            return api.ask(f"/v1/control/{what}", request.SerializeToString(deterministic=True), answer)
        except FlowerRefused as refused:
            if refused.code is not None and refused.code == passes:
                return answer()
            raise _refusal(refused) from None
        except FlowerUnreachable as error:
            where = f"SuperLink at {self._home.address}"
            raise EngineUnreachable(f"{where} does not answer ({error}); is the coordinator up?") from None
        finally:
            api.close()


def phase_of(status: pb.RunStatus) -> RunPhase:
    """Flower's status and sub-status in one word."""
    return _PHASES.get(status.status) or _ENDS.get(status.sub_status, "failed")


def _node(info: pb.NodeInfo) -> Node:
    until_s = info.online_until if info.HasField("online_until") else 0.0
    last_seen_s = until_s - _PATIENCE * info.heartbeat_interval if until_s else None
    return Node(info.name, info.node_id, info.status == _ONLINE, last_seen_s, _openssh(info.public_key))


def _flower_key(public_key: bytes) -> bytes:
    """An OpenSSH public key as Flower sends it.

    Raises:
        RunRefused: it is none, or not of a curve that Flower takes.
    """
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePublicKey
    from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_ssh_public_key

    try:
        key = load_ssh_public_key(public_key)
    except (ValueError, UnsupportedAlgorithm):
        key = None
    if not isinstance(key, EllipticCurvePublicKey):
        raise RunRefused("a SuperNode's key is an EC key (P-256, P-384 or P-521) as OpenSSH writes its public half")
    return key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)


def _openssh(flower_key: bytes) -> bytes:
    """A key of Flower's in OpenSSH's form; empty for what is none."""
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePublicKey
    from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_pem_public_key

    try:
        key = load_pem_public_key(flower_key)
    except (ValueError, UnsupportedAlgorithm):
        return b""
    if not isinstance(key, EllipticCurvePublicKey):
        return b""
    return key.public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH)


def scalars(config: RunConfig) -> Mapping[str, pb.Scalar]:
    """A run's configuration as Flower sends it."""
    return {name: _scalar(value) for name, value in config.items()}


def _scalar(value: ConfigValue) -> pb.Scalar:
    match value:
        case bool():
            return pb.Scalar(bool=value)
        case int():
            return pb.Scalar(sint64=value)
        case float():
            return pb.Scalar(double=value)
        case _:
            return pb.Scalar(string=value)


def _refusal(refused: FlowerRefused) -> EngineError:
    if refused.code is None:
        unknown = refused.status == _UNAUTHORIZED
        why = "it does not take this home's secret" if unknown else f"HTTP {refused.status}"
        return EngineUnreachable(f"SuperLink refused: {why}")
    if refused.code == RUN_ID_NOT_FOUND:
        return RunUnknown("SuperLink knows no such run")
    return RunRefused(f"SuperLink refused: {refused.said} (code {refused.code})")
