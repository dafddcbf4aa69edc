"""Signing keys, and the names by which a key is known: Ed25519 (RFC 8032), or a hybrid of it with ML-DSA-65 (FIPS 204).

A hybrid key is two keys that sign together. Checkpoints and cosignatures are always by the Ed25519 half, which is all
that C2SP's signed notes know; statements and approvals by a hybrid key need both halves.
"""

import hashlib
import os
from functools import cached_property
from typing import Self

import cbor2
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.mldsa import MLDSA65PrivateKey, MLDSA65PublicKey

from ledger import post_quantum
from ledger.errors import LedgerError
from ledger.fingerprint import grouped
from ledger.secret_files import KeyFileError as KeyFileError
from ledger.secret_files import pem_of, private_keys, read_secret_file, write_secret_file

PUBLIC_KEY_BYTES = 32
SEED_BYTES = 32
SIGNATURE_BYTES = 64
HYBRID_PUBLIC_KEY_BYTES = PUBLIC_KEY_BYTES + post_quantum.PUBLIC_KEY_BYTES
HYBRID_SIGNATURE_BYTES = SIGNATURE_BYTES + post_quantum.SIGNATURE_BYTES

_FIELD = 2**255 - 19
_SMALL_ORDER = {
    0,
    1,
    _FIELD - 1,
    2707385501144840649318225287225658788936804267575313519463743609750303402022,
    55188659117513257062467267217118295137698188065244968500265048394206261417927,
}
"""The y coordinates of the eight points whose order divides 8: as keys they fit signatures that anybody can make."""


class BadSignature(LedgerError):
    """A signature does not fit its message and key."""

    exit_code = 1


class PublicKey:
    """The public half of a signing key.

    Attributes:
        raw: the 32 bytes of RFC 8032; for a hybrid key the 1952 bytes of FIPS 204 follow them.
    """

    def __init__(self, raw: bytes) -> None:
        """Raise `KeyFileError` unless `raw` is 32 bytes that Ed25519 takes as a key, or 1984 of a hybrid key.

        A key of small order, or whose y coordinate is not reduced (RFC 8032, section 5.1.3), is none.
        """
        if len(raw) not in (PUBLIC_KEY_BYTES, HYBRID_PUBLIC_KEY_BYTES):
            raise KeyFileError(
                f"a public key has {PUBLIC_KEY_BYTES} bytes, or {HYBRID_PUBLIC_KEY_BYTES} with ML-DSA-65, "
                f"this one {len(raw)}; copy it again"
            )
        self.raw = bytes(raw)
        half = self.raw[PUBLIC_KEY_BYTES:]
        try:
            self._key = Ed25519PublicKey.from_public_bytes(self.raw[:PUBLIC_KEY_BYTES])
            self._post_quantum = MLDSA65PublicKey.from_public_bytes(half) if half else None
        except ValueError as error:
            raise KeyFileError(f"these bytes are not a public key: {error}") from None
        y = int.from_bytes(self.raw[:PUBLIC_KEY_BYTES], "little") & ((1 << 255) - 1)
        if y >= _FIELD or y in _SMALL_ORDER:
            raise KeyFileError("these bytes are an Ed25519 key of small order, or not reduced; make a new key")

    @property
    def is_hybrid(self) -> bool:
        """Whether an ML-DSA-65 key signs together with the Ed25519 key."""
        return self._post_quantum is not None

    @cached_property
    def ed25519(self) -> "PublicKey":
        """The Ed25519 half alone: the key of checkpoints, cosignatures and policies."""
        return PublicKey(self.raw[:PUBLIC_KEY_BYTES]) if self.is_hybrid else self

    @cached_property
    def kid(self) -> bytes:
        """32 bytes: the SHA-256 COSE key thumbprint (RFC 9679) of the Ed25519 key."""
        ed25519 = self.raw[:PUBLIC_KEY_BYTES]
        return hashlib.sha256(cbor2.dumps({1: 1, -1: 6, -2: ed25519}, canonical=True)).digest()

    @cached_property
    def post_quantum_kid(self) -> bytes | None:
        """32 bytes: the same of the ML-DSA-65 key; None if there is none."""
        return post_quantum.thumbprint(self.raw[PUBLIC_KEY_BYTES:]) if self.is_hybrid else None

    @cached_property
    def fingerprint(self) -> str:
        """For people to compare by another way than the file's: SHA-256 of `raw`, 16 groups of 4 hex digits."""
        return grouped(hashlib.sha256(self.raw).hexdigest())

    def verify(self, signature: bytes, message: bytes) -> None:
        """Raise `BadSignature` unless `signature` (64 bytes) is the Ed25519 key's over `message`."""
        try:
            self._key.verify(signature, message)
        except InvalidSignature:
            raise BadSignature(f"the signature does not fit the key {self.kid.hex()[:16]}") from None

    def verify_post_quantum(self, signature: bytes, message: bytes) -> None:
        """Raise `BadSignature` unless `signature` (3309 bytes) is the ML-DSA-65 key's over `message`."""
        if self._post_quantum is None:
            raise BadSignature(f"the key {self.kid.hex()[:16]} has no ML-DSA-65 half")
        try:
            self._post_quantum.verify(signature, message)
        except InvalidSignature:
            raise BadSignature(f"the ML-DSA-65 signature does not fit the key {self.kid.hex()[:16]}") from None

    def verify_all(self, signature: bytes, message: bytes) -> None:
        """Raise `BadSignature` unless every key of this one signed `message`.

        Args:
            signature: as `SigningKey.sign_all` makes it: 64 bytes, of a hybrid key 64 + 3309.
        """
        expected = HYBRID_SIGNATURE_BYTES if self.is_hybrid else SIGNATURE_BYTES
        if len(signature) != expected:
            raise BadSignature(
                f"a signature by the key {self.kid.hex()[:16]} has {expected} bytes, this one {len(signature)}"
            )
        self.verify(signature[:SIGNATURE_BYTES], message)
        if self.is_hybrid:
            self.verify_post_quantum(signature[SIGNATURE_BYTES:], message)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, PublicKey) and other.raw == self.raw

    def __hash__(self) -> int:
        return hash(self.raw)

    def __repr__(self) -> str:
        return f"PublicKey({self.kid.hex()[:16]}{', hybrid' if self.is_hybrid else ''})"


class SigningKey:
    """The private half. Its bytes leave the object only through `save`.

    Attributes:
        public: the public half.
    """

    def __init__(self, key: Ed25519PrivateKey, post_quantum_key: MLDSA65PrivateKey | None = None) -> None:
        self._key = key
        self._post_quantum = post_quantum_key
        half = b"" if post_quantum_key is None else post_quantum_key.public_key().public_bytes_raw()
        self.public = PublicKey(key.public_key().public_bytes_raw() + half)

    @classmethod
    def generate(cls, hybrid: bool = False) -> Self:
        """A new key from the operating system's generator."""
        return cls(Ed25519PrivateKey.generate(), MLDSA65PrivateKey.generate() if hybrid else None)

    @classmethod
    def from_seed(cls, seed: bytes) -> Self:
        """The key of a secret seed, for secrets kept elsewhere.

        Args:
            seed: 32 bytes (RFC 8032, section 5.1.5), or 64 for a hybrid key: those, then 32 of FIPS 204's xi.

        Raises:
            KeyFileError: another length.
        """
        if len(seed) not in (SEED_BYTES, 2 * SEED_BYTES):
            raise KeyFileError(
                f"a key's seed has {SEED_BYTES} bytes, a hybrid's {2 * SEED_BYTES}, this one {len(seed)}"
            )
        half = seed[SEED_BYTES:]
        return cls(
            Ed25519PrivateKey.from_private_bytes(seed[:SEED_BYTES]),
            MLDSA65PrivateKey.from_seed_bytes(half) if half else None,
        )

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Self:
        """Read a PKCS #8 PEM file that only its owner can read: an Ed25519 key, after which an ML-DSA-65 key may stand.

        Raises:
            KeyFileError: missing, readable by others, or not unencrypted keys of these kinds in this order.
        """
        match private_keys(read_secret_file(path, "the signing key"), path):
            case [Ed25519PrivateKey() as key]:
                return cls(key)
            case [Ed25519PrivateKey() as key, MLDSA65PrivateKey() as half]:
                return cls(key, half)
            case keys:
                kinds = ", ".join(type(key).__name__ for key in keys)
                raise KeyFileError(
                    f"{os.fspath(path)}: it holds {kinds}; an Ed25519 key is needed, and after it an ML-DSA-65 key "
                    "if it is to be hybrid"
                )

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the key as PKCS #8 PEM with mode 0600; never over an existing file.

        Raises:
            KeyFileError: the file exists already or cannot be written.
        """
        pem = pem_of(self._key) if self._post_quantum is None else pem_of(self._key, self._post_quantum)
        write_secret_file(path, pem, "the signing key")

    def sign(self, message: bytes) -> bytes:
        """Return the 64-byte Ed25519 signature over `message`."""
        return self._key.sign(message)

    def sign_post_quantum(self, message: bytes) -> bytes:
        """Return the 3309-byte ML-DSA-65 signature over `message`; a new one every time.

        Raises:
            KeyFileError: the key is not hybrid.
        """
        if self._post_quantum is None:
            raise KeyFileError(f"the key {self.public.kid.hex()[:16]} has no ML-DSA-65 half; make a hybrid key")
        return self._post_quantum.sign(message)

    def sign_all(self, message: bytes) -> bytes:
        """Return what `PublicKey.verify_all` takes: the Ed25519 signature, then a hybrid key's ML-DSA-65 one."""
        return self.sign(message) + (self.sign_post_quantum(message) if self.public.is_hybrid else b"")

    def __repr__(self) -> str:
        return f"SigningKey({self.public.kid.hex()[:16]}{', hybrid' if self.public.is_hybrid else ''})"
