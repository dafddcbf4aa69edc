"""The consortium's certificates: who is who in mutual TLS (X.509, RFC 5280).

A private key is made where it stays: an organisation makes its key and a signing request
(`request_certificate`), the consortium's authority signs what it has admitted (`issue_member`,
`issue_server`), and the organisation installs the answer (`install_certificate`). A certificate names its
holder in a SAN URI, `artesian://CID/MEMBER`. A member's certificate serves for clients only and a server's
for servers only (extended key usage), so that no member can stand in for the service that the others ask.

ECDSA P-256 throughout: the TLS library inside gRPC does not accept Ed25519 certificates.
"""

import datetime as dt
import ipaddress
import os
import re
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from server.errors import ServerError

TLS_KEY = "tls.key"
TLS_CERTIFICATE = "tls.crt"
AUTHORITY_KEY = "ca.key"
AUTHORITY_CERTIFICATE = "ca.crt"
AUTHORITY_LIFETIME = dt.timedelta(days=3650)
LEAF_LIFETIME = dt.timedelta(days=365)
LOCAL_HOSTS = ("localhost", "127.0.0.1")
# Clocks differ: a certificate issued here must not look future-dated to a member a little behind.
BACKDATED = dt.timedelta(minutes=5)

_SLUG = re.compile(r"[a-z0-9][a-z0-9.-]{0,62}\Z")


class BadCertificate(ServerError):
    """A certificate, key or signing request cannot be used; the message says which and why."""

    exit_code = 2


@dataclass(frozen=True)
class Identity:
    """Whom a certificate names: the consortium `cid` and the `member` (or `coordinator`)."""

    cid: str
    member: str

    @property
    def uri(self) -> str:
        return f"artesian://{self.cid}/{self.member}"


def identity_of(certificate_pem: bytes) -> Identity:
    """Read the identity in a certificate. It does not check who signed: TLS has done so.

    Raises:
        BadCertificate: not a certificate, or not exactly one `artesian://CID/MEMBER` in its SAN.
    """
    try:
        certificate = x509.load_pem_x509_certificate(certificate_pem)
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except (ValueError, x509.ExtensionNotFound) as error:
        raise BadCertificate(f"certificate without a readable identity: {error}") from error
    uris = [u for u in names.get_values_for_type(x509.UniformResourceIdentifier) if u.startswith("artesian://")]
    if len(uris) != 1:
        raise BadCertificate(f"certificate names {len(uris)} artesian:// identities; it must name one")
    cid, slash, member = uris[0].removeprefix("artesian://").partition("/")
    if not slash:
        raise BadCertificate(f"certificate identity {uris[0]!r} is not artesian://CID/MEMBER")
    return _identity(cid, member)


def _identity(cid: str, member: str) -> Identity:
    for what, name in (("consortium id", cid), ("member id", member)):
        if not _SLUG.match(name):
            raise BadCertificate(f"{what} {name!r}: use a-z, 0-9, dots and dashes, at most 63")
    return Identity(cid, member)


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
        identity = _identity(cid, "authority")
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
        _write(home / AUTHORITY_KEY, _key_pem(key))
        _write(home / AUTHORITY_CERTIFICATE, certificate.public_bytes(serialization.Encoding.PEM))
        return cls(cid, key, certificate)

    @classmethod
    def open(cls, home: Path) -> Self:
        """Open the authority kept in `home`.

        Raises:
            BadCertificate: a file is missing or damaged, or the key is not the certificate's.
        """
        key = _load_key(home / AUTHORITY_KEY)
        certificate_pem = _read(home / AUTHORITY_CERTIFICATE)
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
        return self._issue(request_pem, member, now, ExtendedKeyUsageOID.CLIENT_AUTH, ())

    def issue_server(
        self, request_pem: bytes, member: str, now: dt.datetime, hosts: Sequence[str] = LOCAL_HOSTS
    ) -> bytes:
        """Sign a service's request (PEM) into a server certificate (PEM) for these names and addresses."""
        return self._issue(request_pem, member, now, ExtendedKeyUsageOID.SERVER_AUTH, hosts)

    def _issue(
        self,
        request_pem: bytes,
        member: str,
        now: dt.datetime,
        purpose: x509.ObjectIdentifier,
        hosts: Sequence[str],
    ) -> bytes:
        identity = _identity(self.cid, member)
        public_key = _requested_key(request_pem)
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, member)])
        names = [x509.UniformResourceIdentifier(identity.uri), *map(_host_name, hosts)]
        authority_key = x509.AuthorityKeyIdentifier.from_issuer_public_key(self._key.public_key())
        certificate = (
            _builder(subject, self._certificate.subject, public_key, now, LEAF_LIFETIME)
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(_key_usage(authority=False), critical=True)
            .add_extension(x509.ExtendedKeyUsage([purpose]), critical=True)
            .add_extension(x509.SubjectAlternativeName(names), critical=False)
            .add_extension(authority_key, critical=False)
            .sign(self._key, hashes.SHA256())
        )
        return certificate.public_bytes(serialization.Encoding.PEM)


def request_certificate(home: Path, member: str) -> bytes:
    """Make (or reuse) the TLS key of `home` (tls.key, 0600); return a signing request (PEM, RFC 2986)."""
    path = home / TLS_KEY
    if path.exists():
        key = _load_key(path)
    else:
        home.mkdir(parents=True, exist_ok=True)
        key = ec.generate_private_key(ec.SECP256R1())
        _write(path, _key_pem(key))
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, member)])
    request = x509.CertificateSigningRequestBuilder().subject_name(name).sign(key, hashes.SHA256())
    return request.public_bytes(serialization.Encoding.PEM)


def install_certificate(home: Path, certificate_pem: bytes, authority_pem: bytes) -> Identity:
    """Keep an issued certificate beside its key (tls.crt, ca.crt), once it proves to be this home's.

    Raises:
        BadCertificate: it is for another key, or `authority_pem` did not sign it. Nothing is written.
    """
    identity = identity_of(certificate_pem)
    certificate = x509.load_pem_x509_certificate(certificate_pem)
    if certificate.public_key() != _load_key(home / TLS_KEY).public_key():
        raise BadCertificate(f"the certificate of {identity.member} is not for the key in {home / TLS_KEY}")
    try:
        certificate.verify_directly_issued_by(x509.load_pem_x509_certificate(authority_pem))
    except (ValueError, TypeError, InvalidSignature) as error:
        raise BadCertificate(f"{identity.member}: that authority did not sign this certificate") from error
    _write(home / AUTHORITY_CERTIFICATE, authority_pem)
    _write(home / TLS_CERTIFICATE, certificate_pem)
    return identity


def _requested_key(request_pem: bytes) -> ec.EllipticCurvePublicKey:
    try:
        request = x509.load_pem_x509_csr(request_pem)
    except ValueError as error:
        raise BadCertificate(f"not a certificate signing request in PEM: {error}") from error
    key = request.public_key()
    if not request.is_signature_valid or not isinstance(key, ec.EllipticCurvePublicKey):
        raise BadCertificate("the signing request must be for an EC key and be signed with it")
    if not isinstance(key.curve, ec.SECP256R1):
        raise BadCertificate(f"the signing request is for curve {key.curve.name}; use P-256")
    return key


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


def _key_pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


def _load_key(path: Path) -> ec.EllipticCurvePrivateKey:
    try:
        key = serialization.load_pem_private_key(_read(path), None)
    except (ValueError, TypeError) as error:
        raise BadCertificate(f"{path}: not a private key in PEM") from error
    if not isinstance(key, ec.EllipticCurvePrivateKey):
        raise BadCertificate(f"{path}: not an EC key")
    return key


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise BadCertificate(f"{path}: {error.strerror}") from error


def _write(path: Path, content: bytes) -> None:
    # A temporary file made by mkstemp has mode 0600 from its first byte.
    descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.replace(name, path)
    except BaseException:
        os.unlink(name)
        raise
