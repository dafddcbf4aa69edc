"""Bodies for the parties only: encrypted beside the ledger, with a salted commitment on it.

The ledger holds `body_sha256` = SHA-256(salt || body). The body travels in an envelope: a fresh content key
encrypts {salt, body} with AES-256-GCM, and the content key is sealed to each party's encryption key (HPKE).
Deleting the envelope, and with it the salt, leaves a commitment from which nothing can be guessed: the log
stays whole and its receipts valid. Everything in an envelope is bound to the consortium, the record's id,
the commitment and the parties, so that it cannot serve for another record.
"""

import hashlib
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from ledger.encoding import EncodingError, Value, decode, encode
from ledger.errors import LedgerError
from ledger.rules.records import is_slug
from ledger.service.encryption_key import CannotOpen, EncryptionKey, seal

ENVELOPE_VERSION = 1
MAX_PARTIES = 256
SALT_BYTES = 32
_KEY_BYTES = 32
_CONTEXT = "artesian/body/v1"
# The content key is fresh in each envelope and encrypts this one message, so a fixed nonce never repeats.
_NONCE = bytes(12)


class BadBody(LedgerError):
    """A body's envelope cannot be made or opened, or does not hold what the ledger commits to."""

    exit_code = 1


@dataclass(frozen=True)
class About:
    """The record that a body belongs to.

    Attributes:
        cid: the consortium's id.
        record_id: 16 bytes, the record's `id`.
        commitment: 32 bytes, the record's `body_sha256`.
    """

    cid: str
    record_id: bytes
    commitment: bytes


@dataclass(frozen=True)
class Envelope:
    """An encrypted body.

    Attributes:
        sealed: by party, the content key sealed to its encryption key.
        ciphertext: the encrypted {salt, body}.
    """

    sealed: Mapping[str, bytes]
    ciphertext: bytes

    @property
    def parties(self) -> tuple[str, ...]:
        """Who can open it, sorted."""
        return tuple(sorted(self.sealed))

    def to_bytes(self) -> bytes:
        """Deterministic CBOR."""
        return encode({"v": ENVELOPE_VERSION, "sealed": dict(self.sealed), "ciphertext": self.ciphertext})

    @classmethod
    def from_bytes(cls, raw: bytes) -> "Envelope":
        """Raise `BadBody` unless `raw` is exactly an envelope of this version."""
        try:
            fields = decode(raw, what="the body's envelope")
        except EncodingError as error:
            raise BadBody(str(error)) from None
        match fields:
            case {"v": 1, "sealed": dict() as sealed, "ciphertext": bytes() as ciphertext} if len(fields) == 3:
                known = all(is_slug(party) and isinstance(key, bytes) for party, key in sealed.items())
                if known and 0 < len(sealed) <= MAX_PARTIES and type(fields["v"]) is int:
                    return cls(sealed, ciphertext)
        raise BadBody(f"this is no envelope of 1 to {MAX_PARTIES} parties; seal the body again")


def commit_to_body(body: bytes, entropy: Callable[[int], bytes] = os.urandom) -> tuple[bytes, bytes]:
    """A salt (32 random bytes) and the commitment SHA-256(salt || body) for the record's `body_sha256`."""
    salt = entropy(SALT_BYTES)
    return salt, hashlib.sha256(salt + body).digest()


def seal_body(
    body: bytes,
    salt: bytes,
    about: About,
    keys: Mapping[str, bytes],
    entropy: Callable[[int], bytes] = os.urandom,
) -> bytes:
    """Encrypt `body` to the parties.

    Args:
        salt: that of the commitment in `about`.
        keys: each party's encryption key as it stands on the ledger (`state.encryption_keys`).

    Raises:
        BadBody: no parties or too many, or the commitment is to another body.
        KeyFileError: a party's key is none.
    """
    if not 0 < len(keys) <= MAX_PARTIES:
        raise BadBody(f"a body for {len(keys)} parties; name 1 to {MAX_PARTIES}")
    _require_committed(salt, body, about)
    parties = sorted(keys)
    content_key = entropy(_KEY_BYTES)
    sealed = {party: seal(content_key, keys[party], _bound(about, parties, party)) for party in parties}
    content = encode({"salt": salt, "body": body})
    return Envelope(sealed, AESGCM(content_key).encrypt(_NONCE, content, _bound(about, parties))).to_bytes()


def open_body(raw: bytes, about: About, party: str, key: EncryptionKey) -> bytes:
    """Decrypt an envelope as one of its parties, and hold the body against the ledger's commitment.

    Raises:
        BadBody: not for this party, key or record, changed, or not the body that the ledger commits to.
    """
    envelope = Envelope.from_bytes(raw)
    parties = envelope.parties
    if party not in envelope.sealed:
        raise BadBody(f"the body is for {', '.join(parties)}, not for {party}")
    try:
        content_key = key.open(envelope.sealed[party], _bound(about, parties, party))
        content = AESGCM(content_key).decrypt(_NONCE, envelope.ciphertext, _bound(about, parties))
        fields = decode(content, what="the body's content")
    except (CannotOpen, InvalidTag, ValueError):
        raise BadBody(f"the body does not open for {party}: another key or record, or it was changed") from None
    except EncodingError as error:
        raise BadBody(str(error)) from None
    salt, body = _content(fields)
    _require_committed(salt, body, about)
    return body


def _bound(about: About, parties: Sequence[str], *party: str) -> bytes:
    return encode([_CONTEXT, about.cid, about.record_id, about.commitment, list(parties), *party])


def _content(fields: Value) -> tuple[bytes, bytes]:
    match fields:
        case {"salt": bytes() as salt, "body": bytes() as body} if len(fields) == 2 and len(salt) == SALT_BYTES:
            return salt, body
    raise BadBody("the envelope holds no salt and body; ask its issuer to seal the body again")


def _require_committed(salt: bytes, body: bytes, about: About) -> None:
    if len(salt) != SALT_BYTES or hashlib.sha256(salt + body).digest() != about.commitment:
        raise BadBody("the body is not the one that the ledger commits to; ask its issuer for the right one")
