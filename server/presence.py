"""Who a node is: what it is asked when a run begins, and what of its answer it has to prove."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from clients.greeting import NONCE_BYTES, TRACES_NAME, check_proof, question, read_extension, read_span, release_of
from clients.masking.announcement import read_announcement
from clients.masking.session import RosterEntry
from clients.versions import MESSAGE_VERSIONS, SOFTWARE, Span, VersionMismatch
from ledger.keys import BadSignature, PublicKey
from server.errors import ServerError

EnrolledKey = Callable[[str], PublicKey | None]
"""The signing key under which a firm is enrolled on the ledger, or None if no active firm has this id."""
_MOST_UNITS = 10**12


class NotWhoItSays(ServerError):
    """A node that does not prove to be the firm that it names; it is left out."""

    exit_code = 1


@dataclass(frozen=True)
class Present:
    """A firm's node, as it answered at the beginning of the run.

    Attributes:
        node: Flower's id of its SuperNode.
        units: declared privacy units; 0 for a firm that takes no part in the task and only witnesses.
        roster: its keys; bare where nothing is masked.
        signing_key: under which it is enrolled, or says it is where there is no ledger.
        announcement: its signed masking key, for the ledger or to be relayed; empty where nothing is masked.
        version: of all messages to and from it in this run, but for further greetings.
        release: which release of the program it says it runs.
        traces: whether it reads ids of traces beside messages.
    """

    node: int
    units: int
    roster: RosterEntry
    signing_key: PublicKey
    announcement: bytes
    version: int
    release: str
    traces: bool


def greeting(cid: str, task_name: str, epoch: int, spoken: Span = MESSAGE_VERSIONS) -> dict[str, Any]:
    """What a node is asked to say and to prove who it is, new each time.

    Args:
        spoken: the versions of the messages that the coordinator speaks.
    """
    return question(cid, task_name, epoch, secrets.token_bytes(NONCE_BYTES), spoken)


def identify(node: int, request: Mapping[str, Any], reply: Mapping[str, Any], enrolled: EnrolledKey | None) -> Present:
    """Who a node is by its answer to `greeting`, if it proves it.

    Args:
        enrolled: without it the node is taken at its word about its key.

    Raises:
        NotWhoItSays, ClientError, LedgerError: it is left out.
    """
    epoch = request["epoch"]
    member, units, announcement = reply["member"], reply["units"], reply["announcement"]
    key = PublicKey(reply["signing_key"]) if enrolled is None else enrolled(member)
    if key is None:
        raise NotWhoItSays(f"it says it is {member!r}, which is no active firm on the ledger")
    if not 0 <= units <= _MOST_UNITS:
        raise NotWhoItSays(f"{member} declares {units} units; it must be between 0 and {_MOST_UNITS}")
    roster = RosterEntry(member, bytes(32))
    if epoch and units:
        roster = read_announcement(announcement, request["cid"], epoch, member, key)
    extension = read_extension(reply["extension"])
    release = release_of(extension)
    try:
        check_proof(request, reply, key)
    except BadSignature:
        raise NotWhoItSays(f"it says it is {member!r} and does not prove it with that firm's key") from None
    asked, version = read_span(request["versions"]), reply["version"]
    if version not in asked:
        raise VersionMismatch(
            f"{member} (artesian {release}) answers in messages {version}, the coordinator (artesian {SOFTWARE}) "
            f"speaks {asked}: upgrade {member if version < asked.lowest else 'the coordinator'}"
        )
    return Present(node, units, roster, key, announcement, version, release, TRACES_NAME in extension)
