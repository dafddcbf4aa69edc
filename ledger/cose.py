"""COSE_Sign1 messages (RFC 9052, section 4.2) in deterministic CBOR, written one way and read strictly."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import cbor2

from ledger.encoding import EncodingError, decode_item, encode_item
from ledger.errors import LedgerError

SIGN1_TAG = 18
SIGN1_MEDIA_TYPE = 'application/cose; cose-type="cose-sign1"'

ALG_EDDSA = -8
"""Ed25519, as COSE libraries know it (RFC 9053, section 2.2)."""
ALG_ML_DSA_65 = -49
"""ML-DSA-65 with an empty context (RFC 9964)."""

ALG, CONTENT_TYPE, KID, CWT_CLAIMS = 1, 3, 4, 15
"""Labels of header parameters (RFC 9052, section 3.1; RFC 9597)."""


class CoseError(LedgerError):
    """The bytes are not a COSE_Sign1 message in deterministic CBOR."""

    exit_code = 2


@dataclass(frozen=True)
class Sign1:
    """A COSE_Sign1 message. Reading one says nothing about who signed it.

    Attributes:
        protected: the protected header's bytes.
        unprotected: the unprotected header.
        payload: None when it is detached.
        signature: as the algorithm makes it.
    """

    protected: bytes
    unprotected: Mapping[Any, Any]
    payload: bytes | None
    signature: bytes

    @cached_property
    def header(self) -> Mapping[Any, Any]:
        """The protected header. Raises `CoseError` unless it is a map in deterministic CBOR with integer labels."""
        try:
            header = decode_item(self.protected, what="the protected header")
        except EncodingError as error:
            raise CoseError(str(error)) from None
        if not isinstance(header, Mapping) or any(type(label) is not int for label in header):
            raise CoseError("the protected header is not a map with integer labels; sign again")
        return header

    def to_bytes(self) -> bytes:
        """The message with tag 18."""
        parts = [self.protected, self.unprotected, self.payload, self.signature]
        return encode_item(cbor2.CBORTag(SIGN1_TAG, parts))


def signature_input(protected: bytes, payload: bytes) -> bytes:
    """What is signed: the Sig_structure of RFC 9052, section 4.4, without external data."""
    return encode_item(["Signature1", protected, b"", payload])


def sign1(header: Mapping[int, Any], payload: bytes, sign: Callable[[bytes], bytes]) -> bytes:
    """Return the COSE_Sign1 over `payload` with an empty unprotected header; `sign` makes the signature.

    Raises:
        EncodingError: the header cannot be encoded.
    """
    protected = encode_item(header)
    return Sign1(protected, {}, payload, sign(signature_input(protected, payload))).to_bytes()


def read_sign1(raw: bytes, *, what: str) -> Sign1:
    """Read a message; `what` names it in errors. Its unprotected header and detached payload are left to the caller.

    Raises:
        CoseError: not a COSE_Sign1 with tag 18, or not its one deterministic encoding.
    """
    try:
        item = decode_item(raw, what=what)
    except EncodingError as error:
        raise CoseError(str(error)) from None
    match item:
        case cbor2.CBORTag(
            tag=18,
            value=[bytes() as protected, Mapping() as unprotected, bytes() | None as payload, bytes() as signature],
        ):
            return Sign1(protected, unprotected, payload, signature)
    raise CoseError(f"{what} is not a COSE_Sign1 message with tag 18; send the signed message itself")


def attached(message: Sign1, *, what: str) -> bytes:
    """The payload of a message that may carry nothing unsigned.

    Raises:
        CoseError: the unprotected header is not empty, or the payload is detached.
    """
    if message.unprotected:
        raise CoseError(f"{what}'s unprotected header is not empty; nothing unsigned may travel with it")
    if message.payload is None:
        raise CoseError(f"{what}'s payload is detached; send it attached")
    return message.payload
