"""Founding a consortium: the coordinator's home, its certificate authority, and the ledger's first entries."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import tomli_w

from clients.homes import POLICY
from ledger.genesis import Founder, genesis_statements
from ledger.keys import SigningKey
from ledger.log import Log
from ledger.policy import Policy
from server.certificates import CertificateAuthority, install_certificate, request_certificate
from server.coordinator import CONFIG_FILE, LEDGER_FILE, SIGNING_KEY, write_file
from server.errors import ServerError


class AlreadyFounded(ServerError):
    """The directory holds a coordinator already."""


def found(
    home: Path,
    cid: str,
    founders: Sequence[Founder],
    *,
    min_cohort: int,
    tasks: Sequence[dict[str, Any]],
    specs: dict[str, bytes],
    ledger: bool = True,
    in_memory: bool = False,
    now: Callable[[], float] = time.time,
    entropy: Callable[[int], bytes] = os.urandom,
) -> Policy:
    """Create the coordinator's home and the ledger with its founding members.

    Args:
        founders: the members, with the public keys that they made in their own homes.
        tasks: entries of `[[task]]` in `coordinator.toml`.
        specs: task spec files by the name that `tasks` gives them.
        ledger: record runs; False only for simulations, whose firms must allow it.
        in_memory: keep artifacts in memory, for simulations.

    Returns:
        The policy that every member trusts from here on: the log's key, the witnesses' keys, and the quorum.

    Raises:
        AlreadyFounded: there is a ledger in `home`, or a founding there was cut short.
    """
    if (home / LEDGER_FILE).exists():
        raise AlreadyFounded(f"{home}: a consortium has been founded here; choose an empty directory")
    if (home / SIGNING_KEY).exists():
        raise AlreadyFounded(f"{home}: a founding here was not finished; remove the directory and found again")
    home.mkdir(mode=0o700, parents=True, exist_ok=True)
    key = SigningKey.generate()
    key.save(home / SIGNING_KEY)
    for name, content in specs.items():
        write_file(home / name, content)
    document = {"cid": cid, "ledger": ledger, "in_memory": in_memory, "task": list(tasks)}
    write_file(home / CONFIG_FILE, tomli_w.dumps(document).encode())
    moment = datetime.fromtimestamp(now(), UTC)
    authority = CertificateAuthority.create(home, cid, moment)
    certificate = authority.issue_server(request_certificate(home, "coordinator"), "coordinator", moment)
    install_certificate(home, certificate, authority.certificate_pem)
    statements = genesis_statements(cid, key, founders, min_cohort=min_cohort, ts=int(now()), entropy=entropy)
    unfinished = home / f".{LEDGER_FILE}.new"
    with Log.create(unfinished, f"artesian/{cid}", key, cid=cid) as log:
        log.append(statements)
        log.checkpoint()
        policy = log.policy
    os.replace(unfinished, home / LEDGER_FILE)  # whole since it was closed: nothing is left in a write-ahead file
    unfinished.with_name(f"{unfinished.name}.lock").unlink(missing_ok=True)
    write_file(home / POLICY, policy.text().encode())
    return policy


def certify_member(home: Path, member_home: Path, member: str, now: Callable[[], float] = time.time) -> None:
    """Issue a member's certificate for a request made in its own home; the private key stays there."""
    authority = CertificateAuthority.open(home)
    request = request_certificate(member_home, member)
    certificate = authority.issue_member(request, member, datetime.fromtimestamp(now(), UTC))
    install_certificate(member_home, certificate, authority.certificate_pem)
