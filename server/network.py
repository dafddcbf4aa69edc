"""`[network]` in `coordinator.toml`: under which name members reach the coordinator, and on which ports it listens."""

from __future__ import annotations

from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field, model_validator

from clients.toml_files import load_toml
from server.errors import ServerError

CONFIG_FILE = "coordinator.toml"


class Network(BaseModel):
    """Names and ports. What is bound to loopback is for this machine's own processes only.

    Attributes:
        host: the name or address that stands in invites and in the services' certificates.
        bind: the address that the services for members listen on.
        enrolment_port: the join desk (gRPC).
        ledger_port: the ledger (gRPC).
        fleet_port: the fence, which lets nothing through but Flower's Fleet API (HTTPS).
        scores_port: the score service (gRPC).
        superlink_port: Flower's SuperLink itself: loopback only.
        metrics_port: Prometheus: loopback only.
        dashboard_port: reserved: loopback only.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    host: str = "localhost"
    bind: str = "127.0.0.1"
    enrolment_port: int = Field(default=8442, ge=1, le=65535)
    ledger_port: int = Field(default=8445, ge=1, le=65535)
    fleet_port: int = Field(default=8444, ge=1, le=65535)
    scores_port: int = Field(default=8443, ge=1, le=65535)
    superlink_port: int = Field(default=18443, ge=1, le=65535)
    metrics_port: int = Field(default=9464, ge=1, le=65535)
    dashboard_port: int = Field(default=8440, ge=1, le=65535)

    @model_validator(mode="after")
    def _ports_differ(self) -> Network:
        named = {name: port for name, port in self if name.endswith("_port")}
        for name, port in named.items():
            others = [other for other, its in named.items() if its == port and other != name]
            if others:
                raise ValueError(f"{name} and {others[0]} are both {port}: give each port its own number")
        return self

    def address(self, port: int) -> str:
        """HOST:PORT as members reach it."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{host}:{port}"


class NetworkInvalid(ServerError):
    """`[network]` in a `coordinator.toml` cannot be read; the message names the file and the key."""


class _Document(BaseModel):
    model_config = ConfigDict(extra="ignore", frozen=True)

    network: Network = Network()


def load_network(home: Path) -> Network:
    """`[network]` alone, for processes that need no more: reading all of `coordinator.toml` imports what trains.

    Raises:
        NetworkInvalid: missing, not TOML, or against the rules; one line says where.
    """
    return load_toml(home / CONFIG_FILE, _Document, NetworkInvalid).network
