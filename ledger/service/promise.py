"""Inclusion promises: the log signs that a statement is in its tree, at its place, by a time.

A promise is what a caller holds between the answer and the receipt. A final checkpoint whose tree covers the
place with another statement, or a checkpoint made after the deadline that does not reach it, breaks it, and
the promise proves who broke it. It is a COSE_Sign1 by the log's key; its content type keeps it from passing
for a statement. The same statement gets the same promise again: every field is on record.
"""

from dataclasses import dataclass
from typing import Any

from ledger.cose import ALG, ALG_EDDSA, CONTENT_TYPE, KID, CoseError, attached, read_sign1, sign1, signature_input
from ledger.encoding import EncodingError, decode, encode
from ledger.errors import LedgerError
from ledger.keys import BadSignature, PublicKey, SigningKey

PROMISE_TYPE = "application/vnd.artesian.inclusion-promise+cbor"
PROMISE_VERSION = 1
MAX_PROMISE_BYTES = 4096
DIGEST_BYTES = 32


class BadPromise(LedgerError):
    """The bytes are not a promise by this log."""

    exit_code = 1


@dataclass(frozen=True)
class Promise:
    """What the log promises.

    Attributes:
        origin: the log's name.
        digest: 32 bytes, the statement's digest.
        index: the place that it has.
        accepted_s: when it was made durable, in seconds since the epoch by the log's clock.
        deadline_s: by when a checkpoint covers it.
    """

    origin: str
    digest: bytes
    index: int
    accepted_s: int
    deadline_s: int

    def sign(self, key: SigningKey) -> bytes:
        """The signed promise, by the log's key."""
        header = {ALG: ALG_EDDSA, CONTENT_TYPE: PROMISE_TYPE, KID: key.public.kid}
        return sign1(header, encode({"v": PROMISE_VERSION, **vars(self)}), key.sign)


def open_promise(signed: bytes, key: PublicKey) -> Promise:
    """Verify a promise and read it.

    Args:
        key: the log's key at the time of the promise.

    Raises:
        BadPromise: not signed by `key`, or not a promise of this version.
    """
    if len(signed) > MAX_PROMISE_BYTES:
        raise BadPromise(f"the promise has {len(signed)} bytes, more than {MAX_PROMISE_BYTES}; ask for it again")
    try:
        message = read_sign1(signed, what="the promise")
        content = attached(message, what="the promise")
        header, fields = message.header, decode(content, what="the promise's payload")
    except (CoseError, EncodingError) as error:
        raise BadPromise(str(error)) from None
    if header != {ALG: ALG_EDDSA, CONTENT_TYPE: PROMISE_TYPE, KID: key.kid}:
        raise BadPromise("this is no inclusion promise by the trusted log's key")
    try:
        key.verify(message.signature, signature_input(message.protected, content))
    except BadSignature:
        raise BadPromise("the log's signature does not fit: the promise was changed after it was signed") from None
    return _promise(fields)


def _promise(fields: Any) -> Promise:
    match fields:
        case {
            "v": 1,
            "origin": str() as origin,
            "digest": bytes() as digest,
            "index": int() as index,
            "accepted_s": int() as accepted_s,
            "deadline_s": int() as deadline_s,
        } if len(fields) == 6 and len(digest) == DIGEST_BYTES and index >= 0 and accepted_s <= deadline_s:
            if all(type(number) is int for number in (fields["v"], index, accepted_s, deadline_s)):
                return Promise(origin, digest, index, accepted_s, deadline_s)
    raise BadPromise("the promise's payload is not version 1 of digest, index, times and origin")
