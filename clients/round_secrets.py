"""What a firm keeps between messages to mask its updates: epoch keys, pair secrets, and its half-finished round.

Files are mode 0600 and encrypted under a wrapping key beside them, which is destroyed with the epoch, so that a
backup of the secrets alone opens nothing (delete the wrapping key and stored masked updates stay closed for good).
An epoch that has ended stays ended, whatever the coordinator asks: its number is kept when all else is gone.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from clients.masking import wire
from clients.masking.contribution import Kept
from clients.masking.epoch import EpochKeyPair
from clients.masking.errors import EpochEnded, KeySetupRefused, MalformedMessage
from clients.masking.pair_secrets import PairSecrets
from clients.masking.session import RosterEntry
from clients.sealed_folder import SealedFolder

_DAY_S = 86_400
_ENDED = "ended"
_ROUND = "round.kept"
_KEY_FILE = re.compile("epoch-([0-9]+)\\.key")
_STORED: dict[str, type] = {"epoch": int, "key": bytes, "begun_s": int, "signer": bytes}


@dataclass(frozen=True)
class Begun:
    """An epoch that this firm is in.

    Attributes:
        epoch: its number.
        begun_s: seconds since 1970, when its key pair was made.
        signer: 32 bytes, the thumbprint of the firm's signing key, which vouches for the key pair.
        keys: the key pair.
    """

    epoch: int
    begun_s: int
    signer: bytes
    keys: EpochKeyPair


@dataclass(frozen=True)
class Ended:
    """What was destroyed when an epoch ended.

    Attributes:
        epoch: its number; 0 where none was known.
        files: names of the files that were deleted, sorted; empty in memory.
    """

    epoch: int
    files: tuple[str, ...]


class RoundSecrets:
    """Masking secrets of one firm, on disk under `folder`, or in memory where it is None. One epoch at a time."""

    def __init__(
        self, folder: Path | None, random_bytes: Callable[[int], bytes], now: Callable[[], float], most_days: int
    ) -> None:
        """Open what is kept.

        Args:
            now: the clock, in seconds since 1970.
            most_days: secrets of an epoch that began longer ago are destroyed instead of used.
        """
        self._now, self._most_days = now, most_days
        self._files = None if folder is None else SealedFolder(folder, random_bytes)
        self._random_bytes = random_bytes
        self._begun: Begun | None = None
        self._pairs: PairSecrets | None = None
        self._roster: tuple[RosterEntry, ...] | None = None
        self._kept: Kept | None = None
        self._ended = 0

    def begin(self, epoch: int, signer: bytes) -> EpochKeyPair:
        """The epoch's key pair, made on first use; an older epoch's secrets are destroyed then.

        Args:
            signer: thumbprint of the signing key that will vouch for the key pair.

        Raises:
            EpochEnded: the epoch has ended, or a newer one has begun.
        """
        self._require_not_ended(epoch)
        if self._newest() != epoch:
            self.end()
            begun = Begun(epoch, int(self._now()), signer, EpochKeyPair.generate())
            if self._files is not None:
                self._files.begin()
                fields = {"epoch": epoch, "begun_s": begun.begun_s, "signer": signer}
                self._files.write(_key_file(epoch), wire.encode({**fields, "key": begun.keys.private_bytes}))
            self._begun = begun
        return self.epoch_keys(epoch)

    def current(self) -> Begun | None:
        """The epoch that this firm is in; None before the first and after the end of one.

        Raises:
            KeySetupRefused: its key pair cannot be read.
        """
        if self._begun is None and self._files is not None:
            epoch = self._newest()
            raw = self._files.read(_key_file(epoch)) if epoch > self._last_ended() else None
            self._begun = None if raw is None else _read_begun(raw, epoch)
        return self._begun

    def too_old(self) -> str:
        """Why the present epoch is over by its age; empty while it is not.

        Raises:
            KeySetupRefused: its key pair cannot be read.
        """
        begun = self.current()
        age_s = 0.0 if begun is None else self._now() - begun.begun_s
        if begun is None or -_DAY_S <= age_s <= self._most_days * _DAY_S:
            return ""
        # Also by a clock that was set back by days: it cannot tell an age.
        return f"epoch {begun.epoch}: began {age_s / _DAY_S:.1f} days ago, this firm's limit is {self._most_days}"

    def epoch_keys(self, epoch: int) -> EpochKeyPair:
        """The epoch's key pair.

        Raises:
            EpochEnded: the epoch has ended, or a newer one has begun.
            KeySetupRefused: it has not begun.
        """
        self._require_in(epoch)
        begun = self.current()
        assert begun is not None
        return begun.keys

    def has_pairs(self, epoch: int) -> bool:
        """Whether pair secrets of the epoch have been set up."""
        held = self._pairs is not None and self._pairs.epoch == epoch
        return held or (self._files is not None and self._files.path(_pair_file(epoch)).exists())

    def pairs(self, epoch: int) -> PairSecrets:
        """The epoch's pair secrets.

        Raises:
            EpochEnded: the epoch has ended, or a newer one has begun.
            KeySetupRefused: none were set up.
        """
        self._require_not_ended(epoch)
        if not self.has_pairs(epoch):
            raise KeySetupRefused(f"epoch {epoch}: no pair secrets are set up; begin with the key messages")
        if self._pairs is None:
            assert self._files is not None
            self._pairs = PairSecrets.load(self._files.path(_pair_file(epoch)), self._files.wrapping_key())
        return self._pairs

    def keep_roster(self, epoch: int, roster: Sequence[RosterEntry]) -> None:
        """Keep the epoch's authenticated keys, this firm's among them."""
        self._roster = tuple(roster)
        if self._files is not None:
            rows = {one.member: [one.signing_key, one.epoch_key] for one in roster}
            self._files.write(_roster_file(epoch), wire.encode({"roster": rows}))

    def roster(self, epoch: int) -> tuple[RosterEntry, ...]:
        """The epoch's authenticated keys, in order of member ids.

        Raises:
            EpochEnded: the epoch has ended, or a newer one has begun.
            KeySetupRefused: none were kept.
        """
        self._require_in(epoch)
        if self._roster is None:
            raw = None if self._files is None else self._files.read(_roster_file(epoch))
            if raw is None:
                raise KeySetupRefused(f"epoch {epoch}: no keys are set up; begin with the key messages")
            rows = wire.decode(raw, {"roster": dict}, "roster")["roster"]
            self._roster = tuple(RosterEntry(member, *keys) for member, keys in sorted(rows.items()))
        return self._roster

    def keep_pairs(self, epoch: int, pairs: PairSecrets) -> None:
        """Keep the epoch's pair secrets."""
        self._pairs = pairs
        if self._files is not None:
            pairs.save(self._files.path(_pair_file(epoch)), self._files.wrapping_key(), self._random_bytes)

    def keep_round(self, round_id: bytes, kept: Kept) -> None:
        """Keep what a round's first trip left for its second; an older round's is dropped."""
        assert kept.session.round_id == round_id
        self._kept = kept
        if self._files is not None:
            self._files.write(_ROUND, kept.to_bytes())

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
        if self._kept is None or self._kept.session.round_id != round_id:
            raw = None if self._files is None else self._files.read(_ROUND)
            kept = None if raw is None else Kept.from_bytes(raw)
            if kept is None or kept.session.round_id != round_id:
                raise KeySetupRefused(f"round {round_id.hex()}: this firm holds nothing to open it with")
            self._kept = kept
        return self._kept

    def end(self) -> Ended | None:
        """End the epoch: what was masked in it can never be opened again, here or from a backup.

        Returns:
            What was destroyed; None where there was nothing.
        """
        epoch = self._newest()
        if self._pairs is not None:
            self._pairs.erase()
        held = (self._begun, self._pairs, self._roster, self._kept) != (None,) * 4
        self._begun = self._pairs = self._roster = self._kept = None
        self._ended = max(self._ended, epoch)
        if self._files is None:
            return Ended(epoch, ()) if held else None
        if not [name for name in self._files.names() if name != _ENDED]:
            return None
        self._files.write_plain(_ENDED, f"{max(epoch, self._last_ended())}\n".encode())
        return Ended(epoch, tuple(self._files.destroy(keep=_ENDED)))

    def _newest(self) -> int:
        """The newest epoch of which there is a key pair; 0 where there is none."""
        files = [] if self._files is None else self._files.names()
        known = [int(found[1]) for name in files if (found := _KEY_FILE.fullmatch(name))]
        return max([*known, 0 if self._begun is None else self._begun.epoch])

    def _last_ended(self) -> int:
        raw = None if self._files is None else self._files.read_plain(_ENDED)
        if raw is None:
            return self._ended
        try:
            return max(self._ended, int(raw))
        except ValueError:
            raise KeySetupRefused(
                "masking keys: the note of the last ended epoch is not a number; write one at least as high as any "
                "epoch that this firm has been in"
            ) from None

    def _require_not_ended(self, epoch: int) -> None:
        newest = self._newest()
        if epoch < newest:
            raise EpochEnded(f"epoch {epoch}: it has ended, this firm is in epoch {newest}; begin a newer one")
        if epoch <= self._last_ended():
            raise EpochEnded(f"epoch {epoch}: it has ended and this firm's keys of it are destroyed; begin a new one")

        if epoch == newest and (problem := self.too_old()):
            self.end()
            raise EpochEnded(f"{problem}; begin a new one")

    def _require_in(self, epoch: int) -> None:
        self._require_not_ended(epoch)
        if epoch != self._newest():
            raise KeySetupRefused(f"epoch {epoch}: no keys are set up; begin with the key messages")


def _key_file(epoch: int) -> str:
    return f"epoch-{epoch}.key"


def _pair_file(epoch: int) -> str:
    return f"epoch-{epoch}.pairs"


def _roster_file(epoch: int) -> str:
    return f"epoch-{epoch}.roster"


def _read_begun(raw: bytes, epoch: int) -> Begun:
    try:
        fields = wire.decode(raw, _STORED, "epoch key")
    except MalformedMessage:
        raise KeySetupRefused("epoch key: not a stored key pair; set the epoch up again") from None
    if fields["epoch"] != epoch:
        raise KeySetupRefused("epoch key: of another epoch than its file says; set the epoch up again")
    return Begun(epoch, fields["begun_s"], fields["signer"], EpochKeyPair.from_private_bytes(fields["key"]))
