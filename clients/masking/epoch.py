"""Pair secrets for one epoch: signed epoch keys, and one HPKE message for each pair (RFC 9180, hybrid KEM).

HPKE's base mode hides a secret but does not say who sent it, so each sealed secret carries its sender's
signature. Without it, a coordinator that relays the messages could put itself between any two firms.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from functools import lru_cache

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric import ed25519, mlkem, x25519
from cryptography.hazmat.primitives.hpke import (
    AEAD,
    KDF,
    KEM,
    MLKEM768X25519PrivateKey,
    MLKEM768X25519PublicKey,
    Suite,
)

from clients.masking import wire
from clients.masking.derivation import KEY_BYTES, framed
from clients.masking.errors import KeySetupRefused, PairSecretRefused
from clients.masking.pair_secrets import PairSecrets
from clients.masking.session import RosterEntry
from clients.masking.shamir import RandomBytes

Sign = Callable[[bytes], bytes]
"""Signs bytes with the member's Ed25519 key: `SigningKey.sign`."""

_SUITE = Suite(KEM.MLKEM768_X25519, KDF.HKDF_SHA256, AEAD.AES_256_GCM)
_MLKEM_BYTES = 1184
_MLKEM_SEED_BYTES = 64
EPOCH_KEY_BYTES = _MLKEM_BYTES + 32
MOST_KEPT = 4096
"""How many firms' keys are checked once for all firms of a simulation, which read the same ones."""
_SEALED: dict[str, type] = {"sealed": bytes, "signature": bytes}


class EpochKeyPair:
    """A firm's key pair of one epoch, for receiving pair secrets."""

    def __init__(self, lattice: mlkem.MLKEM768PrivateKey, curve: x25519.X25519PrivateKey) -> None:
        self._lattice, self._curve = lattice, curve
        self._private = MLKEM768X25519PrivateKey(lattice, curve)
        self.public_bytes = lattice.public_key().public_bytes_raw() + curve.public_key().public_bytes_raw()

    @classmethod
    def generate(cls) -> EpochKeyPair:
        """A fresh key pair from the operating system's secure source."""
        return cls(mlkem.MLKEM768PrivateKey.generate(), x25519.X25519PrivateKey.generate())

    @classmethod
    def from_private_bytes(cls, raw: bytes) -> EpochKeyPair:
        """The key pair of `private_bytes`.

        Raises:
            KeySetupRefused: not such a key.
        """
        try:
            lattice = mlkem.MLKEM768PrivateKey.from_seed_bytes(raw[:_MLKEM_SEED_BYTES])
            curve = x25519.X25519PrivateKey.from_private_bytes(raw[_MLKEM_SEED_BYTES:])
        except ValueError:
            raise KeySetupRefused("epoch key: not a stored key pair; set the epoch up again") from None
        return cls(lattice, curve)

    @property
    def private_bytes(self) -> bytes:
        """64 + 32 bytes, the ML-KEM seed (FIPS 203) and the X25519 key: for encrypted storage only."""
        return self._lattice.private_bytes_raw() + self._curve.private_bytes_raw()

    def open(self, sealed: bytes, info: bytes) -> bytes:
        """Opens an HPKE message for this key.

        Raises:
            cryptography.exceptions.InvalidTag: it was made for another key or transcript.
        """
        return _SUITE.decrypt(sealed, self._private, info=info)


def seal_pair_secrets(
    keys: EpochKeyPair,
    cid: str,
    epoch: int,
    me: str,
    roster: Iterable[RosterEntry],
    sign: Sign,
    random_bytes: RandomBytes,
) -> tuple[PairSecrets, dict[str, bytes]]:
    """Draws a pair secret for every peer with a higher id and seals it to that peer's epoch key.

    Call it once an epoch: a second call draws other secrets.

    Args:
        roster: authenticated entries whose epoch keys are well formed (`announcement`), in any order; `me` among them.

    Returns:
        The secrets known so far, and {peer: message to that peer}. Peers with lower ids send theirs, which
        `open_pair_secrets` adds.

    Raises:
        KeySetupRefused: `me` is not in the roster under this key.
    """
    entries = {entry.member: entry for entry in roster}
    if me not in entries or entries[me].epoch_key != keys.public_bytes:
        raise KeySetupRefused(f"epoch key of {me}: the roster does not hold the key that this firm announced")
    secrets = PairSecrets(cid, epoch, entries[me])
    messages = {}
    for peer in sorted(entries):
        if peer <= me:
            continue
        secret = random_bytes(KEY_BYTES)
        transcript = _transcript(cid, epoch, entries[me], entries[peer])
        sealed = _SUITE.encrypt(secret, _public_key(entries[peer].epoch_key), info=transcript)
        messages[peer] = wire.encode({"sealed": sealed, "signature": sign(_sealed(transcript, sealed))})
        secrets.add(entries[peer], secret)
    return secrets, messages


def open_pair_secrets(
    keys: EpochKeyPair, secrets: PairSecrets, roster: Iterable[RosterEntry], messages: Mapping[str, bytes]
) -> None:
    """Adds to `secrets` what peers with lower ids sealed for this firm.

    Args:
        messages: {sender: message}; one from each peer with a lower id that will share a session.

    Raises:
        MalformedMessage: not a sealed pair secret.
        KeySetupRefused: the sender is not in the roster or has no lower id, the signature is not the
            sender's, or the message was made for another pair, epoch or consortium.
        PairSecretRefused: the sender did sign it, and it does not open or holds no secret.
    """
    entries = {entry.member: entry for entry in roster}
    for sender, raw in messages.items():
        what = f"pair secret from {sender}"
        if sender not in entries or sender >= secrets.me.member:
            raise KeySetupRefused(f"{what}: not a roster member with an id below {secrets.me.member}")
        sealed = check_sealed(secrets.cid, secrets.epoch, entries[sender], secrets.me, raw)
        try:
            secret = keys.open(sealed, _transcript(secrets.cid, secrets.epoch, entries[sender], secrets.me))
        except Exception as error:  # a bad tag, a short message or a bad KEM share: all mean the same
            raise PairSecretRefused(sender, f"{what}: it does not open ({type(error).__name__})") from None
        if len(secret) != KEY_BYTES:
            raise PairSecretRefused(sender, f"{what}: {len(secret)} bytes, expected {KEY_BYTES}")
        secrets.add(entries[sender], secret)


def check_sealed(cid: str, epoch: int, sender: RosterEntry, receiver: RosterEntry, raw: bytes) -> bytes:
    """What `sender` sealed for `receiver`, checked as far as anyone can who cannot open it.

    Raises:
        MalformedMessage: not a sealed pair secret.
        KeySetupRefused: the signature is not the sender's, or for another pair, epoch or consortium.
    """
    what = f"pair secret from {sender.member}"
    fields = wire.decode(raw, _SEALED, what)
    signed = _sealed(_transcript(cid, epoch, sender, receiver), fields["sealed"])
    _require_signature(sender.signing_key, fields["signature"], signed, what)
    return bytes(fields["sealed"])


@lru_cache(maxsize=MOST_KEPT)
def is_epoch_key(raw: bytes) -> bool:
    """Whether secrets can be sealed to `raw`: both halves are well formed, and the curve's is not of small order."""
    try:
        _public_key(raw)
        x25519.X25519PrivateKey.generate().exchange(x25519.X25519PublicKey.from_public_bytes(raw[_MLKEM_BYTES:]))
    except (KeySetupRefused, ValueError):
        return False
    return True


def _public_key(raw: bytes) -> MLKEM768X25519PublicKey:
    try:
        lattice = mlkem.MLKEM768PublicKey.from_public_bytes(raw[:_MLKEM_BYTES])
        curve = x25519.X25519PublicKey.from_public_bytes(raw[_MLKEM_BYTES:])
    except ValueError:
        raise KeySetupRefused(f"epoch key: not an ML-KEM-768 + X25519 key of {EPOCH_KEY_BYTES} bytes") from None
    return MLKEM768X25519PublicKey(lattice, curve)


def _transcript(cid: str, epoch: int, lower: RosterEntry, higher: RosterEntry) -> bytes:
    names = (cid.encode(), str(epoch).encode(), lower.member.encode(), higher.member.encode())
    return framed(b"artesian/masking/v1/pair", *names, lower.epoch_key, higher.epoch_key)


def _sealed(transcript: bytes, sealed: bytes) -> bytes:
    return framed(b"artesian/masking/v1/sealed", transcript, sealed)


def _require_signature(signing_key: bytes, signature: bytes, signed: bytes, what: str) -> None:
    try:
        ed25519.Ed25519PublicKey.from_public_bytes(signing_key).verify(signature, signed)
    except (InvalidSignature, ValueError):
        raise KeySetupRefused(f"{what}: the signature is not the sender's enrolled key's") from None
