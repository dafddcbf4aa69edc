"""An organisation's own half of the consortium's certificates (X.509, RFC 5280): its key, its request, its certificate.

A private key is made where it stays: an organisation makes its key and a signing request (`request_certificate`), the
consortium's authority signs what it has admitted (`server.certificates`), and the organisation installs the answer
(`install_certificate`). A certificate names its holder in a SAN URI, `artesian://CID/MEMBER`.

ECDSA P-256 throughout: the TLS library inside gRPC does not accept Ed25519 certificates.
"""

import contextlib
import hashlib
import os
import re
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from clients.errors import ClientError
from ledger.folder_sync import sync_folder
from ledger.whole_file import write_whole

TLS_KEY = "tls.key"
TLS_CERTIFICATE = "tls.crt"
AUTHORITY_CERTIFICATE = "ca.crt"
COMING_KEY = "tls.next.key"
COMING_CERTIFICATE = "tls.next.crt"
"""A new key and its certificate, until both are there and can take the place of the present ones."""
RENEWED_AT = 2 / 3
"""The share of a certificate's life after which it is renewed."""

_SLUG = re.compile(r"[a-z0-9][a-z0-9.-]{0,62}\Z")


class BadCertificate(ClientError):
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


@dataclass(frozen=True)
class CertificateFacts:
    """What a certificate says of itself.

    Attributes:
        identity: its holder.
        serial: its number, which the authority gives once.
        from_s, until_s: seconds since 1970 between which it holds.
        fingerprint: hex SHA-256 of its DER.
    """

    identity: Identity
    serial: int
    from_s: float
    until_s: float
    fingerprint: str

    @property
    def due_s(self) -> float:
        """From when on it is to be renewed, seconds since 1970."""
        return self.from_s + RENEWED_AT * (self.until_s - self.from_s)


def facts_of(certificate_pem: bytes) -> CertificateFacts:
    """What a certificate (PEM) says; who signed it is not checked.

    Raises:
        BadCertificate: as `identity_of`.
    """
    identity = identity_of(certificate_pem)
    certificate = x509.load_pem_x509_certificate(certificate_pem)
    return CertificateFacts(
        identity,
        certificate.serial_number,
        certificate.not_valid_before_utc.timestamp(),
        certificate.not_valid_after_utc.timestamp(),
        hashlib.sha256(certificate.public_bytes(serialization.Encoding.DER)).hexdigest(),
    )


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
    return checked_identity(cid, member)


def checked_identity(cid: str, member: str) -> Identity:
    """The identity with these names.

    Raises:
        BadCertificate: one cannot stand in a certificate.
    """
    for what, name in (("consortium id", cid), ("member id", member)):
        if not _SLUG.match(name):
            raise BadCertificate(f"{what} {name!r}: use a-z, 0-9, dots and dashes, at most 63")
    return Identity(cid, member)


def request_certificate(home: Path, member: str, *, key_file: str = TLS_KEY) -> bytes:
    """Make (or reuse) a TLS key of `home` (by default tls.key, 0600); return a signing request (PEM, RFC 2986)."""
    path = home / key_file
    if path.exists():
        key = load_key(path)
    else:
        home.mkdir(parents=True, exist_ok=True)
        key = ec.generate_private_key(ec.SECP256R1())
        write_whole(path, key_pem(key))
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, member)])
    request = x509.CertificateSigningRequestBuilder().subject_name(name).sign(key, hashes.SHA256())
    return request.public_bytes(serialization.Encoding.PEM)


def install_certificate(home: Path, certificate_pem: bytes, authority_pem: bytes) -> Identity:
    """Keep an issued certificate beside its key (tls.crt, ca.crt), once it proves to be this home's.

    Raises:
        BadCertificate: it is for another key, or `authority_pem` did not sign it. Nothing is written.
    """
    identity = check_certificate(certificate_pem, home / TLS_KEY, authority_pem)
    write_whole(home / AUTHORITY_CERTIFICATE, authority_pem)
    write_whole(home / TLS_CERTIFICATE, certificate_pem)
    return identity


def install_coming(home: Path, certificate_pem: bytes, authority_pem: bytes) -> Identity:
    """Put the coming key (`COMING_KEY`) and its certificate in the place of the present ones.

    Raises:
        BadCertificate: the certificate is for another key, or by another authority. Nothing is written.
    """
    identity = check_certificate(certificate_pem, home / COMING_KEY, authority_pem)
    write_whole(home / COMING_CERTIFICATE, certificate_pem)
    finish_coming(home)
    return identity


def finish_coming(home: Path) -> bool:
    """Finish an exchange of keys that was cut short; says whether there was one. What is present stays whole.

    Between its two renames the key and the certificate do not fit: whatever starts in a home calls this first.
    """
    if (home / COMING_CERTIFICATE).exists():
        if (home / COMING_KEY).exists():
            _rename(home / COMING_KEY, home / TLS_KEY)
            sync_folder(home)  # a power cut must not keep the second rename and lose the first
        _rename(home / COMING_CERTIFICATE, home / TLS_CERTIFICATE)
    elif (home / COMING_KEY).exists() and _is_for(home / TLS_CERTIFICATE, home / COMING_KEY):
        _rename(home / COMING_KEY, home / TLS_KEY)
    else:
        return False
    sync_folder(home)
    return True


def _rename(coming: Path, present: Path) -> None:
    """Put a file in another's place; where another process has done so just now, nothing is left to do."""
    with contextlib.suppress(FileNotFoundError):
        os.replace(coming, present)


def _is_for(certificate_file: Path, key_file: Path) -> bool:
    """Whether a certificate is for the key in a file; not if either cannot be read."""
    try:
        certificate = x509.load_pem_x509_certificate(read_pem(certificate_file))
        return certificate.public_key() == load_key(key_file).public_key()
    except (BadCertificate, ValueError):
        return False


def check_certificate(certificate_pem: bytes, key_file: Path, authority_pem: bytes) -> Identity:
    """Whom a certificate names, if it is for the key in `key_file` and `authority_pem` signed it.

    Raises:
        BadCertificate: it is not.
    """
    identity = identity_of(certificate_pem)
    certificate = x509.load_pem_x509_certificate(certificate_pem)
    if certificate.public_key() != load_key(key_file).public_key():
        raise BadCertificate(f"the certificate of {identity.member} is not for the key in {key_file}")
    try:
        certificate.verify_directly_issued_by(x509.load_pem_x509_certificate(authority_pem))
    except (ValueError, TypeError, InvalidSignature) as error:
        raise BadCertificate(f"{identity.member}: that authority did not sign this certificate") from error
    return identity


def requested_key(request_pem: bytes) -> ec.EllipticCurvePublicKey:
    """The key of a signing request (PEM), which must be P-256 and have signed it.

    Raises:
        BadCertificate: it is not such a request.
    """
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


def key_pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    """A private key as PKCS #8 PEM, for a file."""
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


def load_key(path: Path) -> ec.EllipticCurvePrivateKey:
    """A private EC key from a PEM file.

    Raises:
        BadCertificate: there is none.
    """
    try:
        key = serialization.load_pem_private_key(read_pem(path), None)
    except (ValueError, TypeError) as error:
        raise BadCertificate(f"{path}: not a private key in PEM") from error
    if not isinstance(key, ec.EllipticCurvePrivateKey):
        raise BadCertificate(f"{path}: not an EC key")
    return key


def read_pem(path: Path) -> bytes:
    """A file's bytes.

    Raises:
        BadCertificate: it cannot be read.
    """
    try:
        return path.read_bytes()
    except OSError as error:
        raise BadCertificate(f"{path}: {error.strerror}") from error
