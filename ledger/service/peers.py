"""Who is at the other end of a TLS connection: its certificate must not be revoked, and be that of who signs the calls.

A file lists the serial numbers of certificates that are revoked and since when, and the members that are left with none
that holds; whoever keeps the authority writes it. It is read again when it changes. A file that cannot be read lets
nobody in.
"""

from __future__ import annotations

import json
import logging
import os
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cryptography import x509

from ledger.errors import LedgerError
from ledger.service.access import NotAllowed

REVOKED = "revoked.json"
_JOINED_BY = ("consortium.toml", "enrolment.db")
"""Files of homes in whose name certificates are issued and revoked; such a home always has the list."""
_SCHEME = "artesian://"

log = logging.getLogger("artesian.peers")


class BadRevocations(LedgerError):
    """The list of revoked certificates cannot be read; until it can, nobody is let in."""

    exit_code = 2


class PeerCheck:
    """Checks the certificates of callers. Threads may share it."""

    def __init__(self, path: str | os.PathLike[str], clock: Callable[[], float] = time.time) -> None:
        """Use the list at `path`."""
        self._path = Path(path)
        self._clock = clock
        self._read: tuple[object, Revocations] = (None, Revocations({}, frozenset()))

    def require(self, context: Any, caller: str | None = None) -> str:
        """The member that the certificate of a call's connection names.

        Args:
            context: gRPC's, of the call.
            caller: who the call says it is by; None for nobody.

        Raises:
            NotAllowed: no certificate, a revoked one, or another's than the caller's.
        """
        shown = context.auth_context().get("x509_pem_cert", ())
        if len(shown) != 1:
            raise NotAllowed("show a certificate of the consortium: artesian firm join, artesian bank join")
        return self.require_certificate(shown[0], caller)

    def require_certificate(self, pem: bytes, caller: str | None = None) -> str:
        """As `require`, of the certificate itself (PEM), which TLS has found to be by the authority."""
        try:
            certificate = x509.load_pem_x509_certificate(pem)
            names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        except (ValueError, x509.ExtensionNotFound):
            raise NotAllowed("the certificate cannot be read") from None
        uris = [one for one in names.get_values_for_type(x509.UniformResourceIdentifier) if one.startswith(_SCHEME)]
        member = uris[0].rpartition("/")[2] if len(uris) == 1 else ""
        if not member:
            raise NotAllowed("the certificate names no member")
        try:
            listed = self._listed()
        except BadRevocations as error:
            log.error("%s", error)
            raise NotAllowed(
                "what is revoked cannot be told here, so nobody is let in; the operator finds why in the log"
            ) from None
        since_s = listed.since.get(certificate.serial_number)
        if since_s is not None and since_s <= self._clock():
            what, option = ("revoked", " --new-key") if member in listed.members else ("revoked or superseded", "")
            raise NotAllowed(
                f"the certificate of {member} was {what}; get another with: artesian firm renew{option} "
                f"(a bank: artesian bank renew{option}); a suspended member asks the coordinator first"
            )
        if caller is not None and caller != member:
            raise NotAllowed(f"the connection is {member}'s and the call {caller}'s; use the home of one member")
        return member

    def shut_out(self) -> frozenset[str]:
        """The members whose certificates were revoked, and that have got no other since.

        Raises:
            BadRevocations: the list cannot be read.
        """
        return self._listed().members

    def _listed(self) -> Revocations:
        try:
            status = self._path.stat()
            mark = (status.st_mtime_ns, status.st_ino, status.st_size)
            if self._read[0] != mark:
                self._read = (mark, revocations(self._path.read_bytes()))
        except OSError as error:
            raise BadRevocations(f"{self._path}: cannot be read: {error.strerror}") from None
        return self._read[1]


def peers_of_home(home: Path) -> PeerCheck | None:
    """What callers of a home's services are checked with; None in a home that never had a list.

    Raises:
        BadRevocations: the home should have one, and it is not there: who was shut out would be let in.
    """
    path = home / REVOKED
    if path.exists():
        return PeerCheck(path)
    if any((home / name).exists() for name in _JOINED_BY):
        raise BadRevocations(
            f"{path}: is missing, so revoked certificates would be let in; make it again from the book: "
            f"artesian coordinator admit --home {home}"
        )
    return None


@dataclass(frozen=True)
class Revocations:
    """What the list says.

    Attributes:
        since: by serial number: since when it is revoked, in seconds since 1970.
        members: see `PeerCheck.shut_out`; none in a list that was written before they were named.
    """

    since: Mapping[int, float]
    members: frozenset[str]


def revocations(raw: bytes) -> Revocations:
    """Read the list.

    Raises:
        BadRevocations: these bytes are no such list.
    """
    try:
        document = json.loads(raw)
        if document["version"] != 1:
            raise ValueError("another version")
        members = document.get("members", [])
        if not isinstance(members, list) or not all(isinstance(one, str) for one in members):
            raise ValueError("members are no list of names")
        since = {int(serial, 16): float(since_s) for serial, since_s in document["since"].items()}
        return Revocations(since, frozenset(members))
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise BadRevocations(f"{REVOKED}: not a list of revoked certificates: {error}") from None
