"""A node that speaks Flower's Fleet API and does nothing else: many of them fit into one process, for benchmarks."""

from __future__ import annotations

from pathlib import Path

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey
from flwr.proto.fleet_pb2 import ActivateNodeRequest, PullMessagesRequest
from flwr.proto.node_pb2 import Node
from flwr.supercore.interceptors import RuntimeVersionHttpInterceptor
from flwr.supernode.fleet_http_client import FleetHttpClient
from flwr.supernode.node_auth_http_interceptor import NodeAuthHttpInterceptor

_PEM = serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo


class LightNode:
    """A node that is let in with its key, and asks for messages.

    Args:
        fleet: HOST:PORT.
        authority: file of the CA certificate.
        heartbeat_s: how long it counts as connected without one; it sends none.
    """

    def __init__(self, fleet: str, authority: Path, key: EllipticCurvePrivateKey, heartbeat_s: float) -> None:
        sign = NodeAuthHttpInterceptor(key, key.public_key())
        version = RuntimeVersionHttpInterceptor(component_name="SuperNode")
        self._client = FleetHttpClient.from_server_address(fleet, False, authority.read_bytes(), [version, sign])
        public = key.public_key().public_bytes(*_PEM)
        request = ActivateNodeRequest(public_key=public, heartbeat_interval=heartbeat_s)
        self._node = Node(node_id=self._client.ActivateNode(request).node_id)

    def ask(self) -> int:
        """Ask for messages; returns how many there are."""
        return len(self._client.PullMessages(PullMessagesRequest(node=self._node)).messages_list)

    def close(self) -> None:
        self._client.close()
