"""An invite: one line of text with which one organisation may ask to join, and by which it knows whom it asks.

`artesian-invite-` and base64url of deterministic CBOR with 16 bytes of its SHA-256 behind it, so that no wrong letter
goes unnoticed. It carries the consortium's CA certificate itself: nothing is believed that a stranger sends first.
Whoever has an invite can ask in this name until it is used or expires; so it goes by a way that others do not read.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Self

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from clients.enrolment.errors import BadInvite
from ledger.encoding import EncodingError, decode, encode
from ledger.rules.records import MAX_TEXT, is_slug

PREFIX = "artesian-invite-"
VERSION = 1
TOKEN_BYTES = 32
LIFE_S = 14 * 86_400
"""How long an invite can be used unless the operator says otherwise."""
MAX_CHARACTERS = 8_192
_CHECK_BYTES = 16
_FIELDS = {"v", "cid", "title", "member", "kind", "name", "desk", "ca", "policy", "token", "until"}


@dataclass(frozen=True)
class Invite:
    """What an invite says.

    Attributes:
        cid, title: the consortium's id, and its name for people.
        member, kind, name: as whom the organisation is to be enrolled.
        desk: HOST:PORT of the join desk.
        authority: DER of the consortium's CA certificate.
        policy: 32 bytes, SHA-256 of `consortium.toml`.
        token: 32 random bytes, good for one request.
        until_s: seconds since 1970 until when it can be used.
    """

    cid: str
    title: str
    member: str
    kind: Literal["firm", "bank"]
    name: str
    desk: str
    authority: bytes
    policy: bytes
    token: bytes
    until_s: int

    @property
    def fingerprint(self) -> str:
        """Hex SHA-256 of the CA certificate: what people compare by another way."""
        return hashlib.sha256(self.authority).hexdigest()

    @property
    def authority_pem(self) -> bytes:
        """The CA certificate as TLS libraries take it."""
        return x509.load_der_x509_certificate(self.authority).public_bytes(Encoding.PEM)

    @property
    def token_sha256(self) -> bytes:
        """How the desk knows the token."""
        return hashlib.sha256(self.token).digest()

    def line(self) -> str:
        """The text."""
        raw = encode(
            {
                "v": VERSION,
                "cid": self.cid,
                "title": self.title,
                "member": self.member,
                "kind": self.kind,
                "name": self.name,
                "desk": self.desk,
                "ca": self.authority,
                "policy": self.policy,
                "token": self.token,
                "until": self.until_s,
            }
        )
        return PREFIX + base64.urlsafe_b64encode(raw + _check(raw)).decode().rstrip("=")

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read an invite; line breaks that a mail put in do not matter.

        Raises:
            BadInvite: not an invite, or a letter of it is wrong or missing.
        """
        bare = "".join(text.split())
        if not bare.startswith(PREFIX) or len(bare) > MAX_CHARACTERS:
            raise BadInvite(f"this is not an invite: one begins with {PREFIX}; give it, or a file that holds it")
        coded = bare.removeprefix(PREFIX)
        try:
            raw = base64.b64decode(coded + "=" * (-len(coded) % 4), altchars=b"-_", validate=True)
        except (binascii.Error, ValueError):
            raw = b""
        body, check = raw[:-_CHECK_BYTES], raw[-_CHECK_BYTES:]
        whole = base64.urlsafe_b64encode(raw).decode().rstrip("=") == coded
        if not body or check != _check(body) or not whole:
            raise BadInvite("the invite is damaged: a letter is wrong or missing; copy it again, whole")
        try:
            return cls._of(decode(body, what="the invite"))
        except EncodingError as error:
            raise BadInvite(str(error)) from None

    @classmethod
    def _of(cls, fields: Any) -> Self:
        match fields:
            case {
                "v": 1,
                "cid": str() as cid,
                "title": str() as title,
                "member": str() as member,
                "kind": ("firm" | "bank") as kind,
                "name": str() as name,
                "desk": str() as desk,
                "ca": bytes() as authority,
                "policy": bytes() as policy,
                "token": bytes() as token,
                "until": int() as until_s,
            } if fields.keys() == _FIELDS and len(policy) == 32 and len(token) == TOKEN_BYTES:
                if not (is_slug(cid) and is_slug(member) and 0 < len(name) <= MAX_TEXT):
                    raise BadInvite("the invite names a member or a consortium as none can be named")
                try:
                    x509.load_der_x509_certificate(authority)
                except ValueError:
                    raise BadInvite("the invite's CA certificate cannot be read; ask for another invite") from None
                return cls(cid, title, member, kind, name, desk, authority, policy, token, until_s)
        raise BadInvite("this invite is of another version of artesian; use the release that the coordinator uses")


def read_invite(given: str) -> Invite:
    """An invite from its text, or from the file whose path is given.

    Raises:
        BadInvite: neither.
    """
    if given.strip().startswith(PREFIX):
        return Invite.parse(given)
    path = Path(given)
    try:
        content = path.read_bytes()
        return Invite.parse(content.decode("ascii") if len(content) <= 2 * MAX_CHARACTERS else "")
    except OSError as error:
        raise BadInvite(f"{given[:200]!r}: neither an invite nor a file that can be read: {error.strerror}") from None
    except (UnicodeDecodeError, ValueError):
        raise BadInvite(f"{path}: holds no invite") from None


def _check(raw: bytes) -> bytes:
    return hashlib.sha256(b"artesian invite" + raw).digest()[:_CHECK_BYTES]
