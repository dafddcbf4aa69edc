"""The consortium's certificate authority: who is who in mutual TLS (X.509, RFC 5280).

An organisation makes its key and a signing request at home (`clients.certificates`); the authority signs what it has
admitted (`issue_member`, `issue_server`). A member's certificate serves for clients only and a service's for servers
only (extended key usage), so that no member can stand in for the service that the others ask; the coordinator, which
is a client of its own services too, has both.
"""

import datetime as dt
import ipaddress
from collections.abc import Sequence
from pathlib import Path
from typing import Self

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from clients.certificates import AUTHORITY_CERTIFICATE as AUTHORITY_CERTIFICATE
from clients.certificates import TLS_CERTIFICATE as TLS_CERTIFICATE
from clients.certificates import TLS_KEY as TLS_KEY
from clients.certificates import BadCertificate as BadCertificate
from clients.certificates import Identity as Identity
from clients.certificates import checked_identity, key_pem, load_key, read_pem, requested_key
from clients.certificates import identity_of as identity_of
from clients.certificates import install_certificate as install_certificate
from clients.certificates import request_certificate as request_certificate
from ledger.whole_file import write_whole

AUTHORITY_KEY = "ca.key"
AUTHORITY_LIFETIME = dt.timedelta(days=3650)
LEAF_LIFETIME = dt.timedelta(days=90)
LOCAL_HOSTS = ("localhost", "127.0.0.1")
# Clocks differ: a certificate issued here must not look future-dated to a member a little behind.
BACKDATED = dt.timedelta(minutes=5)


class CertificateAuthority:
    """The consortium's authority: admits by signing. Its key never leaves its home."""

    def __init__(self, cid: str, key: ec.EllipticCurvePrivateKey, certificate: x509.Certificate) -> None:
        self.cid = cid
        self._key = key
        self._certificate = certificate

    @classmethod
    def create(cls, home: Path, cid: str, now: dt.datetime) -> Self:
        """Make the authority of consortium `cid` in `home` (ca.key with mode 0600, ca.crt).

        Raises:
            BadCertificate: `home` already holds an authority, or `cid` is not a slug.
        """
        identity = checked_identity(cid, "authority")
        if (home / AUTHORITY_KEY).exists():
            raise BadCertificate(f"{home / AUTHORITY_KEY} exists: this home already has an authority")
        key = ec.generate_private_key(ec.SECP256R1())
        name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, f"Artesian {cid}"[:64])])
        certificate = (
            _builder(name, name, key.public_key(), now, AUTHORITY_LIFETIME)
            .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
            .add_extension(_key_usage(authority=True), critical=True)
            .add_extension(x509.SubjectAlternativeName([x509.UniformResourceIdentifier(identity.uri)]), critical=False)
            .sign(key, hashes.SHA256())
        )
        home.mkdir(parents=True, exist_ok=True)
        write_whole(home / AUTHORITY_KEY, key_pem(key))
        write_whole(home / AUTHORITY_CERTIFICATE, certificate.public_bytes(serialization.Encoding.PEM))
        return cls(cid, key, certificate)

    @classmethod
    def open(cls, home: Path) -> Self:
        """Open the authority kept in `home`.

        Raises:
            BadCertificate: a file is missing or damaged, or the key is not the certificate's.
        """
        key = load_key(home / AUTHORITY_KEY)
        certificate_pem = read_pem(home / AUTHORITY_CERTIFICATE)
        identity = identity_of(certificate_pem)
        certificate = x509.load_pem_x509_certificate(certificate_pem)
        if certificate.public_key() != key.public_key():
            raise BadCertificate(f"{home}: {AUTHORITY_KEY} is not the key of {AUTHORITY_CERTIFICATE}")
        return cls(identity.cid, key, certificate)

    @property
    def certificate_pem(self) -> bytes:
        """The authority's own certificate: what every member trusts."""
        return self._certificate.public_bytes(serialization.Encoding.PEM)

    def issue_member(self, request_pem: bytes, member: str, now: dt.datetime) -> bytes:
        """Sign a request (PEM) into the client certificate (PEM) of `member`, whatever name it asks for."""
        return self._issue(request_pem, member, now, [ExtendedKeyUsageOID.CLIENT_AUTH], ())

    def issue_server(
        self,
        request_pem: bytes,
        member: str,
        now: dt.datetime,
        hosts: Sequence[str] = LOCAL_HOSTS,
        *,
        client_too: bool = False,
    ) -> bytes:
        """Sign a service's request (PEM) into a server certificate (PEM) for these names and addresses.

        Args:
            client_too: it serves for calls of its holder as well: the coordinator's.
        """
        client = [ExtendedKeyUsageOID.CLIENT_AUTH] if client_too else []
        return self._issue(request_pem, member, now, [ExtendedKeyUsageOID.SERVER_AUTH, *client], hosts)

    def _issue(
        self,
        request_pem: bytes,
        member: str,
        now: dt.datetime,
        purposes: Sequence[x509.ObjectIdentifier],
        hosts: Sequence[str],
    ) -> bytes:
        identity = checked_identity(self.cid, member)
        public_key = requested_key(request_pem)
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, member)])
        names = [x509.UniformResourceIdentifier(identity.uri), *map(_host_name, hosts)]
        authority_key = x509.AuthorityKeyIdentifier.from_issuer_public_key(self._key.public_key())
        certificate = (
            _builder(subject, self._certificate.subject, public_key, now, LEAF_LIFETIME)
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(_key_usage(authority=False), critical=True)
            .add_extension(x509.ExtendedKeyUsage(purposes), critical=True)
            .add_extension(x509.SubjectAlternativeName(names), critical=False)
            .add_extension(authority_key, critical=False)
            .sign(self._key, hashes.SHA256())
        )
        return certificate.public_bytes(serialization.Encoding.PEM)


def _builder(
    subject: x509.Name,
    issuer: x509.Name,
    key: ec.EllipticCurvePublicKey,
    now: dt.datetime,
    lifetime: dt.timedelta,
) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - BACKDATED)
        .not_valid_after(now + lifetime)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key), critical=False)
    )


def _key_usage(*, authority: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not authority,
        key_cert_sign=authority,
        crl_sign=authority,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )


def _host_name(host: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(host))
    except ValueError:
        return x509.DNSName(host)
