"""A member's TLS certificate, renewed before it runs out; the key stays, unless its owner wants another."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from clients.certificates import (
    AUTHORITY_CERTIFICATE,
    COMING_KEY,
    TLS_CERTIFICATE,
    TLS_KEY,
    BadCertificate,
    check_certificate,
    facts_of,
    finish_coming,
    install_certificate,
    install_coming,
    read_pem,
    request_certificate,
)
from clients.connection import Connection, load_connection
from clients.enrolment.desk_client import TIMEOUT_S, DeskClient
from clients.enrolment.errors import DeskUnreachable, NotAdmitted, OtherConsortium
from clients.errors import ClientError
from clients.homes import SIGNING_KEY
from clients.proxy import go_through
from ledger.errors import LedgerError
from ledger.keys import SigningKey

LOOK_S = 600.0
"""How often a process that watches looks at least: after a change of keys the old certificate serves 15 minutes."""
RETRY_S = 300.0
"""How soon it tries again when the desk does not answer."""
ASK_S = 3.0
"""How often it asks whether this home has been admitted."""


@dataclass(frozen=True)
class Renewed:
    """How a home's certificate stands.

    Attributes:
        done: whether another was fetched now.
        due_s, until_s: seconds since 1970 from when it is to be renewed, and until when it holds.
    """

    done: bool
    due_s: float
    until_s: float


def authority_of(home: Path, connection: Connection) -> bytes:
    """The CA certificate (PEM) that this home trusts.

    Raises:
        OtherConsortium: the file is not the certificate that the member confirmed.
        BadCertificate: it cannot be read.
    """
    pem = read_pem(home / AUTHORITY_CERTIFICATE)
    if facts_of(pem).fingerprint != connection.authority_sha256:
        raise OtherConsortium(f"{home / AUTHORITY_CERTIFICATE}: is not the CA certificate that this member confirmed")
    return pem


def desk_of(home: Path, now: Callable[[], float], timeout_s: float = TIMEOUT_S) -> DeskClient:
    """A client of the join desk for a home that has asked to join."""
    connection = load_connection(home)
    go_through(connection.proxy)
    return DeskClient(connection.enrolment, authority_of(home, connection), now=now, timeout_s=timeout_s)


def renew(home: Path, now: Callable[[], float], *, new_key: bool = False, force: bool = False) -> Renewed:
    """Renew the certificate if it is due, revoked, not for this home's key, or another key is wanted.

    An exchange of keys that was cut short is finished first. What the desk has issued for this home's key already, and
    this home never got, is taken as it is.

    Args:
        new_key: make another TLS key, which takes the present one's place when its certificate is there.
        force: also when it is not due.

    Raises:
        NotAdmitted: the desk refuses.
        DeskUnreachable: it does not answer; the present certificate stays.
    """
    finish_coming(home)
    cut_short = (home / COMING_KEY).exists()
    if not (new_key or force or cut_short):
        standing = _present(home)
        if standing is not None and now() < standing.due_s:
            held = _held(home, now)
            if held is None or held == read_pem(home / TLS_CERTIFICATE):
                return standing
            with contextlib.suppress(BadCertificate):  # none at all, or for a key of which this home knows nothing
                return _keep(home, held, install_certificate)
    connection, key = load_connection(home), SigningKey.load(home / SIGNING_KEY)
    key_file = COMING_KEY if new_key or cut_short else TLS_KEY
    with desk_of(home, now) as desk:

        def ask() -> bytes:
            csr = request_certificate(home, connection.member, key_file=key_file)
            return desk.renew(connection.cid, connection.member, key, csr)

        try:
            pem = ask()
        except NotAdmitted:
            if not (new_key and cut_short):
                raise
            (home / COMING_KEY).unlink()  # it may have been revoked before it ever served
            pem = ask()
    return _keep(home, pem, install_certificate if key_file == TLS_KEY else install_coming)


def _keep(home: Path, pem: bytes, install: Callable[[Path, bytes, bytes], object]) -> Renewed:
    """Install what the desk has issued, once it proves to be this member's."""
    connection, facts = load_connection(home), facts_of(pem)
    identity = facts.identity
    if (identity.cid, identity.member) != (connection.cid, connection.member):
        raise OtherConsortium(f"the certificate is {identity.uri}'s, not {connection.member}'s of {connection.cid}")
    install(home, pem, authority_of(home, connection))
    return Renewed(True, facts.due_s, facts.until_s)


def _held(home: Path, now: Callable[[], float]) -> bytes | None:
    """The member's newest certificate (PEM) that holds, as the desk says; empty for none, None if it does not say."""
    connection, key = load_connection(home), SigningKey.load(home / SIGNING_KEY)
    try:
        with desk_of(home, now) as desk:
            standing = desk.standing(connection.cid, connection.member, key)
    except DeskUnreachable:
        return None
    return standing.certificate if standing.phase == "enrolled" else None


def keep_renewed(
    home: Path,
    now: Callable[[], float],
    pause: Callable[[float], bool],
    say: Callable[[str], None],
    finish: Callable[[], bool] = lambda: True,
    tell: Callable[[], object] = lambda: None,
) -> None:
    """Finish joining, then renew whenever it is due, until told to stop.

    Args:
        pause: waits for so many seconds, and says whether to go on.
        say: told one line when something was renewed, or could not be.
        finish: makes a home whole that has asked to join, if it has been admitted; says whether it is whole.
        tell: tells the coordinator which release this member runs.
    """
    wait_s, trouble, whole = 0.0, "", False
    while pause(wait_s):
        try:
            whole = whole or finish()
            if not whole:
                wait_s = ASK_S
                continue
            at = renew(home, now)
            if at.done:
                say(f"the certificate of {home} was renewed; processes that have it open take it when they start again")
            tell()
            wait_s, trouble = min(LOOK_S, max(1.0, at.due_s - now())), ""
        except (ClientError, LedgerError) as error:
            wait_s = RETRY_S if whole else ASK_S
            if str(error) != trouble:
                trouble = str(error)
                say(f"{error}; trying again every {wait_s:.0f} s")


def _present(home: Path) -> Renewed | None:
    """How the certificate stands; None if there is none for the home's key."""
    try:
        pem = read_pem(home / TLS_CERTIFICATE)
        check_certificate(pem, home / TLS_KEY, read_pem(home / AUTHORITY_CERTIFICATE))
    except BadCertificate:
        return None
    facts = facts_of(pem)
    return Renewed(False, facts.due_s, facts.until_s)
