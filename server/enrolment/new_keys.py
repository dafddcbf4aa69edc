"""Whether the keys that an organisation asks with can be taken: of the right kinds, and nobody else's."""

from __future__ import annotations

from typing import Any

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import load_ssh_public_key

from clients.certificates import BadCertificate, requested_key
from clients.enrolment.signed import BadRequest
from ledger.keys import HYBRID_PUBLIC_KEY_BYTES, PUBLIC_KEY_BYTES, PublicKey
from ledger.rules import HYBRID
from server.enrolment.book import EnrolmentBook
from server.enrolment.issuing import key_of

MAX_CSR_BYTES = 4096
MAX_NODE_KEY_BYTES = 1024


def require_keys(book: EnrolmentBook, fields: dict[str, Any], key: PublicKey, signatures: str) -> None:
    """Raise unless a request's keys are of the kinds that the consortium asks for, and new to it.

    Args:
        signatures: the choice of the consortium's policy.

    Raises:
        BadRequest: they are not.
    """
    expected = HYBRID_PUBLIC_KEY_BYTES if signatures == HYBRID else PUBLIC_KEY_BYTES
    if len(key.raw) != expected:
        raise BadRequest(f"the signing key has {len(key.raw)} bytes; this consortium's have {expected}")
    if (fields["kind"] == "firm") != bool(fields["node_key"]):
        raise BadRequest("a firm gives the key of its SuperNode, and a bank none")
    if fields["node_key"]:
        _node_key(fields["node_key"])
    require_own(book, fields["member"], fields["csr"], key, fields["node_key"])


def require_own(
    book: EnrolmentBook, member: str, csr: bytes, key: PublicKey | None = None, node_key: bytes = b""
) -> None:
    """Raise if another member has one of these keys: what shuts one of the two out must not touch the other.

    Raises:
        BadRequest: another has; or `csr` is no signing request.
    """
    if len(csr) > MAX_CSR_BYTES:
        raise BadRequest(f"a signing request has at most {MAX_CSR_BYTES} bytes")
    mine = _requested_key(csr)
    for other in book.requests():
        if other.member == member:
            continue
        if key is not None and _halves(PublicKey(other.key)) & _halves(key):
            raise BadRequest("another member has asked with this signing key; make one of your own")
        if requested_key(other.csr) == mine:
            raise BadRequest("another member has asked with this TLS key; move tls.key away, and one is made")
        if node_key and other.node_key and _node_key(other.node_key) == _node_key(node_key):
            raise BadRequest("another member has asked with this SuperNode's key; move node.key away")
    for node in book.nodes():
        if node_key and node.member != member and _node_key(node.public_key) == _node_key(node_key):
            raise BadRequest("another member has asked with this SuperNode's key; move node.key away")
    if any(one.member != member and key_of(one) == mine for one in book.certificates()):
        raise BadRequest("another member has a certificate for this TLS key; make another with: renew --new-key")


def _requested_key(csr: bytes) -> ec.EllipticCurvePublicKey:
    try:
        return requested_key(csr)
    except (BadCertificate, UnsupportedAlgorithm) as error:
        raise BadRequest(str(error)) from None


def _node_key(raw: bytes) -> ec.EllipticCurvePublicKey:
    try:
        key = load_ssh_public_key(raw) if len(raw) <= MAX_NODE_KEY_BYTES else None
    except (ValueError, UnsupportedAlgorithm):
        key = None
    if not isinstance(key, ec.EllipticCurvePublicKey) or not isinstance(key.curve, ec.SECP384R1):
        raise BadRequest("the SuperNode's key must be an OpenSSH public key on P-384")
    return key


def _halves(key: PublicKey) -> set[bytes]:
    """Thumbprints of a key, or of both halves of a hybrid one: the ledger takes neither twice."""
    return {half for half in (key.kid, key.post_quantum_kid) if half is not None}
