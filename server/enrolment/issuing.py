"""Members' certificates: issued once they are enrolled, renewed, superseded, revoked; and the list of what is revoked.

The services ask `revoked.json` in the coordinator's home (`ledger.service.peers`): serial numbers, and since when.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509 import load_pem_x509_certificate

from clients.certificates import BadCertificate, facts_of, requested_key
from clients.enrolment.errors import NotAdmitted
from ledger.service.peers import REVOKED, revocations
from ledger.whole_file import write_whole
from server.certificates import CertificateAuthority
from server.enrolment.book import EnrolmentBook, Issued
from server.enrolment.enrolment_tables import OLD_KEY_GRACE_S, SAME_KEY_GRACE_S

RENEWALS_A_DAY = 12
"""The most that a member may have: one that cannot keep what it is given asks again every few minutes."""


class KeyRevoked(BadCertificate):
    """The key of the request was revoked."""

    exit_code = 1


class Issuing:
    """Signs what the ledger says may be signed; who may is decided by the callers."""

    def __init__(self, home: Path, book: EnrolmentBook, now: Callable[[], float]) -> None:
        """Use the authority in `home`."""
        self._home = home
        self._book = book
        self._now = now

    def first(self, member: str, csr: bytes) -> bool:
        """Issue a certificate for the key of `csr` if none was ever issued for it; says whether it did."""
        key = requested_key(csr)
        if any(key_of(one) == key for one in self._book.certificates(member)):
            return False
        self._issue(member, csr)
        self.publish()
        return True

    def renew(self, member: str, csr: bytes) -> bytes:
        """Issue another certificate (PEM); those before it end soon.

        Raises:
            KeyRevoked: for this key there will be no other.
            NotAdmitted: the member has renewed too often today.
            BadCertificate: no request that can be signed.
        """
        key, now_s = requested_key(csr), self._now()
        before = self._book.certificates(member)
        if any(one.revoked_s is not None and key_of(one) == key for one in before):
            raise KeyRevoked(
                f"{member}: certificates for this TLS key were revoked; make another key with: "
                "artesian firm renew --new-key (bank: artesian bank renew --new-key)"
            )
        if sum(one.issued_s > now_s - 86_400 for one in before) >= RENEWALS_A_DAY:
            raise NotAdmitted(
                f"{member} was given {RENEWALS_A_DAY} certificates within a day; install the newest, or try again later"
            )
        ends = {
            one.serial: int(now_s) + (SAME_KEY_GRACE_S if key_of(one) == key else OLD_KEY_GRACE_S)
            for one in before
            if one.until_s > now_s
        }
        issued = self._issue(member, csr, ends)
        self.publish()
        return issued

    def present(self, member: str) -> bytes:
        """The member's newest certificate that holds (PEM); empty if there is none."""
        now_s = self._now()
        held = [one for one in self._book.certificates(member) if one.ends_s is None and one.until_s > now_s]
        return held[0].pem if held else b""

    def revoke(self, member: str) -> int:
        """Revoke all of a member's certificates now; says how many held."""
        count = self._book.revoke(member, self._now())
        self.publish()
        return count

    def publish(self) -> None:
        """Write `revoked.json`: what was revoked or superseded and has not run out by itself, and who has nothing left.

        Its members are those whose SuperNodes stay out until they have got a certificate again.
        """
        now_s, issued = self._now(), self._book.certificates()
        listed = {one.serial: one.ends_s for one in issued if one.ends_s is not None and one.until_s > now_s}
        holds = {one.member for one in issued if one.ends_s is None and one.until_s > now_s}
        shut_out = {one.member for one in issued if one.revoked_s is not None} - holds
        path = self._home / REVOKED
        facts = {"version": 1, "since": dict(sorted(listed.items())), "members": sorted(shut_out)}
        document = json.dumps(facts, indent=1).encode() + b"\n"
        if not path.exists() or path.read_bytes() != document:
            revocations(document)  # what could not be read would shut everybody out
            write_whole(path, document)

    def _issue(self, member: str, csr: bytes, superseded: Mapping[str, int] | None = None) -> bytes:
        now_s = self._now()
        authority = CertificateAuthority.open(self._home)
        pem = authority.issue_member(csr, member, datetime.fromtimestamp(now_s, UTC))
        facts = facts_of(pem)
        self._book.issued(Issued(f"{facts.serial:x}", member, pem, int(now_s), int(facts.until_s)), superseded)
        return pem


def key_of(issued: Issued) -> ec.EllipticCurvePublicKey:
    """The key that a certificate is for."""
    key = load_pem_x509_certificate(issued.pem).public_key()
    assert isinstance(key, ec.EllipticCurvePublicKey)
    return key
