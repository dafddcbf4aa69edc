"""Signing keys: the RFC's vectors, and files that only their owner reads."""

import stat
from pathlib import Path

import pytest

from ledger.keys import BadSignature, KeyFileError, PublicKey, SigningKey


def test_rfc_8032_vector_2() -> None:
    key = SigningKey.from_seed(bytes.fromhex("4ccd089b28ff96da9db6c346ec114e0f5b8a319f35aba624da8cf6ed4fb8a6fb"))
    assert key.public.raw.hex() == "3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c"
    assert key.sign(b"\x72").hex() == (
        "92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da"
        "085ac1e43e15996e458f3613d0f11d8c387b2eaeb4302aeeb00d291612bb0c00"
    )


def test_a_signature_fits_one_message_and_one_key() -> None:
    key, other = SigningKey.generate(), SigningKey.generate()
    signature = key.sign(b"message")
    key.public.verify(signature, b"message")
    for public, message in ((key.public, b"massage"), (other.public, b"message")):
        with pytest.raises(BadSignature):
            public.verify(signature, message)


def test_saved_keys_come_back_and_are_private(tmp_path: Path) -> None:
    key, path = SigningKey.generate(), tmp_path / "signing.pem"
    key.save(path)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert [file.name for file in tmp_path.iterdir()] == ["signing.pem"]
    assert SigningKey.load(path).public == key.public


def test_a_key_is_never_overwritten(tmp_path: Path) -> None:
    key, path = SigningKey.generate(), tmp_path / "signing.pem"
    key.save(path)
    with pytest.raises(KeyFileError, match="already there"):
        SigningKey.generate().save(path)
    assert SigningKey.load(path).public == key.public


def test_unusable_files_are_named(tmp_path: Path) -> None:
    path = tmp_path / "signing.pem"
    with pytest.raises(KeyFileError, match="No such file"):
        SigningKey.load(path)
    SigningKey.generate().save(path)
    path.chmod(0o640)
    with pytest.raises(KeyFileError, match="chmod 600"):
        SigningKey.load(path)
    path.chmod(0o600)
    path.write_text("nonsense")
    with pytest.raises(KeyFileError, match="not a private key"):
        SigningKey.load(path)


def test_kid_is_the_rfc_9679_thumbprint() -> None:
    """SHA-256 over {1: 1, -1: 6, -2: x}, encoded by hand."""
    import hashlib

    public = SigningKey.from_seed(bytes(32)).public
    assert public.kid == hashlib.sha256(bytes.fromhex("a301012006215820") + public.raw).digest()


def test_public_keys_have_32_bytes() -> None:
    with pytest.raises(KeyFileError, match="32 bytes"):
        PublicKey(bytes(31))
