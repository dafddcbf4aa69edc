"""The key of a firm's SuperNode: EC P-384 in OpenSSH's form, as Flower takes it; the public half is beside it."""

from __future__ import annotations

from pathlib import Path

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from clients.errors import ClientError
from ledger.whole_file import write_whole


class BadNodeKey(ClientError):
    """A file that should hold a SuperNode's key does not."""


def node_public_key(path: Path) -> bytes:
    """The public half (OpenSSH, one line) of the key at `path`, which is made if it is not there.

    Raises:
        BadNodeKey: the file holds no key on P-384.
    """
    if not path.exists():
        made = ec.generate_private_key(ec.SECP384R1())
        private = serialization.PrivateFormat.OpenSSH
        write_whole(path, made.private_bytes(serialization.Encoding.PEM, private, serialization.NoEncryption()))
    try:
        key = serialization.load_ssh_private_key(path.read_bytes(), None)
    except (ValueError, UnsupportedAlgorithm) as error:
        raise BadNodeKey(f"{path}: not a private key in OpenSSH's form: {error}") from None
    if not isinstance(key, ec.EllipticCurvePrivateKey) or not isinstance(key.curve, ec.SECP384R1):
        raise BadNodeKey(f"{path}: the key is not on P-384; move it away, and one is made")
    public = key.public_key().public_bytes(serialization.Encoding.OpenSSH, serialization.PublicFormat.OpenSSH) + b"\n"
    beside = path.with_name(f"{path.name}.pub")
    if not beside.exists() or beside.read_bytes() != public:
        write_whole(beside, public)
    return public
