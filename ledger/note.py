"""Signed notes (C2SP signed-note): text, a blank line, and signature lines; and the keys that check them."""

import base64
import binascii
import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Self

from ledger.errors import LedgerError
from ledger.keys import KeyFileError, PublicKey

ED25519 = 0x01
"""Signature type of a note signed by a log."""
COSIGNATURE_V1 = 0x04
"""Signature type of a witness's timestamped cosignature (C2SP tlog-cosignature)."""

MAX_NOTE_CHARACTERS = 1 << 20
MAX_SIGNATURES = 4096
_DASH = "\u2014 "
_REFUSED = re.compile("[\x00-\x09\x0b-\x1f\x7f\ud800-\udfff]")
"""Control characters besides newline, and what is no UTF-8."""


class NoteError(LedgerError):
    """The text is not a signed note, or a key or signature line in it is malformed."""

    exit_code = 2


def check_name(name: str) -> str:
    """Return `name` if it can name a key: not empty, no spaces, no plus sign, no control characters.

    Raises:
        NoteError: it cannot.
    """
    if name.split() != [name] or "+" in name or _REFUSED.search(name):
        raise NoteError(f"{name!r} cannot name a key: it must not be empty nor hold spaces or '+'")
    return name


def decode_base64(text: str, what: str) -> bytes:
    """Standard Base 64 with padding, and only the one canonical text for the bytes.

    Raises:
        NoteError: anything else; `what` names it.
    """
    try:
        raw = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        raise NoteError(f"{what} is not Base 64; copy it again") from None
    if base64.b64encode(raw).decode() != text:
        raise NoteError(f"{what} is not canonical Base 64; copy it again")
    return raw


@dataclass(frozen=True)
class Vkey:
    """A verifier key: who signs, how, and with which key.

    Attributes:
        name: key name; a log's is its origin, a member's is `witness_name(origin, member)`.
        algorithm: `ED25519` for logs, `COSIGNATURE_V1` for witnesses.
        key: the public key, Ed25519 alone.
    """

    name: str
    algorithm: int
    key: PublicKey

    def __post_init__(self) -> None:
        if self.key.is_hybrid:
            raise NoteError(f"the key of {self.name!r} is a hybrid; notes are signed by its Ed25519 half alone")

    @classmethod
    def of_log(cls, origin: str, key: PublicKey) -> Self:
        """The key that signs the checkpoints of the log `origin`."""
        return cls(check_name(origin), ED25519, key.ed25519)

    @classmethod
    def of_witness(cls, name: str, key: PublicKey) -> Self:
        """The key with which the witness `name` cosigns."""
        return cls(check_name(name), COSIGNATURE_V1, key.ed25519)

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read `name+hex key id+base64(type || key)`.

        Raises:
            NoteError: malformed, an unknown signature type, or a key id that does not fit.
        """
        name, _, rest = text.partition("+")
        key_id, _, encoded = rest.partition("+")
        material = decode_base64(encoded, f"the key of {name!r}")
        if not material or material[0] not in (ED25519, COSIGNATURE_V1):
            raise NoteError(f"the key of {name!r} has a signature type that is unknown here; use Ed25519 keys")
        try:
            vkey = cls(check_name(name), material[0], PublicKey(material[1:]))
        except KeyFileError as error:
            raise NoteError(f"the key of {name!r}: {error}") from None
        if key_id != vkey.id.hex():
            raise NoteError(f"the key of {name!r} does not fit its id {key_id!r}; copy the whole line again")
        return vkey

    @cached_property
    def id(self) -> bytes:
        """4 bytes: SHA-256(name || newline || type || key)[:4]."""
        material = bytes([self.algorithm]) + self.key.raw
        return hashlib.sha256(self.name.encode() + b"\n" + material).digest()[:4]

    def __str__(self) -> str:
        material = bytes([self.algorithm]) + self.key.raw
        return f"{self.name}+{self.id.hex()}+{base64.b64encode(material).decode()}"


@dataclass(frozen=True)
class SignatureLine:
    """One signature line of a note.

    Attributes:
        name: key name.
        key_id: 4 bytes.
        signature: the bytes after the key id, as the signature type has them.
    """

    name: str
    key_id: bytes
    signature: bytes

    @classmethod
    def parse(cls, line: str) -> Self:
        """Read a line with or without its newline.

        Raises:
            NoteError: it is not a signature line.
        """
        fields = line.removesuffix("\n").split(" ")
        if len(fields) != 3 or fields[0] != _DASH.strip():
            raise NoteError(f"{line.strip()[:60]!r} is not a signature line; copy it again")
        raw = decode_base64(fields[2], f"the signature of {fields[1]!r}")
        if len(raw) < 5:
            raise NoteError(f"the signature of {fields[1]!r} is too short; copy it again")
        return cls(check_name(fields[1]), raw[:4], raw[4:])

    def is_by(self, vkey: Vkey) -> bool:
        """Whether the line names this key (it may still fail to verify)."""
        return self.name == vkey.name and self.key_id == vkey.id

    def __str__(self) -> str:
        return f"{_DASH}{self.name} {base64.b64encode(self.key_id + self.signature).decode()}\n"


def parse_note(text: str) -> tuple[str, list[SignatureLine]]:
    """Split a note into its signed text (with the final newline) and its signature lines.

    Raises:
        NoteError: not a note, control characters, not UTF-8, or too large.
    """
    if len(text) > MAX_NOTE_CHARACTERS or _REFUSED.search(text):
        raise NoteError("the note is too long or holds control characters or what is no UTF-8; fetch it again")
    body, separator, signatures = text.rpartition("\n\n")
    if not separator or not signatures.endswith("\n"):
        raise NoteError("this is not a signed note: a text, an empty line and signature lines are expected")
    lines = signatures.removesuffix("\n").split("\n")
    if len(lines) > MAX_SIGNATURES:
        raise NoteError(f"the note has more than {MAX_SIGNATURES} signatures; remove those that are not needed")
    return body + "\n", [SignatureLine.parse(line) for line in lines]


def join_note(body: str, lines: Sequence[SignatureLine]) -> str:
    """The note of a signed text and its signature lines."""
    return body + "\n" + "".join(str(line) for line in lines)
