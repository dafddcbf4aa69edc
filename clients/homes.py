"""Making a member's home: keys that never leave it, a `firm.toml` to edit, and the policy that it trusts."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import tomli_w

from clients.errors import ClientError
from ledger.keys import PublicKey, SigningKey
from ledger.policy import Policy
from ledger.whole_file import write_whole

SIGNING_KEY = "signing.pem"
POLICY = "policy.txt"
FIRM_CONFIG = "firm.toml"


class HomeExists(ClientError):
    """There is a member's home already; its keys must not be replaced by accident."""


def make_home(home: Path) -> PublicKey:
    """Create a member's home with a fresh signing key; returns the public half, to be enrolled.

    Raises:
        HomeExists: there is a signing key already.
    """
    home.mkdir(mode=0o700, parents=True, exist_ok=True)
    path = home / SIGNING_KEY
    if path.exists():
        raise HomeExists(f"{path}: this home has a key already; choose another directory")
    key = SigningKey.generate()
    key.save(path)
    return key.public


def write_firm_config(home: Path, document: dict[str, Any]) -> None:
    """Write `firm.toml`; None values are left out."""
    write_whole(home / FIRM_CONFIG, tomli_w.dumps(document), mode=0o644)


def trust(home: Path, policy: Policy) -> None:
    """Keep the consortium's policy (log key, witness keys, quorum), which the member got out of band."""
    write_whole(home / POLICY, policy.text(), mode=0o644)
