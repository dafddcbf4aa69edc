"""What is signed about an encrypted sum: by the firms that computed it themselves, and by the holder who opened it."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from clients.encryption.errors import CheckRefused
from clients.masking import wire
from clients.masking.derivation import framed
from clients.masking.errors import MalformedMessage
from clients.masking.session import HASH_BYTES, Session
from ledger.keys import BadSignature, PublicKey

_LABEL = b"artesian/encryption/v1/"
_OPENING: dict[str, type] = {
    "sid": bytes,
    "closed_set": bytes,
    "sums": bytes,
    "reveals": dict,
    "checks": list,
    "total": bytes,
    "signature": bytes,
}
Checks = Sequence[Mapping[str, bytes]]
"""For every piece of a sum {firm: its signature over what it computed the piece to be}."""


@dataclass(frozen=True)
class Opening:
    """What opened an encrypted sum, published with the aggregate.

    Attributes:
        sid: the session id.
        closed_set: the hash of the closed set.
        sums: SHA-256 of every piece of the sum, 32 bytes each.
        reveals: the signature of each firm of the closed set under which it handed its ciphertext over.
        checks: the signatures of firms over these pieces.
        total: the sum in the session's ring, packed.
        signature: the key holder's, over all of it but the firms' signatures.
    """

    sid: bytes
    closed_set: bytes
    sums: bytes
    reveals: dict[str, bytes]
    checks: tuple[dict[str, bytes], ...]
    total: bytes
    signature: bytes

    def to_bytes(self) -> bytes:
        """The record as deterministic CBOR; its SHA-256 is the `unmask` of the aggregate statement."""
        return wire.encode({**{name: getattr(self, name) for name in _OPENING}, "checks": list(self.checks)})

    @classmethod
    def from_bytes(cls, raw: bytes) -> Opening:
        """Reads a record.

        Raises:
            MalformedMessage: not an opening.
        """
        fields = wire.decode(raw, _OPENING, "opening record")
        del fields["v"]
        fields["reveals"] = wire.bytes_by_member(fields["reveals"], "opening record reveals")
        return cls(**{**fields, "checks": read_checks(fields["checks"])})


def read_checks(value: Sequence[object]) -> tuple[dict[str, bytes], ...]:
    """Signatures as a message holds them.

    Raises:
        MalformedMessage: something else.
    """
    out = []
    for one in value:
        if type(one) is not dict:
            raise MalformedMessage("checks of a sum: not {firm: signature} for every piece")
        out.append(wire.bytes_by_member(one, "checks of a sum"))
    return tuple(out)


def reveal_message(session: Session, closed_set: bytes) -> bytes:
    """What a firm signs when it hands its ciphertext over: that it does so for this closed set and for no other."""
    return _signed(b"reveal", session.sid, closed_set)


def check_message(session: Session, closed_set: bytes, number: int, piece: bytes) -> bytes:
    """What a firm signs that has computed the encoded `piece` of this number from the contributions of a closed set."""
    digest = hashlib.sha256(piece).digest()
    return _signed(b"check", session.sid, closed_set, number.to_bytes(4, "big"), digest)


def opening_message(session: Session, closed_set: bytes, sums: bytes, total: bytes) -> bytes:
    """What the holder signs that has opened a sum, named by its pieces' hashes, to a packed total."""
    return _signed(b"opening", session.sid, closed_set, sums, hashlib.sha256(total).digest())


def _signed(use: bytes, *parts: bytes) -> bytes:
    return _LABEL + framed(use, *parts)


def require_reveals(
    session: Session, closed_set: bytes, reveals: Mapping[str, bytes], keys: Mapping[str, bytes]
) -> None:
    """Insists that every firm of a closed set handed its ciphertext over for that set.

    A contribution that was logged later, by somebody who had seen the ciphertexts of others, is not in the set that
    those have signed. So each is chosen without knowing the others, and none can be a multiple of another.

    Args:
        keys: signing keys, 32 bytes each, of exactly the firms in the closed set.

    Raises:
        CheckRefused: names the first firm that has not.
    """
    message = reveal_message(session, closed_set)
    for member, key in sorted(keys.items()):
        if not is_signed_by(key, reveals.get(member, b""), message):
            raise CheckRefused(f"closed set: {member} has not handed its ciphertext over for this set")
    if reveals.keys() != keys.keys():
        raise CheckRefused("closed set: signatures of firms that are not in it")


def require_checks(
    session: Session, closed_set: bytes, sums: bytes, checks: Checks, keys: Mapping[str, bytes], fewest: int
) -> None:
    """Insists on `fewest` firms for every piece: with one more than collude, an honest one has computed it.

    Any of them will do, so the coordinator may choose: the honest one sees a wrong piece, whoever it is.

    Args:
        sums: SHA-256 of every piece, 32 bytes each.
        keys: signing keys, 32 bytes each, of the firms in the closed set.

    Raises:
        CheckRefused: names the first piece that too few of them have signed.
    """
    hashes = [sums[start : start + HASH_BYTES] for start in range(0, len(sums), HASH_BYTES)]
    if len(hashes) != len(checks):
        raise CheckRefused(f"checks of a sum: {len(checks)} pieces are signed, it has {len(hashes)}")
    for number, (piece, signatures) in enumerate(zip(hashes, checks, strict=True)):
        message = _signed(b"check", session.sid, closed_set, number.to_bytes(4, "big"), piece)
        right = [
            one for one, signature in signatures.items() if one in keys and is_signed_by(keys[one], signature, message)
        ]
        if len(right) < fewest:
            raise CheckRefused(
                f"piece {number} of the sum: {len(right)} firms of the closed set have signed it, {fewest} are needed"
            )


def require_opening(session: Session, opening: Opening, key: bytes) -> None:
    """Insists on the key holder's signature.

    Args:
        key: its signing key, 32 bytes.

    Raises:
        CheckRefused: it is not its signature over this opening.
    """
    message = opening_message(session, opening.closed_set, opening.sums, opening.total)
    if opening.sid != session.sid or not is_signed_by(key, opening.signature, message):
        raise CheckRefused(f"opening record: {session.key_holder} has not signed it")


def is_signed_by(key: bytes, signature: bytes, message: bytes) -> bool:
    """Whether a signature is that of a raw Ed25519 key, 32 bytes, over a message."""
    try:
        PublicKey(key).verify(signature, message)
    except BadSignature:
        return False
    return True
