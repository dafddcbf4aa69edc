"""What a member tells the desk: one signed map of fields a call, bound to the consortium, the method and the moment.

The signature is by the member's signing key over all of it, so a desk, or whoever stands in its place, can make no
other call of it. What is in it are names and public keys.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Self

from clients.enrolment.errors import NotAdmitted
from ledger.encoding import EncodingError, decode, encode
from ledger.errors import LedgerError
from ledger.keys import BadSignature, PublicKey, SigningKey

VERSION = 1
NONCE_BYTES = 16
FRESH_S = 600
"""How far the clocks of a member and of the desk may be apart."""
MAX_BYTES = 48 << 10
_CONTEXT = b"artesian/enrolment/v1\x00"


class BadRequest(NotAdmitted):
    """A request that is malformed, stale, or signed by another key than it should be."""


@dataclass(frozen=True)
class SignedFields:
    """A request as it travels.

    Attributes:
        raw: deterministic CBOR.
        signature: over it, by the member's signing key (both halves of a hybrid one).
    """

    raw: bytes
    signature: bytes

    @classmethod
    def make(
        cls,
        rpc: str,
        cid: str,
        member: str,
        key: SigningKey,
        fields: Mapping[str, Any],
        *,
        now_s: float,
        entropy: Callable[[int], bytes],
    ) -> Self:
        """Sign `fields` for one call of `rpc`."""
        common = {
            "v": VERSION,
            "rpc": rpc,
            "cid": cid,
            "member": member,
            "ts": int(now_s),
            "nonce": entropy(NONCE_BYTES),
        }
        raw = encode({**common, **fields})
        return cls(raw, key.sign_all(_CONTEXT + raw))

    def read(self, rpc: str, cid: str, types: Mapping[str, type]) -> dict[str, Any]:
        """The fields, if they are for this method and consortium and of these types. Who signed is not checked.

        Raises:
            BadRequest: they are not.
        """
        if len(self.raw) > MAX_BYTES:
            raise BadRequest(f"the request has {len(self.raw)} bytes, at most {MAX_BYTES} are read")
        try:
            fields = decode(self.raw, what="the request")
        except EncodingError as error:
            raise BadRequest(str(error)) from None
        expected = {"v": int, "rpc": str, "cid": str, "member": str, "ts": int, "nonce": bytes, **types}
        if not isinstance(fields, dict) or fields.keys() != expected.keys() or fields["v"] != VERSION:
            raise BadRequest("the request has other fields than this desk reads; use the release that it uses")
        if any(type(fields[name]) is not kind for name, kind in expected.items()):
            raise BadRequest("a field of the request is of another type than it should be")
        if fields["rpc"] != rpc or len(fields["nonce"]) != NONCE_BYTES:
            raise BadRequest(f"the request is for {fields['rpc']!r}, this is {rpc!r}")
        if fields["cid"] != cid:
            raise BadRequest(f"the request is for the consortium {fields['cid']!r}, this is {cid!r}")
        return fields

    def verify(self, key: PublicKey) -> None:
        """Raise `BadRequest` unless this key signed."""
        try:
            key.verify_all(self.signature, _CONTEXT + self.raw)
        except BadSignature:
            raise BadRequest(
                "the request is not signed by the signing key that is known here for this member; its invite may have "
                "been withdrawn and another key used since: ask the coordinator's operator"
            ) from None


def require_fresh(fields: Mapping[str, Any], now_s: float) -> None:
    """Raise `BadRequest` unless a request was made about now."""
    off_s = fields["ts"] - now_s
    if abs(off_s) > FRESH_S:
        raise BadRequest(
            f"the request was made {abs(off_s):.0f} s {'after' if off_s > 0 else 'before'} now by the desk's clock; "
            "set the member's clock"
        )


def public_key(raw: bytes) -> PublicKey:
    """A signing key from a request.

    Raises:
        BadRequest: these bytes are none.
    """
    try:
        return PublicKey(raw)
    except LedgerError as error:
        raise BadRequest(str(error)) from None
