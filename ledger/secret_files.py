"""Files of private keys: PKCS #8 PEM, readable by their owner alone, never written over."""

import os
import re
from pathlib import Path

from cryptography.exceptions import InternalError, UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.types import PrivateKeyTypes

from ledger.errors import LedgerError

_BLOCK = re.compile(rb"-----BEGIN [^\n]*-----\r?\n.*?-----END [^\n]*-----", re.DOTALL)


class KeyFileError(LedgerError):
    """A key, or the file that should hold one, cannot be used."""

    exit_code = 2


def read_secret_file(path: str | os.PathLike[str], what: str) -> bytes:
    """Return what is in a file that only its owner can read; `what` names it in errors.

    Raises:
        KeyFileError: missing, or readable by others.
    """
    file = Path(path)
    try:
        mode = file.stat().st_mode
        content = file.read_bytes()
    except OSError as error:
        raise KeyFileError(f"{file}: cannot read {what}: {error.strerror}") from None
    if mode & 0o077:
        raise KeyFileError(f"{file}: others can read {what}; run: chmod 600 {file}")
    return content


def write_secret_file(path: str | os.PathLike[str], content: bytes, what: str) -> None:
    """Write a file with mode 0600, whole or not at all, and never over another.

    Raises:
        KeyFileError: the file exists already or cannot be written.
    """
    file = Path(path)
    temporary = file.with_name(f".{file.name}.{os.urandom(6).hex()}")
    try:
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        try:
            with os.fdopen(descriptor, "wb") as out:
                out.write(content)
                out.flush()
                os.fsync(out.fileno())
            os.link(temporary, file)  # unlike a rename, fails when the name is taken
        finally:
            temporary.unlink()
    except FileExistsError:
        raise KeyFileError(f"{file}: a key is already there; move it away first") from None
    except OSError as error:
        raise KeyFileError(f"{file}: cannot write {what}: {error.strerror}") from None


def private_keys(pem: bytes, file: str | os.PathLike[str]) -> list[PrivateKeyTypes]:
    """The unencrypted private keys of a key file's PEM blocks, in their order; `file` names it in errors.

    Raises:
        KeyFileError: a block is no such key, or there is anything but blocks.
    """
    keys: list[PrivateKeyTypes] = []
    for block in _BLOCK.findall(pem) or [pem]:
        try:
            keys.append(serialization.load_pem_private_key(block, password=None))
        except InternalError:  # OpenSSL's, about a key that a damaged header gives to another algorithm
            raise KeyFileError(f"{file}: not a private key in PEM: OpenSSL cannot set it up") from None
        except (ValueError, TypeError, UnsupportedAlgorithm) as error:
            raise KeyFileError(f"{file}: not a private key in PEM: {str(error).splitlines()[0]}") from None
    if _BLOCK.sub(b"", pem).strip():
        raise KeyFileError(f"{file}: there is more than keys in it; it must hold PEM blocks only")
    return keys


def pem_of(*keys: PrivateKeyTypes) -> bytes:
    """A PEM block a key, as `private_keys` reads them."""
    pem, pkcs8, plain = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    return b"".join(key.private_bytes(pem, pkcs8, plain) for key in keys)
