"""Ed25519 signing keys (RFC 8032), and the name by which a key is known."""

import hashlib
import os
from functools import cached_property
from pathlib import Path
from typing import Self

import cbor2
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from ledger.errors import LedgerError

PUBLIC_KEY_BYTES = 32
SIGNATURE_BYTES = 64


class KeyFileError(LedgerError):
    """A key, or the file that should hold one, cannot be used."""

    exit_code = 2


class BadSignature(LedgerError):
    """A signature does not fit its message and key."""

    exit_code = 1


class PublicKey:
    """The public half of a signing key.

    Attributes:
        raw: the 32 bytes of RFC 8032.
    """

    def __init__(self, raw: bytes) -> None:
        """Raise `KeyFileError` unless `raw` is 32 bytes that Ed25519 takes as a key."""
        if len(raw) != PUBLIC_KEY_BYTES:
            raise KeyFileError(f"a public key has {PUBLIC_KEY_BYTES} bytes, this one {len(raw)}; copy it again")
        try:
            self._key = Ed25519PublicKey.from_public_bytes(raw)
        except ValueError as error:
            raise KeyFileError(f"these bytes are not an Ed25519 public key: {error}") from None
        self.raw = bytes(raw)

    @cached_property
    def kid(self) -> bytes:
        """32 bytes: the SHA-256 COSE key thumbprint (RFC 9679) of this key."""
        return hashlib.sha256(cbor2.dumps({1: 1, -1: 6, -2: self.raw}, canonical=True)).digest()

    def verify(self, signature: bytes, message: bytes) -> None:
        """Raise `BadSignature` unless `signature` (64 bytes) is this key's over `message`."""
        try:
            self._key.verify(signature, message)
        except InvalidSignature:
            raise BadSignature(f"the signature does not fit the key {self.kid.hex()[:16]}") from None

    def __eq__(self, other: object) -> bool:
        return isinstance(other, PublicKey) and other.raw == self.raw

    def __hash__(self) -> int:
        return hash(self.raw)

    def __repr__(self) -> str:
        return f"PublicKey({self.kid.hex()[:16]})"


class SigningKey:
    """The private half. Its bytes leave the object only through `save`.

    Attributes:
        public: the public half.
    """

    def __init__(self, key: Ed25519PrivateKey) -> None:
        self._key = key
        self.public = PublicKey(key.public_key().public_bytes_raw())

    @classmethod
    def generate(cls) -> Self:
        """A new key from the operating system's generator."""
        return cls(Ed25519PrivateKey.generate())

    @classmethod
    def from_seed(cls, seed: bytes) -> Self:
        """The key of a 32-byte secret seed (RFC 8032, section 5.1.5); for secrets kept elsewhere."""
        if len(seed) != PUBLIC_KEY_BYTES:
            raise KeyFileError(f"a key's seed has {PUBLIC_KEY_BYTES} bytes, this one {len(seed)}")
        return cls(Ed25519PrivateKey.from_private_bytes(seed))

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Self:
        """Read a PKCS #8 PEM file that only its owner can read.

        Raises:
            KeyFileError: missing, readable by others, or not an unencrypted Ed25519 key.
        """
        file = Path(path)
        try:
            mode = file.stat().st_mode
            pem = file.read_bytes()
        except OSError as error:
            raise KeyFileError(f"{file}: cannot read the signing key: {error.strerror}") from None
        if mode & 0o077:
            raise KeyFileError(f"{file}: others can read this signing key; run: chmod 600 {file}")
        try:
            key = serialization.load_pem_private_key(pem, password=None)
        except (ValueError, TypeError) as error:
            raise KeyFileError(f"{file}: not a private key in PEM: {str(error).splitlines()[0]}") from None
        if not isinstance(key, Ed25519PrivateKey):
            raise KeyFileError(f"{file}: this is a {type(key).__name__}, an Ed25519 key is needed")
        return cls(key)

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the key as PKCS #8 PEM with mode 0600; never over an existing file.

        Raises:
            KeyFileError: the file exists already or cannot be written.
        """
        file = Path(path)
        pem = self._key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        temporary = file.with_name(f".{file.name}.{os.urandom(6).hex()}")
        try:
            descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
            with os.fdopen(descriptor, "wb") as out:
                out.write(pem)
                out.flush()
                os.fsync(out.fileno())
            try:
                os.link(temporary, file)  # unlike a rename, fails when the name is taken
            finally:
                temporary.unlink()
        except FileExistsError:
            raise KeyFileError(f"{file}: a key is already there; move it away first") from None
        except OSError as error:
            raise KeyFileError(f"{file}: cannot write the signing key: {error.strerror}") from None

    def sign(self, message: bytes) -> bytes:
        """Return the 64-byte signature over `message`."""
        return self._key.sign(message)

    def __repr__(self) -> str:
        return f"SigningKey({self.public.kid.hex()[:16]})"
