"""`flower/` in the coordinator's home: SuperLink's database, and the secrets that only this home's processes hold."""

from __future__ import annotations

from pathlib import Path

from clients.flower.node_home import LOOPBACK, flower_environment, secret_file
from server.certificates import AUTHORITY_CERTIFICATE, TLS_CERTIFICATE, TLS_KEY
from server.network import Network

SECRET_HEADER = "artesian-control"
"""Carries the control secret, hex."""

_FOLDER, _DATABASE = "flower", "state.db"


class FlowerHome:
    """Where Flower's files are at the coordinator. Folders and secrets are made when they are first asked for."""

    def __init__(self, home: Path, network: Network) -> None:
        self.home, self.network = home, network

    @property
    def folder(self) -> Path:
        folder = self.home / _FOLDER
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        return folder

    @property
    def is_there(self) -> bool:
        """Whether SuperLink ever ran in this home; nothing is made."""
        return (self.home / _FOLDER / _DATABASE).exists()

    @property
    def database(self) -> Path:
        """SuperLink's own state: nodes, runs, messages under way; losing it loses running runs and no record."""
        return self.folder / _DATABASE

    @property
    def environment(self) -> dict[str, str]:
        """What Flower's processes must find set: no telemetry, nothing installed at run time, no proxy to loopback."""
        return {**flower_environment(), "FLWR_HOME": str(self.folder)}

    @property
    def address(self) -> str:
        """HOST:PORT of SuperLink for this machine's own processes."""
        return f"{LOOPBACK}:{self.network.superlink_port}"

    @property
    def authority(self) -> Path:
        return self.home / AUTHORITY_CERTIFICATE

    @property
    def certificate(self) -> Path:
        return self.home / TLS_CERTIFICATE

    @property
    def key(self) -> Path:
        return self.home / TLS_KEY

    @property
    def control_secret(self) -> bytes:
        """Who shows it may use the Control API. 32 bytes."""
        return secret_file(self.folder / "control.secret", "the secret of the Control API")

    @property
    def executor_secret(self) -> bytes:
        """Who signs with it may take tasks. 32 bytes."""
        return secret_file(self.folder / "executor.secret", "the secret of the executor")
