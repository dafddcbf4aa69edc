"""The files of a SuperLink federation on loopback: keys, certificates, the shared secret, Flower's config.

Every secret is made here, for one run, with mode 0600, in a folder that belongs to the run.
"""

from __future__ import annotations

import datetime as dt
import json
import os
import secrets
import socket
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path

from clients.node_key import node_public_key
from server.certificates import (
    AUTHORITY_CERTIFICATE,
    TLS_CERTIFICATE,
    TLS_KEY,
    CertificateAuthority,
    install_certificate,
    request_certificate,
)
from server.engines import EngineError

HOST = "127.0.0.1"
CONNECTION = "consortium"
"""The name under which Flower's command line finds the SuperLink."""

_SUPERLINK, _AUTHORITY, _SECRET = "superlink", "authority", "superexec.secret"


class Loopback:
    """The folder of one run.

    Args:
        work: made if missing; must not hold an earlier run.
        node_count: how many SuperNodes get a key and a port.

    Raises:
        EngineError: `work` is not an empty or missing folder.
    """

    def __init__(self, work: Path, node_count: int) -> None:
        if work.exists() and any(work.iterdir()):
            raise EngineError(f"engine: {work} is not empty: give each run a folder of its own")
        self.work = work.resolve()
        for folder in (self.work, self.logs, self.flower_home):
            folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        self.port, *self.node_ports = free_ports(1 + node_count)
        self._make_certificates()
        _write_secret(self.secret, secrets.token_bytes(32))
        for number in range(node_count):
            node_public_key(self.node_key(number))
        config = {"address": self.address, "root-certificates": str(self.authority)}
        text = f'[superlink]\ndefault = "{CONNECTION}"\n\n[superlink.{CONNECTION}]\n{toml(config)}'
        (self.flower_home / "config.toml").write_text(text, encoding="utf-8")

    @property
    def address(self) -> str:
        """Host and port of the SuperLink."""
        return f"{HOST}:{self.port}"

    @property
    def logs(self) -> Path:
        """What every process writes, one file each."""
        return self.work / "logs"

    @property
    def flower_home(self) -> Path:
        """FLWR_HOME of the command line and of the ServerApp."""
        return self.work / "flwr"

    def node_home(self, number: int) -> Path:
        """FLWR_HOME of one SuperNode; apart, or two that unpack the same app at once disturb each other."""
        return self.work / f"flwr-node-{number}"

    @property
    def authority(self) -> Path:
        """Certificate that signed the SuperLink's."""
        return self.work / _SUPERLINK / AUTHORITY_CERTIFICATE

    @property
    def certificate(self) -> Path:
        """The SuperLink's certificate."""
        return self.work / _SUPERLINK / TLS_CERTIFICATE

    @property
    def key(self) -> Path:
        """The SuperLink's TLS key."""
        return self.work / _SUPERLINK / TLS_KEY

    @property
    def secret(self) -> Path:
        """What a SuperExec proves itself with."""
        return self.work / _SECRET

    def node_key(self, number: int) -> Path:
        """Private key of one SuperNode (EC P-384, OpenSSH); its public half is beside it, `.key.pub`."""
        return self.work / f"node-{number}.key"

    def _make_certificates(self) -> None:
        now = dt.datetime.now(dt.UTC)
        authority = CertificateAuthority.create(self.work / _AUTHORITY, "loopback", now)
        request = request_certificate(self.work / _SUPERLINK, _SUPERLINK)
        certificate = authority.issue_server(request, _SUPERLINK, now)
        install_certificate(self.work / _SUPERLINK, certificate, authority.certificate_pem)


def free_ports(count: int) -> list[int]:
    """`count` different TCP ports on loopback that nobody holds now."""
    with ExitStack() as held:
        sockets = [held.enter_context(socket.socket()) for _ in range(count)]
        for one in sockets:
            one.bind((HOST, 0))
        return [int(one.getsockname()[1]) for one in sockets]


def toml(values: Mapping[str, bool | int | float | str]) -> str:
    """`values` as the lines of one TOML table."""
    return "".join(f"{json.dumps(key)} = {json.dumps(value, ensure_ascii=False)}\n" for key, value in values.items())


def node_config_text(values: Mapping[str, bool | int | float | str]) -> str:
    """`values` in the form of `flower-supernode --node-config`.

    Raises:
        EngineError: a text holds a quote or a line break, which that form cannot carry.
    """
    words = []
    for key, value in values.items():
        if isinstance(value, str):
            if "'" in value or not value.isprintable():
                raise EngineError(f"engine: node config {key}={value!r} may hold no quote and no line break")
            words.append(f"{key}='{value}'")
        else:
            words.append(f"{key}={json.dumps(value)}")
    return " ".join(words)


def _write_secret(path: Path, content: bytes) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(content)
