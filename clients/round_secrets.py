"""What a firm keeps between messages to mask its updates: epoch keys, pair secrets, and its half-finished round.

Files are mode 0600 and encrypted under a wrapping key beside them, which is destroyed with the epoch, so that a
backup of the secrets alone opens nothing (delete the wrapping key and stored masked updates stay closed for good).
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from clients.masking import wire
from clients.masking.contribution import Kept
from clients.masking.epoch import EpochKeyPair
from clients.masking.errors import KeySetupRefused
from clients.masking.pair_secrets import PairSecrets
from clients.masking.session import RosterEntry

_NONCE_BYTES = 12


class RoundSecrets:
    """Masking secrets of one firm, on disk under `folder`, or in memory where it is None."""

    def __init__(self, folder: Path | None, random_bytes: Callable[[int], bytes]) -> None:
        self._folder = folder
        self._random_bytes = random_bytes
        self._keys: dict[int, EpochKeyPair] = {}
        self._pairs: dict[int, PairSecrets] = {}
        self._rosters: dict[int, tuple[RosterEntry, ...]] = {}
        self._kept: dict[bytes, Kept] = {}
        if folder is not None:
            folder.mkdir(mode=0o700, exist_ok=True)

    def epoch_keys(self, epoch: int) -> EpochKeyPair:
        """The epoch's key pair, made on first use; older epochs' secrets are destroyed then."""
        if epoch not in self._keys:
            self._refuse_older(epoch)
            raw = self._read(f"epoch-{epoch}.key")
            if raw is None:
                self._forget_before(epoch)
                self._keys[epoch] = EpochKeyPair.generate()
                self._write(f"epoch-{epoch}.key", self._keys[epoch].private_bytes)
            else:
                self._keys[epoch] = EpochKeyPair.from_private_bytes(raw)
        return self._keys[epoch]

    def _refuse_older(self, epoch: int) -> None:
        """An ended epoch stays ended, whatever the coordinator asks."""
        files = list(self._folder.glob("epoch-*.key")) if self._folder is not None else []
        newest = max([*self._keys, *(int(file.stem.removeprefix("epoch-")) for file in files)], default=epoch)
        if newest > epoch:
            raise KeySetupRefused(f"epoch {epoch}: it has ended, this firm is in epoch {newest}; start a newer one")

    def has_pairs(self, epoch: int) -> bool:
        """Whether pair secrets of the epoch have been set up."""
        return epoch in self._pairs or (self._folder is not None and self._pair_file(epoch).exists())

    def pairs(self, epoch: int) -> PairSecrets:
        """The epoch's pair secrets.

        Raises:
            KeySetupRefused: none were set up.
        """
        if epoch not in self._pairs:
            if not self.has_pairs(epoch):
                raise KeySetupRefused(f"epoch {epoch}: no pair secrets are set up; begin with the key messages")
            self._pairs[epoch] = PairSecrets.load(self._pair_file(epoch), self._wrapping_key())
        return self._pairs[epoch]

    def keep_roster(self, epoch: int, roster: Sequence[RosterEntry]) -> None:
        """Keep the epoch's authenticated keys, this firm's among them."""
        self._rosters[epoch] = tuple(roster)
        rows = {one.member: [one.signing_key, one.epoch_key] for one in roster}
        self._write(f"epoch-{epoch}.roster", wire.encode({"roster": rows}))

    def roster(self, epoch: int) -> tuple[RosterEntry, ...]:
        """The epoch's authenticated keys, in order of member ids.

        Raises:
            KeySetupRefused: none were kept.
        """
        if epoch not in self._rosters:
            raw = self._read(f"epoch-{epoch}.roster")
            if raw is None:
                raise KeySetupRefused(f"epoch {epoch}: no keys are set up; begin with the key messages")
            rows = wire.decode(raw, {"roster": dict}, "roster")["roster"]
            self._rosters[epoch] = tuple(RosterEntry(member, *keys) for member, keys in sorted(rows.items()))
        return self._rosters[epoch]

    def keep_pairs(self, epoch: int, pairs: PairSecrets) -> None:
        """Keep the epoch's pair secrets."""
        self._pairs[epoch] = pairs
        if self._folder is not None:
            pairs.save(self._pair_file(epoch), self._wrapping_key(), self._random_bytes)

    def keep_round(self, round_id: bytes, kept: Kept) -> None:
        """Keep what a round's first trip left for its second; older rounds' are dropped."""
        for old in list(self._kept):
            del self._kept[old]
        self._kept[round_id] = kept
        self._write("round.kept", kept.to_bytes())

    def has_round(self, round_id: bytes) -> bool:
        """Whether this firm's last contribution was to this round."""
        try:
            self.kept_round(round_id)
        except KeySetupRefused:
            return False
        return True

    def kept_round(self, round_id: bytes) -> Kept:
        """What the first trip of this round left.

        Raises:
            KeySetupRefused: this firm did not contribute to the round, or has gone on to another.
        """
        if round_id not in self._kept:
            raw = self._read("round.kept")
            kept = Kept.from_bytes(raw) if raw is not None else None
            if kept is None or kept.session.round_id != round_id:
                raise KeySetupRefused(f"round {round_id.hex()}: this firm holds nothing to open it with")
            self._kept = {round_id: kept}
        return self._kept[round_id]

    def _pair_file(self, epoch: int) -> Path:
        assert self._folder is not None
        return self._folder / f"epoch-{epoch}.pairs"

    def _wrapping_key(self) -> bytes:
        assert self._folder is not None
        path = self._folder / "wrapping.key"
        if not path.exists():
            _write_secret(path, self._random_bytes(32), self._random_bytes)
        return path.read_bytes()

    def _read(self, name: str) -> bytes | None:
        if self._folder is None or not (self._folder / name).exists():
            return None
        raw = (self._folder / name).read_bytes()
        try:
            return AESGCM(self._wrapping_key()).decrypt(raw[:_NONCE_BYTES], raw[_NONCE_BYTES:], name.encode())
        except (InvalidTag, ValueError):
            raise KeySetupRefused(f"{self._folder / name}: was changed, or its wrapping key is another one") from None

    def _write(self, name: str, secret: bytes) -> None:
        if self._folder is None:
            return
        nonce = self._random_bytes(_NONCE_BYTES)
        sealed = nonce + AESGCM(self._wrapping_key()).encrypt(nonce, secret, name.encode())
        _write_secret(self._folder / name, sealed, self._random_bytes)

    def _forget_before(self, epoch: int) -> None:
        """End earlier epochs: what was masked in them can never be opened again, here or from a backup."""
        for old in [e for e in self._pairs if e < epoch]:
            self._pairs.pop(old).erase()
        self._keys = {e: keys for e, keys in self._keys.items() if e >= epoch}
        self._rosters = {e: roster for e, roster in self._rosters.items() if e >= epoch}
        self._kept.clear()
        if self._folder is not None:
            for path in self._folder.iterdir():
                with suppress(FileNotFoundError):
                    path.unlink()


def _write_secret(path: Path, secret: bytes, random_bytes: Callable[[int], bytes]) -> None:
    """Write a file of mode 0600 whole or not at all."""
    temporary = path.with_name(f".{path.name}.{random_bytes(8).hex()}")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(secret)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    finally:
        with suppress(FileNotFoundError):
            os.unlink(temporary)
