"""One firm's pair secrets of one epoch: what they derive, how they are stored, and how they end.

They must end with the epoch: whoever held them later could read the masked updates that audits keep.
"""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from clients.masking import wire
from clients.masking.derivation import KEY_BYTES, derive_key
from clients.masking.errors import KeySetupRefused, MalformedMessage
from clients.masking.session import RosterEntry, Session
from clients.masking.shamir import RandomBytes

NONCE_BYTES = 12
_LABEL = b"artesian/masking/v1/pair-secrets"
_STORED: dict[str, type] = {"cid": str, "epoch": int, "me": list, "peers": list}


class PairSecrets:
    """The secrets that one firm shares with each peer, under the epoch keys by which they were set up.

    Attributes:
        cid: the consortium's id.
        epoch: number of the key epoch.
        me: this firm's roster entry.
    """

    def __init__(self, cid: str, epoch: int, me: RosterEntry) -> None:
        self.cid = cid
        self.epoch = epoch
        self.me = me
        self._peers: dict[str, tuple[RosterEntry, bytearray]] = {}

    @property
    def peers(self) -> tuple[str, ...]:
        """The peers with whom a secret is set up, in order."""
        return tuple(sorted(self._peers))

    @property
    def roster(self) -> tuple[RosterEntry, ...]:
        """This firm and those peers with the keys by which the secrets were set up, in order of member ids."""
        return tuple(sorted((self.me, *(entry for entry, _ in self._peers.values())), key=lambda entry: entry.member))

    def add(self, peer: RosterEntry, secret: bytes) -> None:
        """Keeps the secret shared with `peer`.

        Raises:
            KeySetupRefused: it is not 32 bytes, or this pair already has another secret.
        """
        if len(secret) != KEY_BYTES:
            raise KeySetupRefused(f"pair secret with {peer.member}: {len(secret)} bytes, expected {KEY_BYTES}")
        held = self._peers.get(peer.member)
        if held is not None and (held[0], bytes(held[1])) != (peer, secret):
            raise KeySetupRefused(f"pair secret with {peer.member}: this epoch already has another; start a new epoch")
        self._peers[peer.member] = (peer, bytearray(secret))

    def require_roster(self, session: Session) -> None:
        """Accepts a session whose every roster entry is one that this firm authenticated at set-up.

        Raises:
            KeySetupRefused: another consortium or epoch, or a member's keys are missing or others.
        """
        if (session.cid, session.epoch) != (self.cid, self.epoch):
            raise KeySetupRefused(f"session: for epoch {session.epoch} of {session.cid}, keys are of {self.epoch}")
        for entry in session.roster:
            held = self.me if entry.member == self.me.member else self._peers.get(entry.member, (None,))[0]
            if held is None:
                raise KeySetupRefused(f"session: no pair secret with {entry.member}; set the epoch up again")
            if entry != held:
                raise KeySetupRefused(f"session: the roster has other keys for {entry.member} than it announced")

    def mask_seed(self, session: Session, peer: str) -> bytes:
        """The 32-byte seed of the mask with `peer`: for this session only, the same at both ends."""
        lower, higher = sorted((self.me.member, peer))
        return self._derive("pair-seed", session, peer, lower, higher)

    def share_key(self, session: Session, sender: str, receiver: str) -> bytes:
        """The 32-byte key under which `sender` encrypts a share for `receiver` in this session."""
        peer = receiver if sender == self.me.member else sender
        return self._derive("share-key", session, peer, sender, receiver)

    def _derive(self, use: str, session: Session, peer: str, *names: str) -> bytes:
        if peer not in self._peers:
            raise KeySetupRefused(f"session: no pair secret with {peer}; set the epoch up again")
        secret = bytes(self._peers[peer][1])
        return derive_key(secret, use, session.sid, *(name.encode() for name in names))

    def save(self, path: Path, wrapping_key: bytes, random_bytes: RandomBytes) -> None:
        """Writes the secrets to `path` under AES-256-GCM, mode 0600, whole or not at all.

        Args:
            wrapping_key: 32 bytes, kept elsewhere.
        """
        peers = [[*_row(entry), bytes(secret)] for _, (entry, secret) in sorted(self._peers.items())]
        plain = wire.encode({"cid": self.cid, "epoch": self.epoch, "me": _row(self.me), "peers": peers})
        nonce = random_bytes(NONCE_BYTES)
        temporary = path.with_name(f".{path.name}.{random_bytes(8).hex()}")
        try:
            descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
            with os.fdopen(descriptor, "wb") as file:
                file.write(nonce + AESGCM(wrapping_key).encrypt(nonce, plain, _LABEL))
                file.flush()
                os.fsync(file.fileno())
            os.replace(temporary, path)
        finally:
            with suppress(FileNotFoundError):
                os.unlink(temporary)

    @classmethod
    def load(cls, path: Path, wrapping_key: bytes) -> PairSecrets:
        """Reads what `save` wrote.

        Raises:
            KeySetupRefused: no such file, it was changed, or the wrapping key is another one.
        """
        try:
            raw = path.read_bytes()
            plain = AESGCM(wrapping_key).decrypt(raw[:NONCE_BYTES], raw[NONCE_BYTES:], _LABEL)
            fields = wire.decode(plain, _STORED, str(path))
            secrets = cls(fields["cid"], fields["epoch"], RosterEntry(*fields["me"]))
            for member, signing_key, epoch_key, secret in fields["peers"]:
                secrets.add(RosterEntry(member, signing_key, epoch_key), secret)
        except (OSError, InvalidTag, ValueError, MalformedMessage) as error:
            raise KeySetupRefused(
                f"{path}: pair secrets cannot be read ({type(error).__name__}); set the epoch up again"
            ) from None
        return secrets

    def erase(self, path: Path | None = None) -> None:
        """Ends the epoch: overwrites the secrets in memory and removes the file that holds them, if any.

        Copies made by the interpreter or the file system are beyond reach; destroy the wrapping key as well.
        """
        for _, secret in self._peers.values():
            secret[:] = bytes(len(secret))
        self._peers.clear()
        if path is not None:
            with suppress(FileNotFoundError):
                os.unlink(path)


def _row(entry: RosterEntry) -> list[str | bytes]:
    return [entry.member, entry.signing_key, entry.epoch_key]
