"""`connection.toml`: how a member's processes reach the consortium's services. Written by joining, never by hand."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from clients.errors import ClientError
from clients.tasks.spec import Slug
from clients.toml_files import load_toml

CONNECTION = "connection.toml"
NODE_KEY = "node.key"
"""The private key of a firm's SuperNode (EC P-384, OpenSSH); its public half is beside it, `node.key.pub`."""


class ConnectionInvalid(ClientError):
    """A `connection.toml` that cannot be used; the message names the file and the key."""


class Connection(BaseModel):
    """Where the consortium is, and by what a member recognises it. Addresses are HOST:PORT.

    Attributes:
        member, kind, cid: who this home is, and of which consortium.
        enrolment: the join desk: joining, new certificates, what stands at the coordinator for this member.
        ledger: the ledger's gRPC service.
        fleet: where SuperNodes connect; only Flower's Fleet API is reachable there.
        scores: the score service.
        authority_sha256: hex, of the DER of the consortium's CA certificate (`ca.crt` in the home).
        founding: the ledger's founding fingerprint, as the member confirmed it; empty before there is a ledger.
        policy_sha256: hex, of the shared `consortium.toml`; the ledger's policy names it as `config`.
        proxy: URL of the HTTP proxy through which all of these are reached; empty for none.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    member: Slug
    kind: Literal["firm", "bank"]
    cid: str = Field(min_length=1)
    enrolment: str
    ledger: str
    fleet: str = ""
    scores: str = ""
    authority_sha256: str = Field(pattern="^[0-9a-f]{64}$")
    founding: str = ""
    policy_sha256: str = Field(default="", pattern="^([0-9a-f]{64})?$")
    proxy: str = ""


def load_connection(home: Path) -> Connection:
    """Read a home's `connection.toml`.

    Raises:
        ConnectionInvalid: missing, not TOML, or against the rules; one line says where.
    """
    return load_toml(home / CONNECTION, Connection, ConnectionInvalid)
