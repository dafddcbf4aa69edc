"""An organisation's encryption key: what bodies for its eyes are sealed to (HPKE, RFC 9180, hybrid KEM).

The public half, on the ledger, is 1216 bytes: ML-KEM-768 (FIPS 203) then X25519. Whoever wants to read what
was sealed must break both. The private half is two PEM blocks in one file that only its owner can read.
"""

import os
from typing import Self

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.asymmetric.mlkem import MLKEM768PrivateKey, MLKEM768PublicKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.hpke import (
    AEAD,
    KDF,
    KEM,
    MLKEM768X25519PrivateKey,
    MLKEM768X25519PublicKey,
    Suite,
)

from ledger.errors import LedgerError
from ledger.secret_files import KeyFileError, pem_of, private_keys, read_secret_file, write_secret_file

SUITE = Suite(KEM.MLKEM768_X25519, KDF.HKDF_SHA256, AEAD.AES_256_GCM)
_LATTICE_BYTES = 1184
PUBLIC_BYTES = _LATTICE_BYTES + 32
_WHAT = "the encryption key"


class CannotOpen(LedgerError):
    """A sealed message is not for this key, or was changed."""

    exit_code = 1


class EncryptionKey:
    """The private half. Its bytes leave the object only through `save`.

    Attributes:
        public: the public half, 1216 bytes.
    """

    def __init__(self, lattice: MLKEM768PrivateKey, curve: X25519PrivateKey) -> None:
        self._lattice, self._curve = lattice, curve
        self._private = MLKEM768X25519PrivateKey(lattice, curve)
        self.public = lattice.public_key().public_bytes_raw() + curve.public_key().public_bytes_raw()

    @classmethod
    def generate(cls) -> Self:
        """A new key from the operating system's generator."""
        return cls(MLKEM768PrivateKey.generate(), X25519PrivateKey.generate())

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Self:
        """Read the two PKCS #8 PEM blocks of a file that only its owner can read.

        Raises:
            KeyFileError: missing, readable by others, or not such a key.
        """
        match private_keys(read_secret_file(path, _WHAT), path):
            case [MLKEM768PrivateKey() as lattice, X25519PrivateKey() as curve]:
                return cls(lattice, curve)
        raise KeyFileError(f"{os.fspath(path)}: an ML-KEM-768 key and then an X25519 key are needed")

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the key with mode 0600; never over an existing file.

        Raises:
            KeyFileError: the file exists already or cannot be written.
        """
        write_secret_file(path, pem_of(self._lattice, self._curve), _WHAT)

    def open(self, sealed: bytes, info: bytes) -> bytes:
        """Open what `seal` made for this key under the same `info`.

        Raises:
            CannotOpen: it was made for another key or `info`, or changed.
        """
        try:
            return SUITE.decrypt(sealed, self._private, info=info)
        except (InvalidTag, ValueError):
            raise CannotOpen("it was sealed to another key or for another purpose, or was changed") from None

    def __repr__(self) -> str:
        return f"EncryptionKey({self.public[-32:].hex()[:16]})"


def seal(message: bytes, public: bytes, info: bytes) -> bytes:
    """Seal `message` to the holder of the key whose public half is `public`.

    Raises:
        KeyFileError: `public` is no such key.
    """
    try:
        lattice = MLKEM768PublicKey.from_public_bytes(public[:_LATTICE_BYTES])
        curve = X25519PublicKey.from_public_bytes(public[_LATTICE_BYTES:])
    except ValueError:
        raise KeyFileError(f"{len(public)} bytes are no ML-KEM-768 and X25519 public key; copy it again") from None
    return SUITE.encrypt(message, MLKEM768X25519PublicKey(lattice, curve), info=info)
