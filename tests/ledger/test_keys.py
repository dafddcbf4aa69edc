"""Signing keys: the RFC's vectors, and files that only their owner reads."""

import hashlib
import stat
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from ledger.keys import HYBRID_SIGNATURE_BYTES, BadSignature, KeyFileError, PublicKey, SigningKey
from ledger.note import NoteError, Vkey

HYBRID = SigningKey.from_seed(bytes(range(64)))


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
    public = SigningKey.from_seed(bytes(32)).public
    assert public.kid == hashlib.sha256(bytes.fromhex("a301012006215820") + public.raw).digest()


def test_public_keys_have_32_bytes() -> None:
    with pytest.raises(KeyFileError, match="32 bytes"):
        PublicKey(bytes(31))


def test_the_post_quantum_kid_is_the_thumbprint_of_an_akp_key() -> None:
    """SHA-256 over {1: 7, 3: -49, -1: pub} (RFC 9964), encoded by hand: 1952 = 0x07a0 and -49 = 0x38 0x30."""
    head = bytes.fromhex("a30107033830205907a0")
    assert HYBRID.public.post_quantum_kid == hashlib.sha256(head + HYBRID.public.raw[32:]).digest()
    assert HYBRID.public.kid == HYBRID.public.ed25519.kid
    assert HYBRID.public.ed25519.post_quantum_kid is None


def test_a_hybrid_key_is_two_keys() -> None:
    classical = SigningKey.from_seed(bytes(range(32)))
    assert HYBRID.public.is_hybrid
    assert not classical.public.is_hybrid
    assert len(HYBRID.public.raw) == 1984
    assert HYBRID.public.ed25519 == classical.public == classical.public.ed25519
    assert HYBRID.public != classical.public
    assert PublicKey(HYBRID.public.raw) == HYBRID.public
    assert HYBRID.sign(b"m") == classical.sign(b"m")


def test_both_halves_must_have_signed() -> None:
    signature, other = HYBRID.sign_all(b"message"), SigningKey.generate(hybrid=True)
    assert len(signature) == HYBRID_SIGNATURE_BYTES == 3373
    HYBRID.public.verify_all(signature, b"message")
    foreign = other.sign_all(b"message")
    for forged in (foreign[:64] + signature[64:], signature[:64] + foreign[64:], signature[:64], signature + b"x", b""):
        with pytest.raises(BadSignature):
            HYBRID.public.verify_all(forged, b"message")
    with pytest.raises(BadSignature):
        HYBRID.public.verify_all(signature, b"massage")


def test_a_classical_key_takes_no_hybrid_signature() -> None:
    key = SigningKey.generate()
    key.public.verify_all(key.sign_all(b"m"), b"m")
    with pytest.raises(BadSignature, match="64 bytes"):
        HYBRID.public.ed25519.verify_all(HYBRID.sign_all(b"m"), b"m")
    with pytest.raises(BadSignature, match="no ML-DSA-65 half"):
        key.public.verify_post_quantum(bytes(3309), b"m")
    with pytest.raises(KeyFileError, match="no ML-DSA-65 half"):
        key.sign_post_quantum(b"m")


def test_hybrid_keys_come_back_from_their_file(tmp_path: Path) -> None:
    path = tmp_path / "signing.pem"
    HYBRID.save(path)
    assert path.read_bytes().count(b"BEGIN PRIVATE KEY") == 2
    loaded = SigningKey.load(path)
    assert loaded.public == HYBRID.public
    HYBRID.public.verify_all(loaded.sign_all(b"m"), b"m")


def test_key_files_with_other_keys_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "signing.pem"
    HYBRID.save(path)
    whole = path.read_bytes()
    classical, lattice = (
        block + b"-----END PRIVATE KEY-----\n" for block in whole.split(b"-----END PRIVATE KEY-----\n")[:2]
    )
    for content, words in (
        (lattice, "it holds MLDSA65PrivateKey; an Ed25519 key is needed"),
        (lattice + classical, "MLDSA65PrivateKey, Ed25519PrivateKey"),
        (classical + classical, "Ed25519PrivateKey, Ed25519PrivateKey"),
        (whole + lattice, "it holds Ed25519PrivateKey, MLDSA65PrivateKey, MLDSA65PrivateKey"),
        (b"password\n" + whole, "more than keys"),
        (whole[:-40], "more than keys"),
        (classical[:-40], "not a private key"),
        (b"", "not a private key"),
        (whole.replace(b"K2Vw", b"K2Vv"), "OpenSSL cannot set it up"),  # the seed under the header of X448
    ):
        path.write_bytes(content)
        with pytest.raises(KeyFileError, match=words):
            SigningKey.load(path)
    path.write_bytes(whole.replace(b"\n", b"\r\n"))
    assert SigningKey.load(path).public == HYBRID.public


def test_notes_know_the_ed25519_half_alone() -> None:
    assert Vkey.of_log("log", HYBRID.public) == Vkey.of_log("log", HYBRID.public.ed25519)
    with pytest.raises(NoteError, match="hybrid"):
        Vkey("log", 1, HYBRID.public)


def test_fingerprints_are_for_people() -> None:
    groups = HYBRID.public.fingerprint.split("-")
    assert len(groups) == 16
    assert "".join(groups) == hashlib.sha256(HYBRID.public.raw).hexdigest()
    assert HYBRID.public.fingerprint != HYBRID.public.ed25519.fingerprint


def test_seeds_have_32_or_64_bytes() -> None:
    with pytest.raises(KeyFileError, match="32 bytes, a hybrid's 64"):
        SigningKey.from_seed(bytes(33))


@pytest.mark.parametrize(
    "raw",
    [
        bytes(32),  # order 4
        b"\x01" + bytes(31),  # the neutral point: the signature below fits it and every message
        b"\x01" + bytes(30) + b"\x80",
        b"\xec" + b"\xff" * 30 + b"\x7f",  # order 2
        bytes.fromhex("26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05"),  # order 8
        bytes.fromhex("c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a"),
        bytes.fromhex("c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac03fa"),
        b"\xee" + b"\xff" * 30 + b"\x7f",  # 1 again, not reduced
        b"\xff" * 32,
    ],
)
def test_keys_that_everybody_can_sign_for_are_refused(raw: bytes) -> None:
    with pytest.raises(KeyFileError, match="small order"):
        PublicKey(raw)
    with pytest.raises(KeyFileError, match="small order"):
        PublicKey(raw + HYBRID.public.raw[32:])


def test_what_openssl_says_of_the_neutral_point() -> None:
    """Why the test above: it takes one signature for every message."""
    Ed25519PublicKey.from_public_bytes(b"\x01" + bytes(31)).verify(b"\x01" + bytes(63), b"anything")
