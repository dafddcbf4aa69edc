"""Signed statements: COSE_Sign1 (RFC 9052) with CWT claims in its header (RFC 9597, SCITT RFC 9943)."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import cbor2

from ledger.encoding import EncodingError, Value, decode, decode_item, encode
from ledger.errors import LedgerError
from ledger.keys import SIGNATURE_BYTES, BadSignature, PublicKey, SigningKey

CONTENT_TYPE = "application/vnd.artesian.statement+cbor"
PAYLOAD_VERSION = 1
MAX_STATEMENT_BYTES = 1 << 20

COSE_SIGN1_TAG = 18
ALG_EDDSA = -8
_ALG, _CONTENT_TYPE, _KID, _CWT_CLAIMS = 1, 3, 4, 15
_ISSUER, _SUBJECT = 1, 2


class StatementError(LedgerError):
    """The bytes are not a statement of this version."""

    exit_code = 2


@dataclass(frozen=True)
class Statement:
    """A decoded statement. Decoding says nothing about who signed it: call `verify`.

    Attributes:
        raw: the COSE_Sign1 bytes, as they stand on the ledger.
        payload: the record, by field name.
        payload_bytes: its deterministic CBOR.
        issuer: claim `iss`, the organisation that speaks.
        subject: claim `sub`, what it speaks about.
        kid: thumbprint of the key that claims to have signed.
        protected: the protected header's bytes.
        signature: 64 bytes.
    """

    raw: bytes
    payload: Mapping[str, Any]
    payload_bytes: bytes
    issuer: str
    subject: str
    kid: bytes
    protected: bytes
    signature: bytes

    @cached_property
    def signed_bytes(self) -> bytes:
        """The Sig_structure of RFC 9052, section 4.4."""
        return _sig_structure(self.protected, self.payload_bytes)

    @cached_property
    def digest(self) -> bytes:
        """SHA-256 of what was signed: one statement keeps one digest however often it is signed again."""
        return hashlib.sha256(self.signed_bytes).digest()

    def verify(self, key: PublicKey) -> None:
        """Raise `BadSignature` unless `key` is the one named and signed exactly these bytes."""
        if key.kid != self.kid:
            raise BadSignature(
                f"the statement by {self.issuer} names key {self.kid.hex()[:16]}, not {key.kid.hex()[:16]}"
            )
        try:
            key.verify(self.signature, self.signed_bytes)
        except BadSignature:
            raise BadSignature(f"the statement by {self.issuer} carries a signature that does not fit") from None


def sign_statement(payload: Mapping[str, Value], *, issuer: str, subject: str, key: SigningKey) -> bytes:
    """Sign `payload` in the name of `issuer` and return the COSE_Sign1 bytes.

    Raises:
        StatementError: no issuer or subject, wrong version, a float in the payload, or too large.
    """
    _require_version(payload)
    if not issuer or not subject:
        raise StatementError("a statement needs an issuer and a subject; give both")
    try:
        body = encode(dict(payload))
    except EncodingError as error:
        raise StatementError(f"cannot sign this payload: {error}") from None
    protected = cbor2.dumps(
        {
            _ALG: ALG_EDDSA,
            _CONTENT_TYPE: CONTENT_TYPE,
            _KID: key.public.kid,
            _CWT_CLAIMS: {_ISSUER: issuer, _SUBJECT: subject},
        },
        canonical=True,
    )
    signature = key.sign(_sig_structure(protected, body))
    raw = cbor2.dumps(cbor2.CBORTag(COSE_SIGN1_TAG, [protected, {}, body, signature]), canonical=True)
    _require_size(raw)
    return raw


def decode_statement(raw: bytes) -> Statement:
    """Read a statement strictly.

    Raises:
        StatementError: anything but the one deterministic encoding of a statement of this version.
    """
    _require_size(raw)
    try:
        protected, body, signature = _sign1_parts(decode_item(raw, what="the statement"))
        kid, issuer, subject = _header(decode_item(protected, what="the statement's protected header"))
        payload = decode(body, what="the statement's payload")
    except EncodingError as error:
        raise StatementError(str(error)) from None
    if not isinstance(payload, dict):
        raise StatementError("the statement's payload is not a map; encode the record as a map of fields")
    _require_version(payload)
    return Statement(raw, payload, body, issuer, subject, kid, protected, signature)


def _sig_structure(protected: bytes, payload: bytes) -> bytes:
    return cbor2.dumps(["Signature1", protected, b"", payload], canonical=True)


def _sign1_parts(message: Value) -> tuple[bytes, bytes, bytes]:
    match message:
        case cbor2.CBORTag(tag=18, value=[bytes() as protected, Mapping() as extra, body, bytes() as signature]):
            pass
        case _:
            raise StatementError("this is not a COSE_Sign1 message with tag 18; send the signed statement itself")
    if extra:
        raise StatementError("the statement's unprotected header is not empty; nothing unsigned may travel with it")
    if not isinstance(body, bytes):
        raise StatementError("the statement's payload is detached; send it attached")
    if len(signature) != SIGNATURE_BYTES:
        raise StatementError(f"the statement's signature has {len(signature)} bytes, Ed25519 has {SIGNATURE_BYTES}")
    return protected, body, signature


def _header(header: Value) -> tuple[bytes, str, str]:
    match header:
        case {
            1: -8,
            3: str(),
            4: bytes() as kid,
            15: {1: str() as issuer, 2: str() as subject, **claims},
            **rest,
        }:
            rest.pop(_CONTENT_TYPE, None)
        case _:
            raise StatementError(
                "the statement's header must hold exactly alg EdDSA, content type, kid and claims iss, sub"
            )
    if claims or set(header) != {_ALG, _CONTENT_TYPE, _KID, _CWT_CLAIMS}:
        raise StatementError(
            "the statement's header holds labels or claims that this version does not know; remove them"
        )
    if header[_CONTENT_TYPE] != CONTENT_TYPE:
        raise StatementError(f"content type {header[_CONTENT_TYPE]!r} is unknown; this version reads {CONTENT_TYPE}")
    if len(kid) != 32 or not issuer or not subject:
        raise StatementError("the statement's kid must have 32 bytes, and its iss and sub must not be empty")
    return kid, issuer, subject


def _require_version(payload: Mapping[str, Value]) -> None:
    version = payload.get("v")
    if version != PAYLOAD_VERSION or isinstance(version, bool):
        raise StatementError(f"record version {version!r} is unknown; this ledger reads version {PAYLOAD_VERSION}")


def _require_size(raw: bytes) -> None:
    if len(raw) > MAX_STATEMENT_BYTES:
        raise StatementError(
            f"the statement has {len(raw)} bytes, the limit is {MAX_STATEMENT_BYTES}; send a hash instead"
        )
