"""Signed statements: COSE_Sign1 (RFC 9052) with CWT claims in its header (RFC 9597, SCITT RFC 9943).

A statement by a hybrid key is two messages, one in the other: the Ed25519 COSE_Sign1 is the payload of a COSE_Sign1 by
the ML-DSA-65 key (RFC 9964). Any COSE library checks either of them.
"""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from ledger.cose import (
    ALG,
    ALG_EDDSA,
    ALG_ML_DSA_65,
    CONTENT_TYPE,
    CWT_CLAIMS,
    KID,
    SIGN1_MEDIA_TYPE,
    CoseError,
    Sign1,
    attached,
    read_sign1,
    sign1,
    signature_input,
)
from ledger.encoding import EncodingError, Value, decode, encode, encode_item, shown
from ledger.errors import LedgerError
from ledger.keys import SIGNATURE_BYTES, BadSignature, PublicKey, SigningKey
from ledger.post_quantum import SIGNATURE_BYTES as POST_QUANTUM_SIGNATURE_BYTES
from ledger.release import this_release

STATEMENT_TYPE = "application/vnd.artesian.statement+cbor"
PAYLOAD_VERSION = 1
MAX_STATEMENT_BYTES = 1 << 20

_ISSUER, _SUBJECT = 1, 2
_WHAT = "the statement"


class StatementError(LedgerError):
    """The bytes are not a statement of this version."""

    exit_code = 2


class NewerRecord(StatementError):
    """The record is of a version that a newer release makes; nothing is said about whether it is right."""


@dataclass(frozen=True)
class Statement:
    """A decoded statement. Decoding says nothing about who signed it: call `verify`.

    Attributes:
        raw: the COSE_Sign1 bytes, as they stand on the ledger; of a hybrid key, the outer ones.
        payload: the record, by field name.
        payload_bytes: its deterministic CBOR.
        issuer: claim `iss`, the organisation that speaks.
        subject: claim `sub`, what it speaks about.
        kid: thumbprint of the Ed25519 key that claims to have signed.
        protected: the protected header's bytes.
        signature: 64 bytes, Ed25519.
        outer: the ML-DSA-65 message around it, when a hybrid key signed.
    """

    raw: bytes
    payload: Mapping[str, Any]
    payload_bytes: bytes
    issuer: str
    subject: str
    kid: bytes
    protected: bytes
    signature: bytes
    outer: Sign1 | None = None

    @property
    def is_hybrid(self) -> bool:
        """Whether an ML-DSA-65 signature is around the Ed25519 one."""
        return self.outer is not None

    @cached_property
    def signed_bytes(self) -> bytes:
        """The Sig_structure of RFC 9052, section 4.4, that the Ed25519 key signed."""
        return signature_input(self.protected, self.payload_bytes)

    @cached_property
    def digest(self) -> bytes:
        """SHA-256 of `signed_bytes`: one statement keeps one digest however often it is signed again."""
        return hashlib.sha256(self.signed_bytes).digest()

    def verify(self, key: PublicKey) -> None:
        """Raise `BadSignature` unless `key` is the one named and signed exactly these bytes: both halves, if hybrid.

        A hybrid key's statement without the ML-DSA-65 message around it is refused, and the reverse: taking a
        signature off, or putting one on, makes no statement.
        """
        if key.kid != self.kid:
            raise BadSignature(
                f"the statement by {shown(self.issuer)} names key {self.kid.hex()[:16]}, not {key.kid.hex()[:16]}"
            )
        if key.is_hybrid != self.is_hybrid:
            kinds = ("Ed25519 alone", "Ed25519 and ML-DSA-65")
            raise BadSignature(
                f"the statement by {shown(self.issuer)} is signed with {kinds[self.is_hybrid]}, "
                f"its key signs with {kinds[key.is_hybrid]}; sign it with the whole key"
            )
        try:
            if self.outer is not None:
                self._verify_outer(self.outer, key)
            key.verify(self.signature, self.signed_bytes)
        except BadSignature:
            raise BadSignature(f"the statement by {shown(self.issuer)} carries a signature that does not fit") from None

    def _verify_outer(self, outer: Sign1, key: PublicKey) -> None:
        if outer.header[KID] != key.post_quantum_kid:
            raise BadSignature("the outer message names another ML-DSA-65 key")
        key.verify_post_quantum(outer.signature, signature_input(outer.protected, outer.payload or b""))


def sign_statement(payload: Mapping[str, Value], *, issuer: str, subject: str, key: SigningKey) -> bytes:
    """Sign `payload` in the name of `issuer` and return the COSE_Sign1 bytes.

    Raises:
        StatementError: no issuer or subject, wrong version, a float in the payload, or too large.
    """
    _require_version(payload)
    if not issuer or not subject:
        raise StatementError("a statement needs an issuer and a subject; give both")
    try:
        raw = sign1(_header(key.public.kid, issuer, subject), encode(dict(payload)), key.sign)
        if key.public.post_quantum_kid is not None:
            raw = sign1(_outer_header(key.public.post_quantum_kid), raw, key.sign_post_quantum)
    except (EncodingError, CoseError) as error:
        raise StatementError(f"cannot sign this payload: {error}") from None
    _require_size(raw)
    return raw


def decode_statement(raw: bytes) -> Statement:
    """Read a statement strictly.

    Raises:
        StatementError: anything but the one deterministic encoding of a statement of this version.
    """
    _require_size(raw)
    try:
        message = read_sign1(raw, what=_WHAT)
        match message.header.get(ALG):
            case int() as algorithm if algorithm == ALG_ML_DSA_65:
                return _decode_inner(raw, _open_outer(message), message)
            case int() as algorithm if algorithm == ALG_EDDSA:
                return _decode_inner(raw, message, None)
            case algorithm:
                raise StatementError(
                    f"the statement's algorithm {shown(algorithm)} is unknown; this version reads EdDSA (-8), "
                    "and ML-DSA-65 (-49) around it"
                )
    except (EncodingError, CoseError) as error:
        raise StatementError(str(error)) from None


def _header(kid: bytes, issuer: str, subject: str) -> dict[int, Any]:
    return {ALG: ALG_EDDSA, CONTENT_TYPE: STATEMENT_TYPE, KID: kid, CWT_CLAIMS: {_ISSUER: issuer, _SUBJECT: subject}}


def _outer_header(kid: bytes) -> dict[int, Any]:
    return {ALG: ALG_ML_DSA_65, CONTENT_TYPE: SIGN1_MEDIA_TYPE, KID: kid}


def _open_outer(outer: Sign1) -> Sign1:
    """The Ed25519 message in the payload of an ML-DSA-65 one."""
    inner = attached(outer, what=_WHAT)
    _require_signature_bytes(outer, "ML-DSA-65", POST_QUANTUM_SIGNATURE_BYTES)
    match outer.header:
        case {3: str() as content_type, 4: bytes() as kid} if len(kid) == 32:
            if content_type != SIGN1_MEDIA_TYPE:
                raise StatementError(f"content type {shown(content_type)} is unknown around a statement")
            _require_exactly(outer, _outer_header(kid))
        case _:
            raise StatementError(
                "the statement's outer header must hold exactly alg ML-DSA-65, content type and a kid of 32 bytes"
            )
    message = read_sign1(inner, what="the message inside the ML-DSA-65 one")
    if message.header.get(ALG) != ALG_EDDSA:
        raise StatementError("the message inside the ML-DSA-65 one is not signed with EdDSA; sign it again")
    return message


def _decode_inner(raw: bytes, message: Sign1, outer: Sign1 | None) -> Statement:
    body = attached(message, what=_WHAT)
    _require_signature_bytes(message, "Ed25519", SIGNATURE_BYTES)
    kid, issuer, subject = _read_header(message)
    payload = decode(body, what="the statement's payload")
    if not isinstance(payload, dict):
        raise StatementError("the statement's payload is not a map; encode the record as a map of fields")
    _require_version(payload)
    return Statement(raw, payload, body, issuer, subject, kid, message.protected, message.signature, outer)


def _read_header(message: Sign1) -> tuple[bytes, str, str]:
    match message.header:
        case {3: str() as content_type, 4: bytes() as kid, 15: {1: str() as issuer, 2: str() as subject}}:
            pass
        case _:
            raise StatementError(
                "the statement's header must hold exactly alg EdDSA, content type, kid and claims iss, sub"
            )
    if content_type != STATEMENT_TYPE:
        raise StatementError(f"content type {shown(content_type)} is unknown; this version reads {STATEMENT_TYPE}")
    if len(kid) != 32 or not issuer or not subject:
        raise StatementError("the statement's kid must have 32 bytes, and its iss and sub must not be empty")
    _require_exactly(message, _header(kid, issuer, subject))
    return kid, issuer, subject


def _require_exactly(message: Sign1, header: Mapping[int, Any]) -> None:
    """Comparing bytes also tells 1 from 1.0 and from true, which Python's maps and patterns do not."""
    if encode_item(header) != message.protected:
        raise StatementError(
            "the statement's header holds labels or claims that this version does not know; remove them"
        )


def _require_signature_bytes(message: Sign1, algorithm: str, expected: int) -> None:
    found = len(message.signature)
    if found != expected:
        raise StatementError(f"the statement's signature has {found} bytes, {algorithm} has {expected}; sign it again")


def _require_version(payload: Mapping[str, Value]) -> None:
    version = payload.get("v")
    if type(version) is int and version > PAYLOAD_VERSION:
        raise NewerRecord(
            f"record version {version} is unknown; artesian {this_release()} judges records of version "
            f"{PAYLOAD_VERSION}: upgrade it"
        )
    if version != PAYLOAD_VERSION or isinstance(version, bool):
        raise StatementError(f"record version {shown(version)} is unknown; this ledger reads version {PAYLOAD_VERSION}")


def _require_size(raw: bytes) -> None:
    if len(raw) > MAX_STATEMENT_BYTES:
        raise StatementError(
            f"the statement has {len(raw)} bytes, the limit is {MAX_STATEMENT_BYTES}; send a hash instead"
        )
